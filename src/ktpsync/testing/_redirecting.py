"""A server that sends every HTTP request on to another one, for the tests of what must not follow."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

REDIRECTIONS: Final = (301, 302, 307, 308)

_BLOCK: Final = 64 << 10
_WAIT_SECONDS: Final = 10.0
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})


class Redirecting:
    """A server on 127.0.0.1 that answers each request with a redirection to another one, which takes whatever comes.

    As a context manager it begins to listen, and ends at the end.

    Args:
        status: The status of its answers.
    """

    def __init__(self, status: int) -> None:
        self.asked: list[str] = []
        """Methods of the requests that came."""
        self.followed: list[str] = []
        """Methods of those that came to the other server."""
        self._servers = [
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.followed, 200, lambda: "")),
        ]
        there = f"http://127.0.0.1:{self._servers[0].server_port}"
        self._servers.append(
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.asked, status, lambda: there))
        )
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            for server in self._servers
        ]

    @property
    def port(self) -> int:
        """The port where clients connect."""
        return self._servers[1].server_port

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(
    seen: list[str], status: int, there: Callable[[], str]
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _WAIT_SECONDS

        def __getattr__(self, name: str) -> Callable[[], None]:
            # Whatever the method: WebDAV has more than HTTP.
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            seen.append(self.command)
            self.send_response_only(status)
            if there():
                self.send_header("Location", f"{there()}{self.path}")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            # A body that nobody reads would be answered with a reset, and the redirection be lost.
            with contextlib.suppress(OSError):
                if self.command not in _BODILESS:
                    self.connection.shutdown(socket.SHUT_WR)
                    while self.rfile.read1(_BLOCK):
                        pass

    return Handler


def speaks_http(port: int) -> bool:
    """Return whether what listens at a port of 127.0.0.1 answers HTTP in the clear."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=_WAIT_SECONDS) as asking,
    ):
        asking.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        with asking.makefile("rb") as answer:
            return answer.read(5) == b"HTTP/"
    return False
