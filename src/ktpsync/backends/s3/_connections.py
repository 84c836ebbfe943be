"""botocore's connections, where an answer may not take for ever."""

from __future__ import annotations

import functools
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import (
    AWSConnection,
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPResponse,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import URLLib3Session

from ktpsync.backends._timed import TimedAnswer, TimedSource

if TYPE_CHECKING:
    from io import RawIOBase
    from socket import socket

    from urllib3 import PoolManager


class Session(URLLib3Session):
    """Connections whose answers are timed."""

    def _get_connection_manager(self, url: str, proxy_url: str | None = None) -> PoolManager:
        manager: PoolManager = super()._get_connection_manager(url, proxy_url)  # type: ignore[misc]  # not in the stubs
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _TimedLine:
    """A socket whose bytes are timed where botocore reads them itself."""

    def __init__(self, line: socket) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def makefile(self, *_: object) -> TimedSource:
        return TimedSource(self._line.makefile("rb", buffering=0), self._line)


class _TimedAnswer(TimedAnswer, AWSHTTPResponse):
    """An answer whose first line was read before it."""


class _Timed(AWSConnection):
    response_class: Any = TimedAnswer
    sock: Any

    def _handle_expect_response(self, message_body: object) -> None:
        """Read what comes back for the head of a request."""
        line, self.sock = self.sock, _TimedLine(self.sock)
        try:
            super()._handle_expect_response(message_body)  # type: ignore[misc]  # not in the stubs
        finally:
            self.sock = line
        if self.response_class is not TimedAnswer:
            self.response_class = functools.partial(_TimedAnswer, **self.response_class.keywords)

    def _consume_headers(self, fp: RawIOBase) -> None:
        """Read the rest of a ``100 Continue``. botocore would never notice that the line ends within."""
        while (header := fp.readline()) != b"\r\n":
            if not header:
                raise RemoteDisconnected("Remote end closed connection without response")


class _Connection(_Timed, AWSHTTPConnection): ...  # type: ignore[misc]  # as botocore's own


class _TLSConnection(_Timed, AWSHTTPSConnection): ...  # type: ignore[misc]


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}
