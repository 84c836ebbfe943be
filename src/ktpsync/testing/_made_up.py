"""Made-up packets and sources of bytes, for the tests of backends."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import TYPE_CHECKING

from ktpsync.packet import SealedPacket, new_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


def made_up_packet(content: bytes = b"sealed bytes") -> SealedPacket:
    """Return a packet with a new id over these bytes."""
    return SealedPacket.from_bytes(new_packet_id(), hashlib.sha256(content).hexdigest(), content)


def reading_from(
    packet: SealedPacket, opener: Callable[[], io.RawIOBase | io.BufferedIOBase]
) -> SealedPacket:
    """Return the same packet whose bytes come from somewhere else."""
    return SealedPacket(
        packet_id=packet.packet_id,
        sha256=packet.sha256,
        size=packet.size,
        opener=opener,  # type: ignore[arg-type]  # a binary file object
    )


class TricklingSource(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe does.

    Args:
        content: What it gives.
        at_most: Bytes for each read.
        seekable: Whether it can seek: the bytes of a packet can, those given to ``put`` need not.
        before_each: Called before each read, with the position.
    """

    def __init__(
        self,
        content: bytes,
        at_most: int = 1000,
        *,
        seekable: bool = False,
        before_each: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._content = io.BytesIO(content)
        self._at_most = at_most
        self._seekable = seekable
        self._before_each = before_each

    def seekable(self) -> bool:
        """Return whether it can seek."""
        return self._seekable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, where that is possible."""
        if not self._seekable:
            raise io.UnsupportedOperation("seek")
        return self._content.seek(offset, whence)

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read the next bytes, fewer than there is room for."""
        self._before_each(self._content.tell())
        return self._content.readinto(memoryview(buffer)[: self._at_most])


def breaking_source(content: bytes, good: int, *, seekable: bool = False) -> TricklingSource:
    """Return a source that gives some bytes and then fails, as a disk does that is pulled out.

    Args:
        content: What it would give.
        good: How many bytes come before it fails, at least.
        seekable: Whether it can seek.
    """

    def fail(given: int) -> None:
        if given >= good:
            raise OSError("the spool's disk failed")

    return TricklingSource(content, max(good, 1), seekable=seekable, before_each=fail)


class CountedOpener:
    """Opens the same bytes again and again, and knows what was not closed.

    Args:
        content: The bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._lock = threading.Lock()
        self._opened: list[io.BytesIO] = []

    def __call__(self) -> io.BytesIO:
        """Return a new file object."""
        opened = io.BytesIO(self._content)
        with self._lock:
            self._opened.append(opened)
        return opened

    @property
    def left_open(self) -> int:
        """How many were not closed."""
        return sum(not opened.closed for opened in self._opened)
