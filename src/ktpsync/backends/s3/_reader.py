"""An object as a file: read as it comes over the line, with failures in ktpsync's words."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from ktpsync.backends.s3._failures import translated

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_BUFFER: Final = 256 << 10


class _Raw(io.RawIOBase):
    def __init__(self, body: StreamingBody, name: str, what: str, bucket: str) -> None:
        self._body = body
        self._words = name, what, bucket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        with translated(*self._words):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def reader(body: StreamingBody, *, name: str, key: str, bucket: str) -> io.BufferedReader:
    """Return a file object over the body of an answer. Closing it gives the connection back.

    Args:
        body: What boto3 gave.
        name: The destination, for messages.
        key: The object, for messages.
        bucket: The bucket, for messages.
    """
    return io.BufferedReader(_Raw(body, name, key, bucket), _BUFFER)
