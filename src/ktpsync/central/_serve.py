"""Runs a sandbox centre."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from ktpsync.central._app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.central._settings import CentralSettings


def serve(
    settings: CentralSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until the process is told to stop (SIGINT or SIGTERM).

    Args:
        settings: The centre.
        host: The address to listen on.
        port: The port; 0 for a free one.
        ready: Called with the port once it listens.

    Raises:
        OSError: The address cannot be listened on.
    """
    with _listening(host, port) as listener:
        server = uvicorn.Server(_config(settings))
        ready(listener.getsockname()[1])
        server.run(sockets=[listener])


@contextlib.contextmanager
def running(settings: CentralSettings) -> Iterator[str]:
    """Run a centre in this process, for tests, and yield its URL."""
    with _listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(_config(settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def _config(settings: CentralSettings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        log_level="error",
        access_log=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=3,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listening before anybody is told the port: the first request waits instead of being refused.
        listener.listen(2048)
        yield listener
