"""Identity files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from ktpsync import age
from ktpsync.clock import SystemClock
from ktpsync.errors import KeyFileError, KeyFormatError, NoMatchingIdentityError

if TYPE_CHECKING:
    from pathlib import Path


class FrozenClock(SystemClock):
    """A clock that stands."""

    def now_ms(self) -> int:
        """Return the same moment always."""
        return 1_795_572_000_000


FAST = age.Passphrase("kata sandi", work_factor=2)
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the name of a file that is not there yet."""
    return tmp_path / "office.key"


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_reads_what_was_written(path: Path, kind: str) -> None:
    """A written identity comes back, and opens what was sealed to it."""
    identity = age.generate_identity(kind)  # type: ignore[arg-type]

    age.write_identity_file(path, identity)

    assert identity.to_text() == age.read_identity_file(path).to_text()
    assert b"secret" == age.decrypt(age.encrypt(b"secret", [identity.recipient]), age.read_identities(path))


def test_looks_as_age_keygen_writes_it(path: Path) -> None:
    """The file has comments with the date and the recipient, and the identity."""
    identity = age.generate_identity("x25519")

    age.write_identity_file(str(path), identity, clock=FrozenClock())

    expected = f"# created: 2026-11-25T02:00:00Z\n# public key: {identity.recipient}\n{identity.to_text()}\n"
    assert expected == path.read_text()


def test_reads_what_an_editor_of_windows_saved(path: Path) -> None:
    """A byte order mark and CRLF, which an editor put there, do no harm."""
    identity = age.generate_identity()
    path.touch(mode=0o600)
    path.write_bytes(b"\xef\xbb\xbf# kunci pemulihan\r\n" + identity.to_text().encode() + b"\r\n")

    assert identity.to_text() == age.read_identity_file(path).to_text()


@posix
@pytest.mark.parametrize("passphrase", [None, FAST])
def test_is_private(path: Path, passphrase: age.Passphrase | None) -> None:
    """Nobody but its owner can read a written file, whatever the umask."""
    mask = os.umask(0)
    try:
        age.write_identity_file(path, age.generate_identity(), passphrase=passphrase)
    finally:
        os.umask(mask)

    assert 0o600 == path.stat().st_mode & 0o777


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_refuses_what_others_can_read(path: Path, mode: int) -> None:
    """A file that others can read is refused, and the message says what to run."""
    age.write_identity_file(path, age.generate_identity())
    path.chmod(mode)

    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        age.read_identity_file(path)


def test_never_overwrites(path: Path) -> None:
    """An identity that is there stays, as with it would go all that is sealed to it."""
    first = age.generate_identity()
    age.write_identity_file(path, first)

    with pytest.raises(KeyFileError, match="never overwritten"):
        age.write_identity_file(path, age.generate_identity())

    assert first.to_text() == age.read_identity_file(path).to_text()


def test_sealed_with_a_passphrase(path: Path) -> None:
    """A sealed file holds no secret in clear, and opens with the passphrase alone."""
    identity = age.generate_identity()

    age.write_identity_file(path, identity, passphrase=FAST)

    assert path.read_bytes().startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert identity.to_text() == age.read_identity_file(path, passphrase="kata sandi").to_text()
    with pytest.raises(KeyFileError, match="sealed with a passphrase"):
        age.read_identity_file(path)
    with pytest.raises(NoMatchingIdentityError, match="passphrase does not open"):
        age.read_identity_file(path, passphrase="other")


def test_passphrase_is_asked_for_only_if_it_is_needed(path: Path) -> None:
    """A program that asks a person does so for sealed files alone."""
    identity = age.generate_identity()
    asked = []

    def ask() -> str:
        asked.append("asked")
        return "kata sandi"

    age.write_identity_file(path, identity, passphrase=FAST)
    age.write_identity_file(path.with_suffix(".clear"), identity)

    assert identity.to_text() == age.read_identity_file(path.with_suffix(".clear"), passphrase=ask).to_text()
    assert [] == asked
    assert identity.to_text() == age.read_identity_file(path, passphrase=ask).to_text()
    assert ["asked"] == asked


def test_empty_passphrase_writes_nothing(path: Path) -> None:
    """An empty passphrase does not mean none: nothing is written."""
    with pytest.raises(KeyFormatError, match="empty"):
        age.write_identity_file(path, age.generate_identity(), passphrase="")

    assert not path.exists()


def test_damaged_sealed_file(path: Path) -> None:
    """A sealed file that was damaged is a broken key file."""
    age.write_identity_file(path, age.generate_identity(), passphrase=FAST)
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(KeyFileError, match="cannot be opened"):
        age.read_identity_file(path, passphrase="kata sandi")


def test_several_identities(path: Path) -> None:
    """A file can hold old identities beside the new one; asking for the one identity is then an error."""
    old, new = age.generate_identity("x25519"), age.generate_identity()
    path.write_text(f"# new\n{new.to_text()}\r\n\n  # old\n {old.to_text()} \n")
    path.chmod(0o600)

    assert [new.to_text(), old.to_text()] == [identity.to_text() for identity in age.read_identities(path)]
    with pytest.raises(KeyFileError, match="2 identities"):
        age.read_identity_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no identity in it"),
        (b"# only a comment\n", "no identity in it"),
        (b"\xff\xfe", "not text"),
        (b"AGE-SECRET-KEY-1QQQ\n", "not an identity"),
        (b"a" * 2_000_000, "too big"),
    ],
)
def test_not_an_identity_file(path: Path, content: bytes, message: str) -> None:
    """What is not an identity file is refused, with what is wrong."""
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match=message):
        age.read_identity_file(path)


def test_message_does_not_repeat_a_line(path: Path) -> None:
    """A damaged identity is not repeated in the message: it may lack but one character."""
    text = age.generate_identity("x25519").to_text()
    path.write_text(text[:-1])
    path.chmod(0o600)

    with pytest.raises(KeyFileError) as caught:
        age.read_identity_file(path)

    assert text[20:40] not in str(caught.value)


def test_missing_file(path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(KeyFileError, match=r"office\.key is missing"):
        age.read_identity_file(path)


def test_unreadable_file(tmp_path: Path) -> None:
    """A folder in the place of the file is an error of the key file."""
    tmp_path.chmod(0o700)

    with pytest.raises(KeyFileError, match="cannot be read"):
        age.read_identity_file(tmp_path)
