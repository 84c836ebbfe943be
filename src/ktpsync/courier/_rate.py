"""A limit on bytes per second that all deliveries of a process to one destination share."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.clock import Clock

_BURST_SECONDS = 0.5


class TokenBucket:
    """Hands out bytes at a rate; who takes more than there are waits.

    Args:
        clock: What it measures by and sleeps on.
        rate: Bytes per second; ``None`` is no limit. May be changed at any time.
    """

    def __init__(self, clock: Clock, rate: float | None = None) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock.monotonic()

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may pass."""
        rate = self.rate
        if rate is None or count <= 0:
            return
        with self._lock:
            now = self._clock.monotonic()
            self._free_at = max(self._free_at, now - _BURST_SECONDS) + count / rate
            wait = self._free_at - now
        if wait > 0:
            self._clock.sleep(wait)

    def portion(self) -> int:
        """Return how many bytes to read at a time, so that the line is used evenly."""
        return 1 << 20 if self.rate is None else max(1024, int(self.rate * _BURST_SECONDS))


class _Metered(io.RawIOBase):
    """A file whose bytes pass through a bucket, once each: what is read again to be hashed is not sent."""

    def __init__(self, file: BinaryIO, bucket: TokenBucket) -> None:
        self._file = file
        self._bucket = bucket
        self._furthest = 0
        self._passed_freely = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._passed_freely:
            self._furthest = max(self._furthest, self._file.tell())
            self._passed_freely = False
        position = self._file.seek(offset, whence)
        if whence == io.SEEK_SET:
            # A resumed upload starts behind what was sent already.
            self._furthest = max(self._furthest, position)
        return position

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most what may pass in a moment; all of them for -1."""
        if size < 0:
            return self.readall()
        if self._bucket.rate is None:
            self._passed_freely = True
            return self._file.read(size)
        data = self._file.read(min(size, self._bucket.portion()))
        position = self._file.tell()
        if position > self._furthest:
            self._bucket.take(position - max(self._furthest, position - len(data)))
            self._furthest = position
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def metered(opener: Callable[[], BinaryIO], bucket: TokenBucket) -> Callable[[], BinaryIO]:
    """Return an opener whose files are read at the bucket's rate."""
    return lambda: cast("BinaryIO", _Metered(opener(), bucket))
