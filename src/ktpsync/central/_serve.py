"""Runs a sandbox centre."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from ktpsync.central._app import create_app
from ktpsync.central._connection import Connection
from ktpsync.central._tls import context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.central._settings import CentralSettings


_CONNECTIONS = 2048
"""Connections at a time; more are told to come back."""

_KEPT_ALIVE_SECONDS = 30


def serve(
    settings: CentralSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until the process is told to stop (SIGINT or SIGTERM).

    Args:
        settings: The centre.
        host: The address to listen on.
        port: The port; 0 for a free one.
        ready: Called with the centre's URL once it listens.

    Raises:
        OSError: The address cannot be listened on, or a TLS file cannot be read.
    """
    with _listening(host, port) as listener:
        server = uvicorn.Server(_config(settings))
        ready(_url(settings, host, listener))
        server.run(sockets=[listener])


@contextlib.contextmanager
def running(settings: CentralSettings, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a centre in this process, for tests, and yield its URL."""
    with _listening(host, 0) as listener:
        server = _Attentive(_config(settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield _url(settings, host, listener)
        finally:
            server.should_exit = True
            thread.join()


class _Attentive(uvicorn.Server):
    """A server that looks ten times as often whether it should end, so that a hundred tests do not wait for it."""

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        while not await self.on_tick(0):  # noqa: ASYNC110 - another thread sets what ends it
            await asyncio.sleep(0.01)


def _config(settings: CentralSettings) -> uvicorn.Config:
    # First what can fail: the application opens its database.
    tls = None if settings.tls is None else context_of(settings.tls)
    config = uvicorn.Config(
        create_app(settings),
        http=Connection,
        log_level="critical",
        access_log=False,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEPT_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
        ssl_context_factory=tls,
    )
    config.load()
    return config


def _url(settings: CentralSettings, host: str, listener: socket.socket) -> str:
    scheme = "http" if settings.tls is None else "https"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listening before anybody is told the port: the first request waits instead of being refused.
        listener.listen(_CONNECTIONS)
        yield listener
