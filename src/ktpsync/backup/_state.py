"""The outbox state of a snapshot: JSON lines, gzip, age. Never in clear on any disk."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tempfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import attrs
import cattrs
from attrs import field, frozen

from ktpsync import age, files
from ktpsync.errors import AgeError, DamagedBackupError, NoMatchingIdentityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from _typeshed import WriteableBuffer

    from ktpsync.age import Identity

_MEMORY: Final = 16 << 20
_READ_SIZE: Final = 1 << 16
_GZIP: Final = 31
"""zlib's window bits for a gzip container."""

_converter = cattrs.Converter(forbid_extra_keys=True)


@frozen(kw_only=True)
class StateHead:
    """The first line of a state.

    Args:
        repository: UUID of the repository.
        snapshot: The snapshot it belongs to: a state put under another one is noticed.
        after: The outbox sequence of the parent; 0 in a full state.
        sequence: The outbox sequence that it reaches.
        station_key: The station's private signing key in PEM, if that was asked for.
        index_key: The key of the outbox's keyed hashes in hexadecimal, where the backup was given it.
    """

    repository: str
    snapshot: str
    after: int
    sequence: int
    station_key: str | None = field(default=None, repr=False)
    index_key: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class SealedState:
    """A sealed state on its way into the repository."""

    data: BinaryIO
    sha256: str
    size: int

    def close(self) -> None:
        """Free the memory or the temporary file."""
        self.data.close()


def seal_state(
    head: StateHead, records: Iterable[Mapping[str, object]], recipients: Sequence[str]
) -> SealedState:
    """Seal a state to the recovery recipients in constant memory.

    Raises:
        KeyFormatError: A recipient is not one.
    """
    plain = io.BufferedReader(_Pull(_gzipped(_lines(head, records))), _READ_SIZE)
    with plain, contextlib.ExitStack() as stack:
        sealed = cast("BinaryIO", stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_MEMORY)))
        age.encrypt_stream(plain, sealed, [age.parse_recipient(text) for text in recipients])
        sealed.seek(0)
        sha256, size = files.sha256_of(sealed)
        sealed.seek(0)
        # The caller closes it.
        stack.pop_all()
    return SealedState(data=sealed, sha256=sha256, size=size)


class OpenedState:
    """An opened state: its head, then its records, once.

    Args:
        sealed: The sealed file, at its start.
        identities: Of the recovery recipients.
        key: Where it was stored, for messages.

    Raises:
        NoMatchingIdentityError: None of the identities opens it.
        DamagedBackupError: It is damaged.
    """

    def __init__(self, sealed: BinaryIO, identities: Sequence[Identity], key: str) -> None:
        self._key = key
        packed = io.BytesIO()
        try:
            age.decrypt_stream(sealed, packed, identities)
        except NoMatchingIdentityError:
            raise
        except AgeError:
            raise self._damaged() from None
        packed.seek(0)
        self._lines = self._read_lines(packed)
        try:
            self.head = _converter.structure(next(self._lines, {}).get("head"), StateHead)
        except (cattrs.BaseValidationError, TypeError):
            raise self._damaged() from None

    def records(self) -> Iterator[Mapping[str, object]]:
        """Yield the records.

        Raises:
            DamagedBackupError: The state ends before its end.
        """
        count = 0
        for line in self._lines:
            if "record" in line:
                count += 1
                yield line["record"]
            elif line.get("end") == {"records": count}:
                return
            else:
                break
        raise self._damaged()

    def _read_lines(self, packed: BinaryIO) -> Iterator[dict[str, dict[str, object]]]:
        try:
            with gzip.open(packed) as lines:
                for line in lines:
                    yield json.loads(line)
        except (zlib.error, OSError, EOFError, ValueError):
            raise self._damaged() from None

    def _damaged(self) -> DamagedBackupError:
        return DamagedBackupError(
            f"{self._key} is damaged: the outbox state in it cannot be read to its end."
        )


def _lines(head: StateHead, records: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    yield _line("head", attrs.asdict(head))
    count = 0
    for record in records:
        count += 1
        yield _line("record", record)
    yield _line("end", {"records": count})


def _line(kind: str, value: Mapping[str, object]) -> bytes:
    return json.dumps({kind: dict(value)}, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _gzipped(lines: Iterable[bytes]) -> Iterator[bytes]:
    pack = zlib.compressobj(level=6, wbits=_GZIP)
    for line in lines:
        yield pack.compress(line)
    yield pack.flush()


class _Pull(io.RawIOBase):
    """A readable file over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
