"""A packet that the centre gives back: as it comes over the line, in constant memory, checked at its end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import socket
import threading
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from ktpsync import age
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.errors import AuthError, CorruptError, NotFoundError, UnavailableError
from ktpsync.office._good_copies import GoodCopies
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, Secret
from ktpsync.testing import FaultyBackend, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

TOKEN = "right-token"
BLOCK = b"sealed" * 10_000


@contextlib.contextmanager
def giving(blocks: int, *, digest: bytes, short_by: int = 0) -> Iterator[str]:
    """Serve one body of so many blocks, with this digest announced; yield the URL."""
    told = f"Content-Digest: sha-256=:{base64.b64encode(digest).decode()}:"
    with serving(
        f"200 OK\r\nContent-Length: {blocks * len(BLOCK)}\r\n{told}",
        itertools.repeat(BLOCK, blocks - short_by),
    ) as url:
        yield url


@contextlib.contextmanager
def serving(head: str, body: Iterable[bytes]) -> Iterator[str]:
    """Answer one request with a head and a body; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as request:
                    while request.readline() not in (b"\r\n", b""):
                        pass
                    connection.sendall(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode("ascii"))
                    for block in body:
                        connection.sendall(block)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def digest_of(blocks: int) -> bytes:
    """Return the SHA-256 of so many blocks."""
    digest = hashlib.sha256()
    for _ in range(blocks):
        digest.update(BLOCK)
    return digest.digest()


def client(url: str, token: str = TOKEN) -> HttpBackend:
    """Return a client of a centre."""
    return HttpBackend(HttpSettings(url=url, token=Secret(token)), BackendContext(name="central"))


def test_any_size_takes_the_same_memory() -> None:
    """36 MB come through a few blocks' worth of memory."""
    found = hashlib.sha256()
    with giving(600, digest=digest_of(600)) as url, client(url) as backend:
        tracemalloc.start()
        try:
            with backend.fetch(new_packet_id()) as file:
                while block := file.read(1 << 16):
                    found.update(block)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert digest_of(600) == found.digest()
    assert peak < 2 << 20


def test_other_bytes_than_announced_are_damaged() -> None:
    """Whoever reads to the end is told which packet, before anything is mended with it."""
    packet_id = new_packet_id()
    with (
        giving(3, digest=digest_of(4)) as url,
        client(url) as backend,
        backend.fetch(packet_id) as file,
        pytest.raises(CorruptError, match=rf"central: packet {packet_id} came damaged from 127\.0\.0\.1"),
    ):
        file.read()


def test_a_line_that_breaks_in_the_middle() -> None:
    """What came is not taken for the whole."""
    with (
        giving(3, digest=digest_of(3), short_by=1) as url,
        client(url) as backend,
        backend.fetch(new_packet_id()) as file,
        pytest.raises(UnavailableError, match="broke off in the middle"),
    ):
        file.read()


@pytest.mark.parametrize(
    ("status", "ask"),
    [
        ("200 OK", HttpBackend.check),
        ("500 Internal Server Error", HttpBackend.check),
        ("500 Internal Server Error", lambda backend: backend.fetch(new_packet_id())),
    ],
)
def test_an_answer_without_an_end_is_not_the_centre_s(
    status: str, ask: Callable[[HttpBackend], object]
) -> None:
    """It is given up before it fills the memory."""
    with (
        serving(f"{status}\r\nContent-Type: application/problem+json", itertools.repeat(BLOCK)) as url,
        client(url) as backend,
        pytest.raises(UnavailableError, match=r"more than 64 MiB .* not the centre that answers"),
    ):
        ask(backend)


def test_the_centre_gives_back_what_it_holds(tmp_path: Path) -> None:
    """To the office that sent it, as often as wanted, also where nobody reads it to the end."""
    settings = CentralSettings(
        folder=tmp_path,
        identities=[age.generate_identity("x25519")],
        tokens={TOKEN: "office-1", "other-token": "office-2"},
    )
    packet = made_up_packet(BLOCK)
    with running(settings) as url, client(url) as backend:
        backend.deliver(packet)
        for size in (-1, 10):
            with backend.fetch(packet.packet_id) as file:
                assert BLOCK[: size if size > 0 else None] == file.read(size)
        missing = new_packet_id()
        with pytest.raises(NotFoundError, match=f"central: the centre does not hold packet {missing}"):
            backend.fetch(missing)
        with client(url, "other-token") as other, pytest.raises(NotFoundError):
            other.fetch(packet.packet_id)
        with client(url, "wrong-token") as other, pytest.raises(AuthError):
            other.fetch(packet.packet_id)


class Endless(io.RawIOBase):
    """Gives bytes for ever, and counts them."""

    given = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        """Give as many as are wanted."""
        self.given += len(buffer)
        return len(buffer)


def test_no_more_is_taken_than_the_packet_has(tmp_path: Path) -> None:
    """Whoever answers in the centre's place cannot fill the memory of the office that mends a copy."""
    endless = Endless()

    class Centre(FaultyBackend):
        def fetch(self, packet_id: str) -> BinaryIO:  # noqa: ARG002 - whatever is asked for
            return io.BufferedReader(endless, 1000)

    init_disk(tmp_path / "disk")
    disk = DiskBackend(DiskSettings(path=tmp_path / "disk"), BackendContext(name="central"))
    packet = made_up_packet(b"sealed" * 1000)
    with Outbox.open(
        tmp_path / "outbox.db", tmp_path / "spool", destinations=[DestinationSpec(name="central")]
    ) as outbox:
        outbox.submit(b"sealed" * 1000, packet_id=packet.packet_id, sha256=packet.sha256)
        (lease,) = outbox.claim("central", 1, 60)
        outbox.settle(lease, disk.deliver(packet))
        nowhere: Any = SimpleNamespace(names=list)
        with GoodCopies(
            outbox, nowhere, (["central"], lambda _: Centre(disk, [])), missing_from="spool"
        ) as copies:
            assert copies.whole(packet.packet_id, packet.sha256) is None

    assert 6001 <= endless.given <= 6001 + 1000


def test_a_login_page_is_no_packet() -> None:
    """A captive portal answers everything with 200 and a page: it is told as that, and never given for a packet."""
    page = b"<html>Log in, please</html>"
    head = f"200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(page)}"
    with serving(head, [page]) as url:
        settings = HttpSettings(url=url, token=Secret(TOKEN))
        with (
            HttpBackend(settings, BackendContext(name="central")) as backend,
            pytest.raises(UnavailableError, match="a web page came instead"),
        ):
            backend.fetch(new_packet_id())
