"""Servers that answer, and never end: byte by byte, or with ``100 Continue`` for ever; real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import ssl
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from ktpsync.backends._timed import TimedSource
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.backends.s3._whole import Body
from ktpsync.backends.s3.backend import S3Backend
from ktpsync.backends.s3.settings import S3Settings
from ktpsync.errors import UnavailableError
from ktpsync.plugins import BackendContext, Duration, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

LIMIT = 0.15
CONNECT = 2.0
CAP_SECONDS = 5.0
LISTING = b"<ListBucketResult><Name>b</Name></ListBucketResult>"
OUT_OF_TIME = r"broke off|in time"


@frozen
class Dripping:
    """An answer that would be right, did it not stand still in its middle: there a piece comes again and again.

    Args:
        before: What comes at once.
        piece: What comes again and again.
        after: What comes at last, when nobody should be waiting any more.
        gap: Seconds between pieces.
    """

    before: bytes
    piece: bytes
    after: bytes
    gap: float = 0.02


OK = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nConnection: close\r\n'
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def whole(body: bytes) -> bytes:
    """Return the rest of an answer after its first headers."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def drippings(body: bytes) -> dict[str, Dripping]:
    """Return answers with this body, each with another place where it does not go on."""
    rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return {
        "first line": Dripping(b"HTTP/1.1 200 ", b"O", b"K\r\n" + whole(body)),
        "head": Dripping(OK + b"X: ", b"y", b"\r\n" + whole(body)),
        "continue": Dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, OK + whole(body), gap=0),
        "slow continue": Dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", OK + whole(body)),
        "body": Dripping(CHUNKED, b"1\r\n \r\n", rest),
        "body without a length": Dripping(OK + b"\r\n", b" ", body),
        "body, line of a chunk": Dripping(CHUNKED + b"1;", b"x", b"\r\n \r\n" + rest),
    }


KINDS = list(drippings(b""))
OF_BODY = [kind for kind in KINDS if "body" in kind]


@contextlib.contextmanager
def answering(answer: Dripping, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that answers each request so; yield its address."""

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            with connection.makefile("rb") as request:
                while request.readline() not in {b"\r\n", b""}:
                    pass
            connection.sendall(answer.before)
            end = time.monotonic() + CAP_SECONDS
            while time.monotonic() < end:
                connection.sendall(answer.piece)
                time.sleep(answer.gap)
            connection.sendall(answer.after)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                drip(connection if tls is None else tls.wrap_socket(connection, server_side=True))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            port = listener.getsockname()[1]
            yield f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def centre(url: str, ca_file: Path | None = None) -> HttpBackend:
    """Return a backend of a centre."""
    settings = HttpSettings(
        url=url, ca_file=ca_file, connect_timeout=Duration(CONNECT), read_timeout=Duration(LIMIT)
    )
    return HttpBackend(settings, BackendContext(name="central"))


def storage(url: str, ca_file: Path | None = None, connect: float = CONNECT) -> S3Backend:
    """Return a backend of a bucket."""
    settings = S3Settings(
        bucket="b",
        endpoint=url,
        access_key=Secret("a"),
        secret_key=Secret("s"),
        ca_file=ca_file,
        connect_timeout=Duration(connect),
        read_timeout=Duration(LIMIT),
    )
    return S3Backend(settings, BackendContext(name="offsite"))


@pytest.mark.parametrize(
    ("use", "kind"), [*(("check", kind) for kind in KINDS), *(("fetch", kind) for kind in OF_BODY)]
)
def test_a_centre_that_never_ends_its_answer_is_given_up(kind: str, use: str) -> None:
    """It is as if nothing had come: it is tried again later, and meanwhile nobody waits for it."""
    uses: dict[str, Callable[[HttpBackend], object]] = {
        "check": lambda backend: backend.check(),
        "fetch": lambda backend: backend.fetch("0190b1c5-0000-7000-8000-000000000001").read(),
    }
    with (
        answering(drippings(b"{}")[kind]) as url,
        centre(url) as backend,
        pytest.raises(UnavailableError, match=OUT_OF_TIME),
    ):
        uses[use](backend)


@pytest.mark.parametrize(
    ("use", "kind"), [*(("list", kind) for kind in KINDS), *(("open", kind) for kind in OF_BODY)]
)
def test_a_storage_that_never_ends_its_answer_is_given_up(kind: str, use: str) -> None:
    """The same, whether it is asked over boto3 or for an object."""
    uses: dict[str, Callable[[S3Backend], object]] = {
        "list": lambda backend: list(backend.list()),
        "open": lambda backend: backend.open("a").read(),
    }
    with (
        answering(drippings(LISTING)[kind]) as url,
        storage(url) as backend,
        pytest.raises(UnavailableError, match=OUT_OF_TIME),
    ):
        uses[use](backend)


@pytest.mark.parametrize("kind", ["head", "body"])
def test_over_tls(kind: str, certificates: Path) -> None:
    """Both are given up there as well."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    ca_file = certificates / "authority.pem"
    answer = drippings(b"{}")[kind]
    with answering(answer, tls) as url:
        with centre(url, ca_file) as backend, pytest.raises(UnavailableError, match=OUT_OF_TIME):
            backend.check()
        with storage(url, ca_file) as backend, pytest.raises(UnavailableError, match=OUT_OF_TIME):
            backend.open("a").read()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Dripping(b"HTTP/1.1 100 ", b"C", b"\r\n\r\n" + OK + whole(b"")), id="first line"),
        pytest.param(
            Dripping(b"HTTP/1.1 100 Continue\r\nX: ", b"y", b"\r\n\r\n" + OK + whole(b"")), id="continue"
        ),
        pytest.param(
            Dripping(b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n", b"\r\n" + OK + whole(b"")), id="headers"
        ),
        pytest.param(Dripping(b"HTTP/1.1 403 No\r\nX: ", b"y", b"\r\n" + whole(b"")), id="refusal"),
    ],
)
def test_a_storage_that_is_asked_before_the_bytes_are_sent(answer: Dripping) -> None:
    """What it says to that may not take for ever either."""
    with (
        answering(answer) as url,
        storage(url, connect=LIMIT) as backend,
        pytest.raises(UnavailableError, match=OUT_OF_TIME),
    ):
        put(backend)


def test_a_line_that_ends_within_the_word_to_go_on() -> None:
    """By itself botocore would read from it for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 100 Continue\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            storage(f"http://127.0.0.1:{listener.getsockname()[1]}") as backend,
            pytest.raises(UnavailableError, match="broke off in the middle"),
        ):
            put(backend)
        thread.join()


def put(backend: S3Backend) -> None:
    """Store a few bytes, and let the storage refuse before they are sent."""
    body = Body(data=b"abc", sha256=hashlib.sha256(b"abc").hexdigest(), md5=lambda: "")
    with backend._translated("a"):
        backend._line()[1].put("a", body, {}, ask=True)


class Thin(io.RawIOBase):
    """A source that gives so many bytes a read, each of which takes so many seconds of a clock."""

    def __init__(self, clock: SimpleNamespace, size: int, seconds: float) -> None:
        self.clock, self.size, self.seconds = clock, size, seconds

    def readinto(self, _: WriteableBuffer, /) -> int:
        """Take the time, and say so many bytes."""
        self.clock.now += self.seconds
        return self.size


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test sets."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("ktpsync.backends._timed.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def line() -> Iterator[socket.socket]:
    """A socket with a timeout of ten seconds."""
    with socket.socket() as line:
        line.settimeout(10)
        yield line


def test_a_large_body_over_a_thin_line_comes_through(clock: SimpleNamespace, line: socket.socket) -> None:
    """Hours are not too long for it, as long as it goes on; and whoever reads it may be slow."""
    source = TimedSource(Thin(clock, 4 << 10, 2.4), line)
    source.begin_body()

    came = 0
    for _ in range(1000):
        came += source.readinto(bytearray(4 << 10))
        clock.now += 600

    assert 1000 * (4 << 10) == came


def test_a_head_has_one_time_however_many_bytes_it_has(clock: SimpleNamespace, line: socket.socket) -> None:
    """Neither bytes nor the reader's own time count for anything."""
    source = TimedSource(Thin(clock, 1 << 20, 0), line)
    source.readinto(bytearray(10))
    clock.now += 9.9
    source.readinto(bytearray(10))
    clock.now += 0.2

    with pytest.raises(TimeoutError):
        source.readinto(bytearray(10))


def test_the_next_request_has_all_the_time_of_the_line(clock: SimpleNamespace, line: socket.socket) -> None:
    """However little was left of the one before."""
    source = TimedSource(Thin(clock, 1, 4.9), line)
    source.readinto(bytearray(1))
    source.readinto(bytearray(1))

    assert 10 == line.gettimeout()
