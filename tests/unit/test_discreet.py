"""Secrets stay out of what error reporters collect: the variables of every frame of a traceback."""

from __future__ import annotations

import io
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ktpsync import age, packet, records
from ktpsync.age import _header
from ktpsync.clock import SystemClock
from ktpsync.discreet import discreet
from ktpsync.errors import KtpsyncError
from ktpsync.keys import StationKey
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILE_KEY = b"YELLOW SUBMARINE"
WORDS = "rintik hujan di atas genting"
IDENTITY = age.generate_identity()
DAMAGED = IDENTITY.to_text()[:-1] + "!"


UNNAMED = evolve(make_enrollment(1), biodata=evolve(make_enrollment(1).biodata, full_name=""))


class Insider(age.Identity):
    """Opens every file with the same key."""

    recipient = IDENTITY.recipient

    def unwrap(self, stanzas: Sequence[age.Stanza]) -> bytes:  # noqa: ARG002 - whatever they are
        """Return the key."""
        return FILE_KEY


class FullDisk(io.RawIOBase):
    """A file that takes nothing."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: object) -> int:  # noqa: ARG002 - none of it is taken
        """Fail."""
        raise OSError(28, "No space left on device")


def file(payload: bytes) -> bytes:
    """Return an age file with any bytes for a payload."""
    return _header.build([age.Stanza(args=("insider",), body=b"")], FILE_KEY) + payload


def key_file(folder: Path, content: bytes) -> Path:
    """Write a key file."""
    path = folder / "office.key"
    path.touch(0o600)
    path.write_bytes(content)
    return path


def sealed_key_file(folder: Path) -> Path:
    """Write a sealed key file."""
    path = folder / "sealed.key"
    age.write_identity_file(path, IDENTITY, passphrase=age.Passphrase(WORDS, work_factor=2))
    return path


def nothing_there(name: str) -> bytes:
    """Have no file."""
    raise FileNotFoundError(name)


def folder_without_face(folder: Path) -> Path:
    """Save an enrollment and lose a file of it."""
    records.save_folder(make_enrollment(1), folder / "captured")
    (folder / "captured/biometrics/face.png").unlink()
    return folder / "captured"


def damaged(path: Path) -> Path:
    """Change the payload of an armored file."""
    lines = path.read_bytes().split(b"\n")
    lines[-4] = lines[-4][::-1]
    path.write_bytes(b"\n".join(lines))
    return path


CASES: dict[str, Callable[[Path], object]] = {
    "decrypt": lambda _: age.decrypt(file(bytes(50)), Insider()),
    "decrypt, no payload": lambda _: age.decrypt(file(b""), Insider()),
    "decrypt, changed header": lambda _: age.decrypt(file(b"").replace(b"-> i", b"-> j"), Insider()),
    "decrypt_stream": lambda _: age.decrypt_stream(io.BytesIO(file(bytes(50))), io.BytesIO(), Insider()),
    "encrypt_stream": lambda _: age.encrypt_stream(io.BytesIO(b"x"), FullDisk(), IDENTITY.recipient),
    "rewrap": lambda _: age.rewrap(io.BytesIO(file(bytes(50))), io.BytesIO(), Insider(), []),
    "parse_identity": lambda _: age.parse_identity(DAMAGED),
    "parse_recipient": lambda _: age.parse_recipient(IDENTITY.to_text()),
    "read_identities": lambda folder: age.read_identities(key_file(folder, b"#\n" + DAMAGED.encode())),
    "read_identity_file, other words": lambda folder: age.read_identity_file(
        sealed_key_file(folder), passphrase=WORDS + "?"
    ),
    "read_identity_file, damaged": lambda folder: age.read_identity_file(
        damaged(sealed_key_file(folder)), passphrase=WORDS
    ),
    "write_identity_file": lambda folder: age.write_identity_file(sealed_key_file(folder), IDENTITY),
    "StationKey.load": lambda folder: StationKey.load(
        key_file(folder, StationKey.generate().to_pem().replace(b"MC4CAQ", b"NC4CAQ"))
    ),
    "packet.seal": lambda _: packet.seal(
        UNNAMED,
        recipients=[IDENTITY.recipient],
        station_key=StationKey.generate(),
        clock=SystemClock(),
    ),
    "records.validate": lambda _: records.validate(UNNAMED),
    "records.from_json": lambda _: records.from_json(records.to_json(UNNAMED)[0], nothing_there),
    "records.load_folder": lambda folder: records.load_folder(folder_without_face(folder)),
}


@pytest.mark.parametrize("case", CASES)
def test_no_variables_in_tracebacks(tmp_path: Path, case: str) -> None:
    """The traceback of an error names the frames of the library, with no variable in any of them."""
    with pytest.raises((KtpsyncError, OSError)) as caught:
        CASES[case](tmp_path)

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = []
    while report is not None:
        frames += [frame for frame in report.stack if "/ktpsync/" in Path(frame.filename).as_posix()]
        report = report.__cause__ or report.__context__
    kept = {
        name for frame in frames for name in frame.locals or () if Path(frame.filename).name != "discreet.py"
    }
    assert set() == kept
    assert len(frames) > 1


def test_what_was_handled_before_stays() -> None:
    """The variables of an error that the caller was handling already are the caller's."""

    def fail() -> None:
        evidence = "kept"
        raise ValueError(evidence)

    def look_up() -> None:
        try:
            fail()
        except ValueError:
            discreet({}.__getitem__)("missing")

    with pytest.raises(KeyError) as caught:
        look_up()

    before = caught.value.__context__
    assert before is not None
    report = traceback.TracebackException.from_exception(before, capture_locals=True)
    assert "evidence" in (report.stack[-1].locals or ())
