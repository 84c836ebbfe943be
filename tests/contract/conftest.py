"""Real storage servers on loopback."""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import itertools
import logging
import threading
import tomllib
import uuid
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from attrs import field, frozen

from ktpsync import testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ACCESS, _SECRET = "AKIATEST", "not-a-real-secret"
_numbers = itertools.count(1)


@frozen
class S3Server:
    """An S3 endpoint: URL and credentials."""

    url: str
    access_key: str = _ACCESS
    secret_key: str = _SECRET


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """Moto's S3, which honours conditions but not credentials."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


def _rclone(folder: Path, *options: str) -> contextlib.AbstractContextManager[int]:
    """Serve S3 from a folder; give the port."""
    return testing.rclone_server("s3", folder, "--auth-key", f"{_ACCESS},{_SECRET}", *options)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Rclone's S3, which honours credentials but not conditions."""
    with _rclone(tmp_path_factory.mktemp("rclone")) as port:
        yield S3Server(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def tls_server(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[S3Server, Path]]:
    """Rclone's S3 over TLS, and the file of the certificate authority that signed its certificate."""
    options = ["--cert", str(certificates / "server.pem"), "--key", str(certificates / "server.key")]
    with _rclone(tmp_path_factory.mktemp("served"), *options) as port:
        yield S3Server(f"https://localhost:{port}"), certificates / "authority.pem"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority, and a certificate for localhost with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    for pem in server.cert_chain_pems:
        pem.write_to_path(folder / "server.pem", append=True)
    server.private_key_pem.write_to_path(folder / "server.key")
    return folder


@functools.cache
def session() -> Any:
    """Return a boto3 session; making one takes long."""
    import boto3

    return boto3.session.Session()


def raw_client(settings: Mapping[str, object]) -> Any:
    """Return a boto3 client for what a test does behind the backend's back."""
    return session().client(
        "s3",
        endpoint_url=settings.get("endpoint"),
        aws_access_key_id=settings.get("access_key"),
        aws_secret_access_key=settings.get("secret_key"),
        region_name=settings.get("region", "us-east-1"),
        verify=settings.get("ca_file"),
    )


@pytest.fixture
def new_client() -> Iterator[Callable[[Mapping[str, object]], Any]]:
    """Return a function that makes boto3 clients; they are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda settings: stack.enter_context(contextlib.closing(raw_client(settings)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs an S3 server at two very different ones, or at the one that ``pytest --s3 FILE`` names."""
    chosen = any("s3_settings" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "s3_settings" in metafunc.fixturenames and not chosen:
        servers = ["given"] if metafunc.config.getoption("--s3") else ["moto", "rclone"]
        metafunc.parametrize("s3_settings", servers, indirect=True)


@pytest.fixture
def s3_settings(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """Settings of a new bucket at each of the servers, or of an empty prefix at the given one."""
    if request.param == "given":
        yield from _given(Path(request.config.getoption("--s3")))
    else:
        yield new_bucket(request.getfixturevalue(f"{request.param}_server"))


def new_bucket(server: S3Server, **options: object) -> dict[str, object]:
    """Make a bucket and return the settings for it."""
    settings: dict[str, object] = {
        "bucket": f"bucket-{next(_numbers)}",
        "endpoint": server.url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "addressing": "path",
    }
    with contextlib.closing(raw_client({**settings, **options})) as client:
        client.create_bucket(Bucket=settings["bucket"], **options.get("bucket_options", {}))  # type: ignore[dict-item]
    return settings


@pytest.fixture
def make_bucket() -> Callable[..., dict[str, object]]:
    """Return the function that makes a bucket at a server."""
    return new_bucket


def _given(file: Path) -> Iterator[dict[str, object]]:
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    settings["prefix"] = f"{settings.get('prefix', '')}ktpsync-test-{uuid.uuid4()}/"
    yield settings
    with contextlib.closing(raw_client(settings)) as client:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=settings["bucket"], Prefix=settings["prefix"]
        )
        for page in pages:
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=settings["bucket"], Key=entry["Key"])


@frozen
class Request:
    """What came over the line."""

    method: str
    path: str
    headers: Message
    body: bytes


@frozen
class Reply:
    """What goes back instead of the server's answer; ``None`` as status closes the connection."""

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(factory=dict)


class Line:
    """The line to a server: it notes each request, and a test decides what happens to it.

    ``fault`` is asked for each request. It gives another request to send on, a reply to give at once, or ``None``.
    ``twist`` is asked for each answer: status, headers and body, and gives what is passed on.
    """

    def __init__(self, upstream: str | None) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Request | Reply | None] = lambda _: None
        self.twist: Callable[[Request, Reply], Reply] = lambda _, reply: reply
        line = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                request = Request(self.command, self.path, self.headers, self.rfile.read(size))
                line.requests.append(request)
                decided = line.fault(request) or request
                reply = (
                    line.twist(request, line._forward(decided)) if isinstance(decided, Request) else decided
                )
                if reply.status is None:
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - http.server's names

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def _forward(self, request: Request) -> Reply:
        assert self.upstream is not None
        connection = http.client.HTTPConnection(self.upstream.removeprefix("http://"), timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
        headers["Content-Length"] = str(len(request.body))
        connection.request(request.method, request.path, request.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        skip = {"connection", "transfer-encoding", "content-length"}
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in skip}
        kept["Content-Length"] = answer.getheader("Content-Length") or str(len(body))
        connection.close()
        return Reply(answer.status, body, kept)

    def methods(self) -> list[str]:
        """Return the methods of the requests so far, and forget them."""
        methods = [request.method for request in self.requests]
        self.requests.clear()
        return methods

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def new_line() -> Iterator[Callable[[str | None], Line]]:
    """Return a function that lays a line to a server."""
    lines: list[Line] = []

    def lay(upstream: str | None) -> Line:
        lines.append(Line(upstream))
        return lines[-1]

    yield lay
    for line in lines:
        line.close()


@pytest.fixture
def reply() -> type[Reply]:
    """The class of replies."""
    return Reply
