"""The short way of a packet to a bucket differs from boto3's in nothing that the storage, or whoever waits, sees."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

from ktpsync.backends.s3._client import new_client
from ktpsync.backends.s3._direct import Direct
from ktpsync.backends.s3._whole import Body
from ktpsync.backends.s3.settings import S3Settings
from ktpsync.errors import AuthError, CorruptError, ThrottledError, UnavailableError
from ktpsync.plugins import BackendContext, PluginRegistry, Secret
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWN_TO_ONE_REQUEST = {
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "user-agent",
    "x-amz-date",
}
CA_VARIABLES = ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"]
CONTENT = b"a sealed packet"


def make(settings: Mapping[str, object]) -> Any:
    """Return an S3 backend through the registry, as an office gets it."""
    context = BackendContext(name="offsite")
    return PluginRegistry.load().make("s3", settings, context, where="[destinations.offsite]", base=Path())


def keys_of(line: Any) -> dict[str, object]:
    """Return the settings of a bucket behind a line."""
    return {
        "bucket": "bucket-1",
        "endpoint": line.url,
        "access_key": "AKIATEST",
        "secret_key": "secret",
        "addressing": "path",
    }


def said(request: Any) -> tuple[object, ...]:
    """Return what a request tells the storage."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = re.search(r"/([\w-]+/\w+)/aws4_request, SignedHeaders=([\w;-]+)", headers["authorization"])
    assert signed is not None
    told = {name: value for name, value in headers.items() if name not in OWN_TO_ONE_REQUEST}
    return request.method, request.path, request.body, told, signed.groups()


def accept(reply: Any) -> Any:
    """Return a storage that takes everything and has nothing."""

    def answer(request: Any) -> Any:
        if request.method == "HEAD":
            return reply(404)
        return reply(200, b"", {"ETag": f'"{hashlib.md5(request.body, usedforsecurity=False).hexdigest()}"'})

    return answer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ContentMD5": "MD5", "Metadata": {"ktpsync-stored-at": "2026-05-17T01:00:00Z"}},
        {"ChecksumSHA256": "SHA", "IfNoneMatch": "*"},
        {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "key-1",
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": datetime(2036, 5, 17, tzinfo=UTC),
        },
    ],
)
@pytest.mark.parametrize("with_token", [False, True])
def test_it_tells_the_storage_what_boto3_tells(
    new_line: Any,
    reply: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    options: dict[str, object],
    with_token: bool,
) -> None:
    """Path, headers, body, region and what is signed, for a key with all that a prefix may hold."""
    line = new_line(None)
    line.fault = accept(reply)
    settings = {**keys_of(line), "region": "ap-southeast-3"}
    if with_token:
        del settings["access_key"], settings["secret_key"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIATEST")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "for-an-hour")
    key = "Dinas Dukcapil/büro~3578+1/?a=b&c#d%20/packet.age"
    body = Body(data=CONTENT, sha256=hashlib.sha256(CONTENT).hexdigest(), md5=lambda: "")
    with make(settings) as backend:
        (client, direct), place = backend._line(), {"Bucket": "bucket-1", "Key": key}
        assert direct.head(key) is None
        with pytest.raises(client.exceptions.ClientError, match="404"):
            client.head_object(**place)
        ours = direct.put(key, body, dict(options), ask=True)
        theirs = client.put_object(**place, Body=CONTENT, **options)

    head, boto_head, put, boto_put = (said(request) for request in line.requests)
    assert boto_head == head
    assert boto_put == put
    assert theirs["ETag"] == ours["ETag"]
    tokens = {request.headers["x-amz-security-token"] for request in line.requests}
    assert tokens == ({"for-an-hour"} if with_token else {None})


@pytest.mark.parametrize("addressing", ["path", "virtual"])
def test_over_tls_bytes_with_a_digest_are_not_signed(
    monkeypatch: pytest.MonkeyPatch, addressing: str
) -> None:
    """As boto3 has it: TLS protects them, and the processor is spared a digest."""
    requests = []

    def send(request: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(
            request.url, 200, {"ETag": '"x"'}, HTTPResponse(io.BytesIO(), preload_content=False)
        )

    settings = S3Settings(
        bucket="bucket-1",
        endpoint="https://storage.example.id",
        addressing=addressing,  # type: ignore[arg-type]  # both are allowed
        access_key=Secret("AKIATEST"),
        secret_key=Secret("secret"),
    )
    client, session = new_client(settings, "offsite")
    with contextlib.closing(client), contextlib.closing(session):
        monkeypatch.setattr(session, "send", send)
        direct = Direct(client, session, "bucket-1")
        body = Body(data=CONTENT, sha256=hashlib.sha256(CONTENT).hexdigest(), md5=lambda: "")
        for options in ({"ContentMD5": "x"}, {}):
            direct.put("a", body, dict(options), ask=True)
            client.put_object(Bucket="bucket-1", Key="a", Body=CONTENT, **options)

    taken = [request.headers["X-Amz-Content-SHA256"] for request in requests]
    names = [name.decode() if isinstance(name, bytes) else name for name in taken]
    assert ["UNSIGNED-PAYLOAD", body.sha256] == names[::2] == names[1::2]
    assert 1 == len({request.url for request in requests})


def test_all_goes_through_the_proxy(new_line: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets as well as what boto3 itself sends."""
    proxy = new_line(None)
    proxy.fault = accept(reply)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with make({**keys_of(proxy), "endpoint": "http://storage.invalid"}) as backend:
        backend.deliver(made_up_packet())

    assert {"http://storage.invalid/bucket-1"} == {
        "/".join(request.path.split("/")[:4]).partition("?")[0] for request in proxy.requests
    }
    assert [True] == [request.path.endswith(".age") for request in proxy.requests[-1:]]


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_authorities_of_the_environment_are_trusted(
    tls_server: Any, make_bucket: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As boto3 trusts them. What TLS protects is not signed; wrong bytes are found all the same."""
    server, authority = tls_server
    settings = make_bucket(server, ca_file=str(authority))
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(authority))
    with make(settings) as backend:
        packet = made_up_packet()
        assert packet.sha256 == backend.deliver(packet).sha256
        with pytest.raises(CorruptError, match=r"not those with SHA-256 .*; nothing was stored"):
            backend.put("a", io.BytesIO(b"wrong"), size=5, sha256=packet.sha256)
        assert [packet.packet_id] == [Path(info.key).stem for info in backend.list()]


# --- what a storage refuses ---


@contextlib.contextmanager
def refusing(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one answer to whoever asks, without reading a body; yield the URL and what comes after the headers."""
    bodies: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as stream:
                    while stream.readline() not in (b"\r\n", b""):
                        pass
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    bodies.append(stream.read())

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", bodies
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_refusal_spares_the_bytes() -> None:
    """A storage that asks for patience is not sent a packet first, over a line on which that takes a minute."""
    answer = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = Body(data=CONTENT, sha256=hashlib.sha256(CONTENT).hexdigest(), md5=lambda: "")
    with (
        refusing(answer) as (url, bodies),
        make({"bucket": "b", "endpoint": url, "access_key": "a", "secret_key": "b"}) as backend,
        pytest.raises(ThrottledError) as caught,
        backend._translated("a"),
    ):
        backend._line()[1].put("a", body, {}, ask=True)

    assert 7 == caught.value.retry_after
    assert [b""] == bodies


def test_a_storage_that_hangs_up_on_what_it_refuses(
    rclone_server: Any, make_bucket: Any, new_line: Any, reply: Any
) -> None:
    """Its reason is asked for, before the body: a person is told, instead of trying for ever."""
    settings = make_bucket(rclone_server)
    line = new_line(rclone_server.url)
    with make({**settings, "endpoint": line.url}) as backend:
        backend.check()
        line.methods()

        def refuse(request: Any) -> Any:
            if request.method != "PUT":
                return None
            if "Expect" not in request.headers:
                return reply(None)
            return reply(403, b"<Error><Code>AccessDenied</Code></Error>")

        line.fault = refuse
        with pytest.raises(AuthError, match="credentials are not accepted"):
            backend.deliver(made_up_packet())
        assert ["HEAD", "PUT", "PUT"] == line.methods()

        line.fault = lambda request: reply(None) if request.method == "PUT" else None
        with pytest.raises(UnavailableError, match="broke off in the middle"):
            backend.deliver(made_up_packet())
