"""An object as a file: read as it comes over the line, with failures in ktpsync's words."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from ktpsync.backends.s3._failures import translated

if TYPE_CHECKING:
    from botocore.response import StreamingBody

    from ktpsync.backends.s3._failures import Place

_BUFFER: Final = 256 << 10


class _Raw(io.RawIOBase):
    def __init__(self, body: StreamingBody, place: Place, key: str) -> None:
        self._body = body
        self._place = place
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        with translated(self._place, self._key):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def reader(body: StreamingBody, place: Place, key: str) -> io.BufferedReader:
    """Return a file object over the body of an answer. Closing it gives the connection back.

    Args:
        body: What boto3 gave.
        place: Where it is, for messages.
        key: Which object it is, for messages.
    """
    return io.BufferedReader(_Raw(body, place, key), _BUFFER)
