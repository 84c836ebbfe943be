"""The interface of the centre: one document, which the sandbox keeps and the client speaks."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve, field, frozen

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings, OAuthSettings
from ktpsync.central import CentralSettings, OAuthClient, create_app, openapi, openapi_text, running
from ktpsync.errors import ConflictError
from ktpsync.packet import SealedPacket
from ktpsync.plugins import BackendContext, Secret
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from openapi_core import OpenAPI

DOCUMENT = Path(__file__).parents[2] / "docs/reference/central-api.openapi.json"
HOOKS = Path(__file__).parent


@pytest.fixture
def settings(tmp_path: Path) -> CentralSettings:
    """A centre with one office, which comes with a token or with client credentials."""
    return CentralSettings(
        folder=tmp_path / "centre",
        identities=[age.generate_identity("x25519")],
        tokens={"right-token": "3578"},
        clients={"client": OAuthClient(office="3578", secret="secret")},
        faults=True,
        patience=1,
    )


def test_the_published_document_is_the_sandbox_s() -> None:
    """Whoever changes the interface changes the document: python -m ktpsync.central > docs/reference/..."""
    assert DOCUMENT.read_text(encoding="utf-8") == openapi_text()


@pytest.mark.slow
def test_the_running_sandbox_keeps_to_its_document(settings: CentralSettings, tmp_path: Path) -> None:
    """Made-up requests, right and wrong ones, get documented answers; nothing wrong is accepted, no door is open."""
    one = made_up_packet()
    with running(settings) as url:
        with HttpBackend(
            HttpSettings(url=url, token=Secret("right-token")), BackendContext(name="c")
        ) as client:
            client.deliver(one)
        arguments = ["run", str(DOCUMENT), "--url", url, "--header", "Authorization: Bearer right-token"]
        arguments += ["--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1", "--no-color"]
        # What plays faults would make the other requests fail.
        arguments += ["--exclude-path", "/sandbox/faults"]
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *arguments],
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "central_hooks",
                "PYTHONPATH": str(HOOKS),
                "KTPSYNC_TEST_PACKET": one.packet_id,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert 0 == run.returncode, run.stdout[-6000:] + run.stderr[-2000:]
    operations = sum(len(methods) for methods in openapi()["paths"].values())
    assert f"Tested: {operations - 1}" in run.stdout


@frozen
class Exchange:
    """One request and its answer as they passed through."""

    method: str
    path: str
    query: dict[str, str]
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    headers: dict[str, str]
    body: bytes


@define
class Recorder:
    """An ASGI application that writes down what passes through another one."""

    app: Any
    exchanges: list[Exchange] = field(factory=list)

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Pass one request on (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked, answered = bytearray(), bytearray()
        head: dict[str, Any] = {}

        async def listening() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def speaking(message: Any) -> None:
            head.update(message)
            answered.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, listening, speaking)
        query = dict(pair.split("=", 1) for pair in scope["query_string"].decode().split("&") if pair)
        self.exchanges.append(
            Exchange(
                method=scope["method"],
                path=scope["path"],
                query=query,
                request_headers={name.decode(): value.decode() for name, value in scope["headers"]},
                request_body=bytes(asked),
                status=head["status"],
                headers={name.decode(): value.decode() for name, value in head["headers"]},
                body=bytes(answered),
            )
        )


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exchange]]:
    """What passes between clients and a running centre."""
    exchanges: list[Exchange] = []
    monkeypatch.setattr(
        "ktpsync.central._serve.create_app", lambda settings: Recorder(create_app(settings), exchanges)
    )
    return exchanges


@functools.cache
def document() -> OpenAPI:
    """Return the document, ready to check exchanges against."""
    from openapi_core import Config, OpenAPI

    text = openapi()
    del text["security"]  # openapi-core knows no mutual TLS; schemathesis tries whether doors are open
    kinds: dict[str, Callable[..., object]] = {
        "application/octet-stream": lambda data, **_: data.decode("latin-1"),
        "application/partial-upload": lambda data, **_: data.decode("latin-1"),
        "application/problem+json": lambda data, **_: json.loads(data),
    }
    return OpenAPI.from_dict(text, config=Config(extra_media_type_deserializers=kinds))


def misfits(exchange: Exchange) -> list[str]:
    """Return how an exchange differs from the document."""
    from openapi_core.testing import MockRequest, MockResponse

    api = document()
    request = MockRequest(
        "http://127.0.0.1",
        exchange.method.lower(),
        exchange.path,
        args=exchange.query,
        headers=exchange.request_headers,
        data=plain(exchange.request_headers, exchange.request_body),
        content_type=exchange.request_headers.get("content-type", ""),
    )
    response = MockResponse(
        data=plain(exchange.headers, exchange.body),
        status_code=exchange.status,
        headers=exchange.headers,
        content_type=exchange.headers.get("content-type", ""),
    )
    found = []
    for check in (lambda: api.validate_request(request), lambda: api.validate_response(request, response)):
        try:
            check()
        except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
            found.append(
                f"{exchange.method} {exchange.path} {exchange.status}: {error!r} {error.__cause__!r}"
            )
    return found


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what happens in another thread."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def plain(headers: dict[str, str], body: bytes) -> bytes:
    """Return a body without its gzip."""
    return gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body


def test_the_client_speaks_the_document(
    settings: CentralSettings, recorded: list[Exchange], send_part: Callable[..., socket.socket]
) -> None:
    """Every request that the client can make, and every answer it got, is what the document describes."""
    small, large, interrupted = made_up_packet(), made_up_packet(b"l" * 5000), made_up_packet(b"i" * 3000)
    changed = made_up_packet(b"changed")
    clash = SealedPacket.from_bytes(small.packet_id, changed.sha256, b"changed")
    with running(settings) as url:
        oauth = OAuthSettings(
            token_url=f"{url}oauth/token", client_id="client", client_secret=Secret("secret")
        )
        ours = HttpSettings(url=url, oauth=oauth, ask_first_from=1000)
        send_part(url, interrupted, 1000).close()
        with HttpBackend(ours, BackendContext(name="central")) as client:
            client.check()
            for one in (small, large, large):
                client.deliver(one)
            wait_until(lambda: (408, "PUT") in {(exchange.status, exchange.method) for exchange in recorded})
            assert interrupted.sha256 == client.deliver(interrupted).sha256
            with pytest.raises(ConflictError):
                client.deliver(clash)
            with client.fetch(large.packet_id) as file:
                assert b"l" * 5000 == file.read()
            list(client.reconcile([small, large, *[made_up_packet() for _ in range(12)]]))
            page = client.statuses(None)
            while page.changes:
                page = client.statuses(page.cursor)
            client.statuses(page.cursor)

    assert {
        "GET 200",
        "GET 304",
        "HEAD 204",
        "PATCH 201",
        "POST 200",
        "PUT 201",
        "PUT 408",
        "PUT 422",
    } == {f"{exchange.method} {exchange.status}" for exchange in recorded} - {
        "PUT 200"  # where the centre had found, by then, that a packet of this test does not open
    }
    assert [] == [line for exchange in recorded for line in misfits(exchange)]


@pytest.mark.parametrize("flaw", ["path", "header", "status", "body"])
def test_what_differs_from_the_document_is_noticed(flaw: str) -> None:
    """The check of the test above is one that can fail."""
    path = f"/v1/packets/{made_up_packet().packet_id}"
    held = {
        "packet_id": path[-36:],
        "sha256": "0" * 64,
        "size": 1,
        "stored_at": "2017-03-17T01:00:00Z",
        "location": "",
    }
    digest = {"content-digest": f"sha-256=:{'A' * 43}=:", "content-type": "application/octet-stream"}
    right = Exchange(
        "PUT", path, {}, digest, b"b", 201, {"content-type": "application/json"}, json.dumps(held).encode()
    )
    wrong = {
        "path": evolve(right, path="/v2/packets"),
        "header": evolve(right, request_headers={"content-type": "application/octet-stream"}),
        "status": evolve(right, status=299),
        "body": evolve(right, body=b"{}"),
    }

    assert [] == misfits(right)
    assert misfits(wrong[flaw])
