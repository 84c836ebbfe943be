"""Files go both ways between this library and two others: the ``age`` tool and pyrage."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pyrage
import pytest

from ktpsync import age

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 16
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 1_300_000]
tool = pytest.mark.skipif(not shutil.which("age"), reason="the age tool is not installed")

terminal = pytest.mark.skipif(not shutil.which("setsid"), reason="setsid is not installed")


def plain(size: int) -> bytes:
    """Return made-up plaintext."""
    return bytes(i * 7 % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)


def run(*args: str | Path, data: bytes | None = None) -> bytes:
    """Run a program and return its output."""
    return subprocess.run(args, input=data, check=True, capture_output=True, timeout=60).stdout


@tool
@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_tool_opens_ours(tmp_path: Path, size: int, *, armor: bool) -> None:
    """The tool opens what is sealed here, with an identity file written here."""
    identity = age.generate_identity("x25519")
    age.write_identity_file(tmp_path / "key", identity)

    sealed = age.encrypt(plain(size), [identity.recipient], armor=armor)

    assert plain(size) == run("age", "--decrypt", "-i", tmp_path / "key", data=sealed)


@tool
@pytest.mark.parametrize("options", [[], ["--armor"]])
@pytest.mark.parametrize("size", SIZES)
def test_we_open_the_tools(tmp_path: Path, size: int, options: list[str]) -> None:
    """What the tool seals opens here, with an identity file that age-keygen wrote."""
    run("age-keygen", "-o", tmp_path / "key")
    identity = age.read_identity_file(tmp_path / "key")

    sealed = run("age", *options, "-r", str(identity.recipient), data=plain(size))
    target = io.BytesIO()
    age.decrypt_stream(io.BytesIO(sealed), target, identity)

    assert plain(size) == age.decrypt(sealed, identity) == target.getvalue()


@tool
def test_the_tools_recipient_is_ours(tmp_path: Path) -> None:
    """age-keygen finds the same recipient of an identity as this library."""
    identity = age.generate_identity("x25519")
    age.write_identity_file(tmp_path / "key", identity)

    assert str(identity.recipient) == run("age-keygen", "-y", tmp_path / "key").decode().strip()


@tool
def test_several_recipients_with_the_tool(tmp_path: Path) -> None:
    """A file for several recipients opens with the identity of any of them, on either side."""
    ours, theirs = age.generate_identity("x25519"), age.generate_identity("x25519")
    age.write_identity_file(tmp_path / "key", theirs)

    sealed = age.encrypt(b"secret", [ours.recipient, theirs.recipient])
    back = run("age", "-r", str(theirs.recipient), "-r", str(ours.recipient), data=b"secret")

    assert b"secret" == run("age", "--decrypt", "-i", tmp_path / "key", data=sealed)
    assert b"secret" == age.decrypt(back, ours)


@tool
def test_rewrapped_file_with_the_tool(tmp_path: Path) -> None:
    """What was rewrapped here, the tool opens."""
    old, new = age.generate_identity("x25519"), age.generate_identity("x25519")
    age.write_identity_file(tmp_path / "key", new)
    target = io.BytesIO()

    age.rewrap(io.BytesIO(age.encrypt(plain(CHUNK), [old.recipient])), target, old, [new.recipient])

    assert plain(CHUNK) == run("age", "--decrypt", "-i", tmp_path / "key", data=target.getvalue())


def answer_with(passphrase: str, *args: str | Path) -> None:
    """Run a program on a terminal of its own and type a passphrase at each of its questions."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *args], stdin=theirs, stdout=theirs, stderr=theirs
    ) as program:
        os.close(theirs)
        said = b""
        answered = 0
        # Linux ends the reading of a terminal that nobody has open any more with an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 1000):
                said += piece
                if said.count(b": ") > answered and said.endswith(b": "):
                    answered += 1
                    os.write(ours, passphrase.encode() + b"\n")
    os.close(ours)
    assert 0 == program.returncode, said


@tool
@terminal
def test_passphrases_with_the_tool(tmp_path: Path) -> None:
    """A passphrase typed at the tool opens what was sealed here, and the other way round."""
    words = age.Passphrase("kata sandi", work_factor=10)
    (tmp_path / "ours.age").write_bytes(age.encrypt(b"secret", [words]))
    (tmp_path / "plain").write_bytes(b"secret")

    answer_with("kata sandi", "age", "--decrypt", "-o", tmp_path / "opened", tmp_path / "ours.age")
    answer_with("kata sandi", "age", "--passphrase", "-o", tmp_path / "theirs.age", tmp_path / "plain")

    assert b"secret" == (tmp_path / "opened").read_bytes()
    assert b"secret" == age.decrypt((tmp_path / "theirs.age").read_bytes(), words)


@tool
@terminal
def test_sealed_identity_file_with_the_tool(tmp_path: Path) -> None:
    """The tool opens a file with an identity file that was sealed here with a passphrase."""
    identity = age.generate_identity("x25519")
    age.write_identity_file(
        tmp_path / "key", identity, passphrase=age.Passphrase("kata sandi", work_factor=10)
    )
    (tmp_path / "sealed.age").write_bytes(age.encrypt(b"secret", [identity.recipient]))

    answer_with(
        "kata sandi", "age", "-d", "-i", tmp_path / "key", "-o", tmp_path / "opened", tmp_path / "sealed.age"
    )

    assert b"secret" == (tmp_path / "opened").read_bytes()


@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_pyrage_both_ways(size: int, *, armor: bool) -> None:
    """What is sealed here opens with pyrage, and the other way round."""
    identity = age.generate_identity("x25519")
    theirs = pyrage.x25519.Identity.from_str(identity.to_text())

    sealed = age.encrypt(plain(size), [identity.recipient], armor=armor)
    back = pyrage.encrypt(plain(size), [theirs.to_public()], armored=armor)

    assert plain(size) == pyrage.decrypt(sealed, [theirs])
    assert plain(size) == age.decrypt(back, identity)


def test_pyrage_passphrases() -> None:
    """A passphrase opens on either side."""
    sealed = age.encrypt(b"secret", [age.Passphrase("kata sandi", work_factor=10)])

    assert b"secret" == pyrage.passphrase.decrypt(sealed, "kata sandi")


@pytest.mark.slow
def test_passphrase_of_pyrage() -> None:
    """What pyrage seals with a passphrase opens here; it sets the work to a second of the machine's time."""
    sealed = pyrage.passphrase.encrypt(b"secret", "kata sandi")

    assert b"secret" == age.decrypt(sealed, age.Passphrase("kata sandi", max_work_factor=22))
