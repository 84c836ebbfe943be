"""What an office is told when the line or the centre fails; real sockets, scripted answers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.errors import (
    AuthError,
    BackendError,
    ConfigError,
    ConflictError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from ktpsync.plugins import BackendContext, Duration, Secret, read_settings
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKET = made_up_packet(b"sealed" * 1000)


@contextlib.contextmanager
def answering(answer: bytes, *, read: bool = True) -> Iterator[str]:
    """Run a server that reads a request, answers with these bytes and closes; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if read:
                            read_request(connection)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def read_request(connection: socket.socket) -> None:
    """Read a request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            return
        body += part


def http(status: str, body: bytes = b"", kind: str = "application/json", **headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def problem(status: str, **document: object) -> bytes:
    """Return an RFC 9457 answer."""
    return http(status, json.dumps(document).encode(), "application/problem+json")


def deliver(url: str) -> BackendError:
    """Deliver the packet and return the error."""
    settings = HttpSettings(
        url=url, token=Secret("the-token"), connect_timeout=Duration(2), read_timeout=Duration(0.5)
    )
    with (
        HttpBackend(settings, BackendContext(name="central")) as backend,
        pytest.raises(BackendError) as caught,
    ):
        backend.deliver(PACKET)
    assert "the-token" not in str(caught.value)
    return caught.value


NIK = "3578010101900001"

ANSWERS = {
    "closed without a word": (b"", UnavailableError, "without an answer"),
    "no HTTP": (b"garbage\r\n\r\n", UnavailableError, "does not speak HTTP"),
    "head cut": (http("200 OK")[:20], UnavailableError, "answered nothing"),
    "empty": (http("200 OK"), UnavailableError, "answered nothing"),
    "no receipt": (http("200 OK", b"{}"), UnavailableError, "does not understand"),
    "a list": (http("200 OK", b"[]"), UnavailableError, "not JSON"),
    "broken JSON": (http("200 OK", b"{oops"), UnavailableError, "not JSON"),
    "deep JSON": (http("200 OK", b"[" * 100_000), UnavailableError, "not JSON"),
    "portal": (http("200 OK", b"<html>", "text/html; charset=utf-8"), UnavailableError, "captive portal"),
    "portal 511": (http("511 Network Authentication Required"), UnavailableError, "captive portal"),
    "portal 403": (http("403 Forbidden", b"<html>", "text/html"), UnavailableError, "captive portal"),
    "redirection": (http("302 Found", Location="http://login.example/"), UnavailableError, "never followed"),
    "500": (http("500 Internal Server Error", b"<html>", "text/html"), UnavailableError, "trouble of its own"),
    "502": (http("502 Bad Gateway"), UnavailableError, "trouble of its own"),
    "503": (http("503 Service Unavailable"), UnavailableError, "trouble of its own"),
    "503 wait": (http("503 Service Unavailable", Retry_After="120"), ThrottledError, "wait 120 seconds"),
    "429": (http("429 Too Many Requests"), ThrottledError, "later"),
    "409": (http("409 Conflict"), ThrottledError, "later"),
    "408": (http("408 Request Timeout"), UnavailableError, "too slow or stood still"),
    "401": (http("401 Unauthorized"), AuthError, "Renew the token"),
    "401 expired": (
        problem("401 Unauthorized", type="urn:ktpsync:problem:expired-token"),
        AuthError,
        "has expired. Get a new one",
    ),
    "403": (http("403 Forbidden"), AuthError, "may not do that there"),
    "407": (http("407 Proxy Authentication Required"), AuthError, "HTTPS_PROXY"),
    "404": (http("404 Not Found", b"<html>", "text/html"), AuthError, "Correct the setting 'url'"),
    "400": (problem("400 Bad Request", detail="No such form."), RejectedError, r"400 \(No such form\.\)"),
    "damaged": (problem("400 Bad Request", type="urn:ktpsync:problem:damaged-in-transit"), UnavailableError, "sent again"),
    "other bytes": (problem("422 Unprocessable Content", type="urn:ktpsync:problem:other-bytes"), ConflictError, "other bytes"),
    "422": (problem("422 Unprocessable Content", detail="Not signed."), RejectedError, "Not signed"),
    "413": (http("413 Content Too Large"), RejectedError, "larger than the centre takes"),
    "indiscreet": (
        problem("400 Bad Request", detail=f"NIK {NIK} of\x1b[31m Bearer the-token: the-token is used up" + "!" * 1000),
        RejectedError,
        r"NIK \[\.\.\.\] of \[\[\.\.\.\] Bearer \*\*\*: \*\*\* is used up",
    ),
    "repeats the record": (
        problem("400 Bad Request", title="Not valid.", detail=[{"input": "Dewi"}], errors=[{"value": "Dewi"}]),
        RejectedError,
        r"400 \(Not valid\.\): the centre refuses",
    ),
    "names a person": (
        problem("422 Unprocessable Content", detail="DEWI LESTARI is there: https://c.example/?nik=1"),
        RejectedError,
        r"422 \(\[\.\.\.\] is there: https://\[\.\.\.\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", ANSWERS)
def test_each_answer_has_its_class_and_its_sentence(cause: str) -> None:
    """The class decides what happens next; the sentence tells a person, and nothing that is secret."""
    answer, error, words = ANSWERS[cause]
    with answering(answer) as url:
        caught = deliver(url)

    assert isinstance(caught, error)
    assert re.search(words, str(caught))
    assert NIK not in str(caught)
    assert len(str(caught)) < 600


@pytest.mark.parametrize("cause", ["401 expired", "403", "404", "413", "500", "portal", "redirection"])
def test_each_answer_is_the_same_when_only_asked(cause: str) -> None:
    """A check of the destination tells what a delivery would."""
    answer, error, words = ANSWERS[cause]
    with (
        answering(answer) as url,
        HttpBackend(HttpSettings(url=url), BackendContext(name="central")) as backend,
        pytest.raises(error, match=words),
    ):
        backend.check()


def test_no_two_causes_are_told_alike() -> None:
    """A person who reads the sentence knows which one it was."""
    alike = {"a list", "broken JSON", "deep JSON", "head cut", "portal 511", "502", "503"}
    sentences = {}
    for cause, (answer, _, _) in ANSWERS.items():
        if cause not in alike:
            with answering(answer) as url:
                sentences[cause] = re.sub(r"127\.0\.0\.1:\d+|answered \d+", "", str(deliver(url)))

    assert len(sentences) == len(set(sentences.values()))


def test_a_connection_that_is_reset() -> None:
    """As a firewall does it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(10)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        caught = deliver(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert isinstance(caught, UnavailableError)
    assert "was reset" in str(caught)


def test_retry_after_as_a_date_is_measured_by_the_server_s_clock() -> None:
    """A wrong clock at the station does no harm."""
    answer = http(
        "503 Service Unavailable",
        Date="Fri, 17 Mar 2017 08:00:00 GMT",
        Retry_After="Fri, 17 Mar 2017 08:05:00 GMT",
    )
    with answering(answer) as url:
        caught = deliver(url)

    assert isinstance(caught, ThrottledError)
    assert 300 == caught.retry_after


def test_nobody_listens() -> None:
    """The centre is down."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert "refuses connections" in str(deliver(f"http://127.0.0.1:{port}/"))


def test_an_answer_that_never_comes() -> None:
    """The centre hangs; the courier does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "gave no answer in time" in str(deliver(f"http://127.0.0.1:{listener.getsockname()[1]}/"))


def test_a_name_that_does_not_exist() -> None:
    """A typing error, or no network."""
    assert "cannot be resolved" in str(deliver("https://centre.invalid/"))


def test_a_server_that_speaks_no_tls() -> None:
    """Somebody else answers, or the address is wrong."""
    with answering(http("200 OK"), read=False) as url:
        caught = deliver(url.replace("http://127.0.0.1", "https://127.0.0.1"))

    assert UnavailableError is type(caught)
    assert "does not speak TLS" in str(caught)


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://central.example/", "in clear"), ("pusat.example", "https://central.example/")],
)
def test_tokens_travel_encrypted_only(url: str, words: str) -> None:
    """Plain HTTP is for this machine itself."""
    with pytest.raises(ConfigError, match=words):
        read_settings(HttpSettings, {"url": url}, where="[destinations.central]")


def test_the_request_is_what_the_interface_says() -> None:
    """Digest, idempotency key and length stand in the headers, the sealed bytes in the body."""
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while len(received) < PACKET.size or not received.endswith(b"sealed"):
                    received.extend(connection.recv(65536))
                connection.sendall(http("500 Internal Server Error"))

        thread = threading.Thread(target=serve)
        thread.start()
        deliver(f"http://127.0.0.1:{listener.getsockname()[1]}/base/")
        thread.join()

    head, _, body = bytes(received).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert f"PUT /base/v1/packets/{PACKET.packet_id} HTTP/1.1" == lines[0]
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert {
        f"Content-Digest: sha-256=:{digest}:",
        f'Idempotency-Key: "{PACKET.packet_id}"',
        f"Content-Length: {PACKET.size}",
        "Authorization: Bearer the-token",
    } <= set(lines)
