"""Reading and writing file objects in full, whatever they do at one call."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Readable(Protocol):
    """What is read from: a binary file object, or anything with its ``read``."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end."""
        ...


class Writable(Protocol):
    """What is written to: a binary file object, or anything with its ``write``."""

    def write(self, data: memoryview, /) -> int | None:
        """Write bytes; they change after the call returns. Return how many were taken."""
        ...


class Source:
    """A file object that is read in full pieces, and to which the last piece can be given back.

    Args:
        file: Where to read from.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._readinto: Callable[[memoryview], int | None] = getattr(file, "readinto", self._read_into)
        self._given_back = b""

    def give_back(self, data: bytes) -> None:
        """Let the next read begin with these bytes."""
        self._given_back = data + self._given_back

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer; less is read only at the end.

        Returns:
            How many bytes were read.
        """
        done = min(len(view), len(self._given_back))
        view[:done] = self._given_back[:done]
        self._given_back = self._given_back[done:]
        while done < len(view):
            count = self._readinto(view[done:])
            if count is None:
                # Taking this for the end would cut the file short without a word.
                raise BlockingIOError("The source does not block; age files are read from blocking ones.")
            if not count:
                break
            done += count
        return done

    def _read_into(self, view: memoryview) -> int | None:
        piece = self._file.read(len(view))
        if piece is None:
            return None
        view[: len(piece)] = piece
        return len(piece)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; fewer only at the end."""
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            count = self.readinto(view)
        return bytes(buffer[:count])


def write_all(file: Writable, data: memoryview) -> None:
    """Write all bytes, also to a file object that takes fewer at a time.

    Raises:
        OSError: The file object does not take them.
    """
    while data:
        count = file.write(data)
        if count is None:
            if isinstance(file, io.RawIOBase):
                raise BlockingIOError("The target does not block; age files are written to blocking ones.")
            return
        data = data[count:]
