"""The published test vectors of the age format (C2SP/CCTV, folder ``age``), byte for byte."""

from __future__ import annotations

import functools
import hashlib
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from attrs import frozen

from ktpsync import age
from ktpsync.age import _armor, _header, _seal, _stream
from ktpsync.errors import ArmorError, HeaderError, HeaderMacError, NoMatchingIdentityError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER: Final = Path(__file__).with_name("testkit")
NAMES: Final = sorted(path.name for path in FOLDER.iterdir())
ERRORS: Final[dict[str, type[Exception] | None]] = {
    "success": None,
    "no match": NoMatchingIdentityError,
    "HMAC failure": HeaderMacError,
    "header failure": HeaderError,
    "payload failure": PayloadError,
    "armor failure": ArmorError,
}


@frozen
class Vector:
    """A published file, and what is to come of it."""

    error: type[Exception] | None
    payload: str | None
    file_key: bytes
    identities: list[age.Identity]
    armored: bool
    data: bytes


@functools.cache
def load(name: str) -> Vector:
    """Read a vector: lines of key and value, an empty line, the age file."""
    head, _, data = (FOLDER / name).read_bytes().partition(b"\n\n")
    lines = [tuple(line.split(": ", 1)) for line in head.decode().splitlines()]
    fields = dict(lines)
    assert fields.keys() <= {
        *("expect", "payload", "file key", "identity", "passphrase", "armored", "compressed", "comment")
    }
    if "compressed" in fields:
        assert "zlib" == fields["compressed"]
        data = zlib.decompress(data)
    return Vector(
        error=ERRORS[fields["expect"]],
        payload=fields.get("payload"),
        file_key=bytes.fromhex(fields["file key"]),
        identities=[
            *(age.parse_identity(value) for key, value in lines if key == "identity"),
            *(age.Passphrase(value) for key, value in lines if key == "passphrase"),
        ],
        armored=fields.get("armored") == "yes",
        data=data,
    )


def outcome(opener: Callable[[], object]) -> type[BaseException] | None:
    """Return the class of what is raised."""
    try:
        opener()
    except Exception as error:  # noqa: BLE001 - the class itself is what is compared
        return type(error)
    return None


def test_vectors_are_complete() -> None:
    """All vectors of the published collection are here, those of every kind among them."""
    kinds = {load(name).error for name in NAMES}

    assert 143 == len(NAMES)
    assert set(ERRORS.values()) == kinds


@pytest.mark.parametrize("name", NAMES)
def test_vector(name: str) -> None:
    """The file opens, or fails with the error of its kind; what a stream has written by then is what was verified."""
    vector = load(name)
    written = io.BytesIO()
    opened = []

    in_memory = outcome(lambda: opened.append(age.decrypt(vector.data, vector.identities)))
    streamed = outcome(lambda: age.decrypt_stream(io.BytesIO(vector.data), written, vector.identities))

    assert (vector.error, vector.error) == (in_memory, streamed)
    if vector.payload is None:
        assert b"" == written.getvalue()
    else:
        assert vector.payload == hashlib.sha256(written.getvalue()).hexdigest()
    if vector.error is None:
        assert written.getvalue() == opened[0]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if load(name).error not in (ArmorError, HeaderError)]
)
def test_header_is_written_as_it_was_read(name: str) -> None:
    """A header that was parsed and is built again has the same bytes."""
    vector = load(name)
    data = _seal.open_source(io.BytesIO(vector.data)).read(1 << 20)

    header, size = _header.parse(data)
    built = _header.build(header.stanzas, vector.file_key)

    if vector.error is HeaderMacError:
        assert data[: size - 44] == built[:-44]
    else:
        assert data[:size] == built


@pytest.mark.parametrize("name", [name for name in NAMES if load(name).error is None])
def test_payload_is_sealed_as_it_was(name: str) -> None:
    """A payload that was opened and is sealed again under the same key and nonce has the same bytes."""
    vector = load(name)
    source = _seal.open_source(io.BytesIO(vector.data))
    _seal.read_header(source)
    nonce, chunks = source.read(_stream.NONCE), source.read(1 << 25)
    plain = age.decrypt(vector.data, vector.identities)
    sealed = bytearray(_stream.sealed_size(len(plain)))

    _stream.ChunkCipher(vector.file_key, nonce).seal_all(memoryview(plain), memoryview(sealed))

    assert chunks == sealed


@pytest.mark.parametrize(
    "name", [name for name in NAMES if load(name).armored and load(name).error is not ArmorError]
)
def test_armor_is_written_as_it_was_read(name: str) -> None:
    """Armor that was decoded and is encoded again is the same text, but for white space around it and CRLF."""
    text = load(name).data
    binary = _seal.open_source(io.BytesIO(text)).read(1 << 20)
    out = io.BytesIO()

    writer = _armor.ArmorWriter(out)
    writer.write(memoryview(binary))
    writer.finish()

    assert text.replace(b"\r\n", b"\n").strip() + b"\n" == out.getvalue()
