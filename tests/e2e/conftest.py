"""Lines that break, on real sockets."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.packet import SealedPacket


@define
class BadLine:
    """A TCP proxy that ends each connection after so many bytes from the client.

    Args:
        port: Where the centre is.
        drop_after: Bytes from the client after which the connection ends; 0 means never.
        reset: Whether it ends with a reset instead of an orderly end.
    """

    port: int
    drop_after: int = 0
    reset: bool = False
    up: int = 0
    connections: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _threads: list[threading.Thread] = field(factory=list)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def start(self) -> None:
        """Begin to listen."""
        self._run(self._accept)

    def stop(self) -> None:
        """End all."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                # As on a thin line, only little is under way at a time.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                server = socket.create_connection(("127.0.0.1", self.port))
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
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
                limit = min(8192, self.drop_after - carried) if self.drop_after else 8192
                data = client.recv(limit)
                if not data:
                    break
                carried += len(data)
                with self._lock:
                    self.up += len(data)
                server.sendall(data)
        self._end(client, server)

    def _carry_down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(8192):
                client.sendall(data)
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD if self.reset else socket.SHUT_RDWR)


@pytest.fixture
def bad_line() -> Iterator[Callable[..., BadLine]]:
    """Returns a function that puts a bad line before a centre's URL."""
    lines: list[BadLine] = []

    def make(url: str, **options: object) -> BadLine:
        port = urlsplit(url).port
        assert port is not None
        line = BadLine(port, **options)  # type: ignore[arg-type]
        line.start()
        lines.append(line)
        return line

    yield make
    for line in lines:
        line.stop()


@pytest.fixture
def send_part() -> Callable[..., socket.socket]:
    """Returns a function that sends some bytes of a packet and no more; the connection stays until it is closed."""

    def send(url: str, packet: SealedPacket, count: int, *, start: int = 0) -> socket.socket:
        parts = urlsplit(url)
        digest = base64.b64encode(bytes.fromhex(packet.sha256)).decode()
        lines = {
            "Host": parts.netloc,
            "Authorization": "Bearer right-token",
            "Content-Length": str(packet.size - start),
            "Content-Type": "application/partial-upload" if start else "application/octet-stream",
            "Content-Digest": f"sha-256=:{digest}:",
            "Upload-Complete": "?1",
            "Upload-Offset": str(start),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        method, path = ("PATCH", "/upload") if start else ("PUT", "")
        with packet.open() as file:
            file.seek(start)
            part = file.read(count)
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.sendall(
            f"{method} /v1/packets/{packet.packet_id}{path} HTTP/1.1\r\n{head}\r\n".encode() + part
        )
        return connection

    return send
