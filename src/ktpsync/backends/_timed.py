"""How long an answer over HTTP may take.

A socket's timeout is for each read alone: whoever sends a byte now and then, or ``100 Continue`` for ever, would be waited
for as long as they like.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from socket import socket

    from _typeshed import WriteableBuffer

_BLOCK: Final = 16 << 10
"""So many bytes of a body are worth waiting for as long again: it may be large, and the line thin."""

_NEARLY_ALL: Final = 0.9
"""As long as so much of the time is left, the socket's own timeout will do: most answers cost no further call to the system."""


class TimedSource(io.RawIOBase):
    """The bytes of an answer as they come: all of its head in the time of the socket's timeout, then each 16 KiB of its body.

    Args:
        source: Where they come from; closed with this.
        line: Its socket, whose timeout counts.
    """

    def __init__(self, source: io.RawIOBase, line: socket) -> None:
        self._source = source
        self._line = line
        self._seconds = line.gettimeout() or 0.0
        self._began = time.monotonic()
        self._waited = 0.0
        self._came = 0
        self._in_body = False

    def begin_body(self) -> None:
        """Take what comes from now on for the body."""
        self._in_body = True
        self._waited = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        now = time.monotonic()
        if self._in_body:
            # Only waiting counts: whoever reads a body may take their time.
            self._began = now - self._waited
        left = self._seconds - (now - self._began)
        if left <= 0:
            raise TimeoutError("timed out")
        late = left < self._seconds * _NEARLY_ALL
        if late:
            self._line.settimeout(left)
        try:
            count = self._source.readinto(buffer) or 0
        finally:
            if late:
                # The next request goes over the same line.
                self._line.settimeout(self._seconds)
        self._waited = time.monotonic() - self._began
        self._came += count
        if self._in_body and self._came >= _BLOCK:
            self._came, self._waited = 0, 0.0
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class TimedAnswer(http.client.HTTPResponse):
    """An answer whose bytes are a :class:`TimedSource`. It begins when the request was sent: uploads do not count."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._timed = TimedSource(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._timed.begin_body()
