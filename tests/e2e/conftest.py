"""Lines that break, on real sockets."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ktpsync.testing import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.packet import SealedPacket


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
