"""A line that breaks, on real sockets, for the tests of what goes over a network."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 8192


@define
class BadLine:
    """A TCP proxy before a server on 127.0.0.1. Whether and when it breaks may change while it runs.

    As a context manager it begins to listen, and ends all connections at the end.

    Args:
        port: The server's port.
        drop_after: Bytes from the client after which each connection ends; 0: never.
        drop_after_answer: Bytes from the server after which each connection ends; 0: never.
        damage_at: Which byte from the client arrives changed, on each connection that comes so far; 0: none.
        silent: Take connections and never answer.
        reset: Whether a connection ends with a reset instead of an orderly end.
    """

    port: int
    drop_after: int = 0
    drop_after_answer: int = 0
    damage_at: int = 0
    silent: bool = False
    reset: bool = False
    up: int = 0
    """Bytes that came from clients."""
    connections: int = 0
    """How many there were."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)), init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _clients: list[socket.socket] = field(factory=list, init=False)

    @property
    def own_port(self) -> int:
        """The port where clients connect."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The same as the address of an HTTP server."""
        return f"http://127.0.0.1:{self.own_port}/"

    def start(self) -> None:
        """Begin to listen."""
        self._run(self._accept)

    def stop(self) -> None:
        """End all."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._clients.append(client)
                if self.silent:
                    continue
                # As on a thin line, only little is under way at a time.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * _BLOCK)
                server = socket.create_connection(("127.0.0.1", self.port))
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _BLOCK)
                self._run(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        down = threading.Thread(target=self._carry_down, args=(client, server), daemon=True)
        down.start()
        self._carry_up(client, server)
        down.join()
        # Only now: a number of a closed socket is given to the next one, under a thread that still reads it.
        for end in (client, server):
            if self.reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def _carry_up(self, client: socket.socket, server: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while not self.drop_after or carried < self.drop_after:
                limit = min(_BLOCK, self.drop_after - carried) if self.drop_after else _BLOCK
                data = client.recv(limit)
                if not data:
                    break
                if carried < self.damage_at <= carried + len(data):
                    place = self.damage_at - carried - 1
                    data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
                carried += len(data)
                with self._lock:
                    self.up += len(data)
                server.sendall(data)
        self._end(client, server)

    def _carry_down(self, client: socket.socket, server: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while not self.drop_after_answer or carried < self.drop_after_answer:
                limit = min(_BLOCK, self.drop_after_answer - carried) if self.drop_after_answer else _BLOCK
                data = server.recv(limit)
                if not data:
                    break
                carried += len(data)
                client.sendall(data)
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD if self.reset else socket.SHUT_RDWR)
