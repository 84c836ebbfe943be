"""What S3 services and lines do wrong, each with the class that says what happens next and a message for a person."""

from __future__ import annotations

import email.utils
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.errors import (
    AuthError,
    BackendError,
    NotFoundError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from ktpsync.plugins import BackendContext, PluginRegistry
from ktpsync.testing import ManualClock, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "not-a-real-secret"


def make(settings: Mapping[str, object]) -> Any:
    """Return an S3 backend through the registry, as an office gets it."""
    given = {"bucket": "bucket-1", "access_key": "AKIATEST", "secret_key": SECRET, "addressing": "path"}
    context = BackendContext(name="offsite")
    return PluginRegistry.load().make(
        "s3", {**given, **settings}, context, where="[destinations.offsite]", base=Path()
    )


def failure(settings: Mapping[str, object]) -> BackendError:
    """Return what a delivery raises. Its message fits on a screen, names the destination, and hides the secret."""
    with make(settings) as backend, pytest.raises(BackendError) as caught:
        backend.deliver(made_up_packet())
    message = str(caught.value)
    assert message.startswith("offsite: ")
    assert len(message) < 500
    assert SECRET not in message
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "SignatureDoesNotMatch", AuthError, "credentials are not accepted for the bucket 'bucket-1'"),
        (403, "InvalidAccessKeyId", AuthError, "credentials are not accepted"),
        (403, "AccessDenied", AuthError, "or their rights."),
        (400, "ExpiredToken", AuthError, "credentials are not accepted"),
        (404, "NoSuchBucket", AuthError, "there is no bucket 'bucket-1'. Create it"),
        (301, "PermanentRedirect", AuthError, "Correct the setting region or endpoint"),
        (400, "AuthorizationHeaderMalformed", AuthError, "another region"),
        (403, "RequestTimeTooSkewed", UnavailableError, "This machine's clock is wrong"),
        (503, "SlowDown", ThrottledError, "it asks for patience"),
        (429, "TooManyRequests", ThrottledError, "it asks for patience"),
        (403, "QuotaExceeded", QuotaError, "an allowance is used up"),
        (507, "XMinioStorageFull", QuotaError, "an allowance is used up"),
        (507, "", QuotaError, "an allowance is used up"),
        (400, "IncompleteBody", UnavailableError, "They are sent again"),
        (400, "RequestTimeout", UnavailableError, "They are sent again"),
        (409, "OperationAborted", UnavailableError, "somebody else is changing it"),
        (500, "InternalError", UnavailableError, "trouble of its own"),
        (502, "", UnavailableError, "trouble of its own"),
        (400, "InvalidArgument", RejectedError, "(Because of the size of [...].). See its reason"),
        (302, "", UnavailableError, "A captive portal or a proxy may want a login"),
        (307, "", UnavailableError, "A captive portal or a proxy may want a login"),
        (308, "", UnavailableError, "A captive portal or a proxy may want a login"),
        (405, "", AuthError, "Correct the address"),
        (408, "", UnavailableError, "the line was too slow"),
        (413, "", RejectedError, "larger than the server takes"),
    ],
)
def test_each_answer_is_told_by_what_to_do_next(
    new_line: Any, reply: Any, *, status: int, code: str, kind: type[BackendError], words: str
) -> None:
    """The class decides what the courier does; the message what the person does."""
    line = new_line(None)
    body = (
        f"<Error><Code>{code}</Code><Message>Because of the size of Dewi.</Message></Error>".encode()
        if code
        else b""
    )
    line.fault = lambda _: reply(status, body, {"Content-Type": "application/xml"})

    error = failure({"endpoint": line.url})

    assert kind is type(error)
    assert words in str(error)
    assert 1 == len(line.requests), "the courier retries, and nobody else"


def test_a_storage_that_says_how_long_to_wait(new_line: Any, reply: Any) -> None:
    """Retry-After is passed on, also where no code says that it is throttling."""
    line = new_line(None)
    for code in (b"<Error><Code>SlowDown</Code></Error>", b""):
        line.fault = lambda _, code=code: reply(503, code, {"Retry-After": "17"})

        error = failure({"endpoint": line.url})

        assert isinstance(error, ThrottledError)
        assert 17 == error.retry_after


@pytest.mark.parametrize(
    ("minutes", "words"), [(-60, "by 60 minutes (ahead)"), (90, "by 90 minutes (behind)")]
)
def test_a_wrong_clock_is_seen_by_the_date_of_the_answer(
    new_line: Any, reply: Any, minutes: int, words: str
) -> None:
    """An answer without a body says no more than 403: the time it was given tells the rest."""
    line = new_line(None)
    date = email.utils.formatdate(time.time() + minutes * 60, usegmt=True)
    line.fault = lambda _: reply(403, b"", {"Date": date})

    error = failure({"endpoint": line.url})

    assert UnavailableError is type(error)
    assert words in str(error)


@pytest.mark.parametrize(
    ("date", "kind"),
    [
        ("Thu, 01 Jan 1970 00:00:50 -0000", AuthError),
        ("Thu, 01 Jan 1970 01:00:00 -0000", UnavailableError),
        ("Thu, 01 Jan 999999999999 00:00:50 GMT", AuthError),
        ("Thu, 01 Jan 1970 00:00:50 +9999999999", AuthError),
        ("yesterday", AuthError),
        ("", AuthError),
    ],
)
def test_a_date_that_is_none_hides_no_refusal(
    new_line: Any, reply: Any, date: str, kind: type[BackendError]
) -> None:
    """Whatever stands there: a year that cannot be is no clock to compare with."""
    line = new_line(None)
    line.fault = lambda _: reply(403, b"", {"Date": date})
    context = BackendContext(name="offsite", clock=ManualClock(0))
    settings = {"bucket": "b", "endpoint": line.url, "access_key": "AKIATEST", "secret_key": SECRET}

    with (
        PluginRegistry.load().make("s3", settings, context, where="s3", base=Path()) as backend,
        pytest.raises(BackendError) as told,
    ):
        backend.check()

    assert kind is type(told.value)


def test_a_question_that_is_refused_without_a_word_is_no_refusal_of_the_packet(
    new_line: Any, reply: Any
) -> None:
    """AWS answers 400 to HEAD when a session token has expired, and HEAD has no body that could say so."""
    line = new_line(None)
    line.fault = lambda _: reply(400, b"")

    with make({"endpoint": line.url}) as backend, pytest.raises(AuthError) as caught:
        backend.stat("packets/a.age")

    assert "the credentials may have expired" in str(caught.value)


def test_a_bucket_elsewhere_is_named(new_line: Any, reply: Any) -> None:
    """AWS tells the region; it is not followed in silence, request by request."""
    line = new_line(None)
    line.fault = lambda _: reply(301, b"", {"x-amz-bucket-region": "ap-southeast-3"})

    error = failure({"endpoint": line.url})

    assert isinstance(error, AuthError)
    assert "the bucket 'bucket-1' is in ap-southeast-3. Correct the setting region" in str(error)
    assert 1 == len(line.requests)


def test_check_tells_a_missing_bucket(new_line: Any, reply: Any) -> None:
    """An answer to HEAD has no body: 404 is about the bucket here."""
    line = new_line(None)
    line.fault = lambda _: reply(404)

    with (
        make({"endpoint": line.url}) as backend,
        pytest.raises(AuthError, match="there is no bucket 'bucket-1'"),
    ):
        backend.check()


def test_a_login_page_is_not_a_storage(new_line: Any, reply: Any) -> None:
    """The network's captive portal answers everything with 200 and a page: nothing counts as stored."""
    line = new_line(None)
    line.fault = lambda _: reply(200, b"<html>Log in, please</html>", {"Content-Type": "text/html"})

    with make({"endpoint": line.url}) as backend:
        for use in (
            lambda: backend.deliver(made_up_packet()),
            lambda: backend.stat("a"),
            lambda: list(backend.list()),
            lambda: backend.open("a"),
            lambda: backend.delete("a"),
        ):
            with pytest.raises(UnavailableError, match="login page"):
                use()


LISTING = b"<ListBucketResult><Name>b</Name>%s</ListBucketResult>"
ENTRY = b"<Contents><Key>a</Key><Size>%s</Size><LastModified>%s</LastModified></Contents>"
FOUND = {"ETag": '"0"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {**FOUND, "Last-Modified": "yesterday"}),
        (b"", {**FOUND, "Last-Modified": "Thu, 01 Jan 99999 00:00:00 GMT"}),
        (b"", {**FOUND, "Last-Modified": "9" * 40}),
        (b"", {**FOUND, "Content-Length": "many"}),
        (b"", {**FOUND, "Content-Length": "-5"}),
        (b"", {"ETag": '"0"'}),
    ],
)
def test_an_answer_about_an_object_that_cannot_be(
    new_line: Any, reply: Any, body: bytes, headers: dict[str, str]
) -> None:
    """Dates, sizes: nothing that a server can write there ends in an error of Python's own."""
    line = new_line(None)
    line.fault = lambda _: reply(200, body, headers)

    with (
        make({"endpoint": line.url}) as backend,
        pytest.raises(UnavailableError, match="something else answers"),
    ):
        backend.stat("a")


@pytest.mark.parametrize(
    "inner",
    [
        ENTRY % (b"x", b"2026-01-01T00:00:00Z"),
        ENTRY % (b"1", b"yesterday"),
        b"<Contents><Size>1</Size></Contents>",
        b"<Contents><Key>a</Key><Size>1</Size></Contents>",
        b"<IsTruncated>true</IsTruncated>",
        b"<IsTruncated>true</IsTruncated>" + ENTRY % (b"1", b"2026-01-01T00:00:00Z"),
        b"<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>",
    ],
)
def test_a_listing_that_cannot_be(new_line: Any, reply: Any, inner: bytes) -> None:
    """Least of all does one that is cut off count as whole: what it leaves out would seem to be gone."""
    line = new_line(None)
    line.fault = lambda _: reply(200, LISTING % inner, {"Content-Type": "application/xml"})

    with make({"endpoint": line.url}) as backend, pytest.raises(UnavailableError):
        list(backend.list())


def test_a_listing_without_end(new_line: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without objects, each with another one to follow: nobody is kept waiting for ever."""
    monkeypatch.setattr("ktpsync.backends.s3.backend._EMPTY_PAGES", 5)
    line = new_line(None)
    line.fault = lambda _: reply(
        200,
        LISTING
        % b"<IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>"
        % len(line.requests),
        {"Content-Type": "application/xml"},
    )

    with (
        make({"endpoint": line.url}) as backend,
        pytest.raises(UnavailableError, match="something else answers"),
    ):
        list(backend.list())


@pytest.mark.parametrize(
    ("status", "use"),
    [(200, "check"), (200, "list"), (400, "deliver"), (400, "list"), (400, "open")],
)
def test_an_answer_without_end(
    new_line: Any, reply: Any, monkeypatch: pytest.MonkeyPatch, status: int, use: str
) -> None:
    """It is given up before it fills the machine's memory; only an object may be large."""
    monkeypatch.setattr("ktpsync.backends.s3._client._LARGEST", 1 << 20)
    line = new_line(None)
    line.fault = lambda _: reply(status, b"x" * (4 << 20), {"ETag": '"0"', "Content-Length": str(1 << 40)})
    uses: dict[str, Any] = {
        "check": lambda backend: backend._endpoint("check"),
        "deliver": lambda backend: backend.deliver(made_up_packet()),
        "list": lambda backend: list(backend.list()),
        "open": lambda backend: backend.open("a"),
    }

    with (
        make({"endpoint": line.url}) as backend,
        pytest.raises(UnavailableError, match="something else answers"),
    ):
        uses[use](backend)


def test_more_than_the_part_that_was_asked_for(new_line: Any, reply: Any) -> None:
    """A server that says that it gives a part, and gives another one."""
    line = new_line(None)
    line.fault = lambda _: reply(206, b"x" * 20, {**FOUND, "Content-Range": "bytes 0-19/20"})

    with (
        make({"endpoint": line.url}) as backend,
        pytest.raises(UnavailableError, match="something else answers"),
    ):
        backend.open_part("a", 3, 5)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, b"<Error><Code>DewiLestari</Code><Message>Dewi Lestari</Message></Error>", {}),
        (301, b"", {"x-amz-bucket-region": "Dewi Lestari 3578014405920001"}),
    ],
)
def test_a_code_and_a_region_tell_no_person(
    new_line: Any, reply: Any, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """What is no code and no region of the usual form is not repeated."""
    line = new_line(None)
    line.fault = lambda _: reply(status, body, {"Content-Type": "application/xml", **headers})

    message = str(failure({"endpoint": line.url}))

    assert f"the storage answered {status}" in message
    assert "Dewi" not in message
    assert "3578014405920001" not in message


def test_a_line_that_drops(new_line: Any, reply: Any) -> None:
    """The connection is closed without an answer."""
    line = new_line(None)
    line.fault = lambda _: reply(None)

    error = failure({"endpoint": line.url})

    assert UnavailableError is type(error)
    assert "broke off in the middle" in str(error)


def test_an_answer_that_does_not_come(new_line: Any, reply: Any) -> None:
    """After the timeout of the settings the packet waits for a better time."""
    line, end = new_line(None), threading.Event()

    def wait(_: Any) -> Any:
        end.wait(60)
        return reply(None)

    line.fault = wait
    try:
        error = failure({"endpoint": line.url, "read_timeout": "200ms"})
    finally:
        end.set()

    assert "no answer in time" in str(error)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://127.0.0.1:9", "refuses connections or cannot be reached"),
        ("http://storage.invalid:9000", "name cannot be resolved"),
    ],
)
def test_nobody_there(endpoint: str, words: str) -> None:
    """The line, or the address."""
    error = failure({"endpoint": endpoint, "connect_timeout": 5})

    assert UnavailableError is type(error)
    assert words in str(error)


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the environment are used, and named when they are wrong."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert "proxy cannot be reached" in str(failure({"endpoint": "http://storage.invalid:9000"}))


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch, new_line: Any) -> None:
    """Neither in the settings nor anywhere boto3 looks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    line = new_line(None)
    context = BackendContext(name="offsite")
    settings = {"bucket": "b", "endpoint": line.url}
    registry = PluginRegistry.load()

    with (
        registry.make("s3", settings, context, where="[destinations.offsite]", base=Path()) as backend,
        pytest.raises(AuthError, match=r"no credentials.*Set access_key and secret_key"),
    ):
        backend.deliver(made_up_packet())

    assert [] == line.requests


@pytest.mark.parametrize("s3_settings", ["rclone"], indirect=True)
def test_wrong_credentials_at_a_real_server(s3_settings: dict[str, object]) -> None:
    """Both when delivering and when asked how it is."""
    wrong = {**s3_settings, "secret_key": "wrong-secret"}

    assert isinstance(failure(wrong), AuthError)
    with make(wrong) as backend, pytest.raises(AuthError):
        backend.check()


def test_a_missing_bucket_at_a_real_server(s3_settings: dict[str, object]) -> None:
    """The office is told what to correct; nothing is retried for ever in silence."""
    error = failure({**s3_settings, "bucket": "not-there"})

    assert isinstance(error, AuthError)
    assert "there is no bucket 'not-there'" in str(error)


def test_reading_over_a_line_that_drops(s3_settings: dict[str, object], new_line: Any, reply: Any) -> None:
    """A short answer is never taken for the whole object."""
    line = new_line(s3_settings["endpoint"])
    packet = made_up_packet(b"x" * 100_000)

    def cut(asked: Any, answer: Any) -> Any:
        if asked.method != "GET":
            return answer
        return reply(answer.status, answer.body[:50_000], {**answer.headers, "Connection": "close"})

    with make({**s3_settings, "endpoint": line.url}) as backend:
        receipt = backend.deliver(packet)
        line.twist = cut
        with (
            backend.open(receipt.location) as file,
            pytest.raises(UnavailableError, match="broke off"),
        ):
            file.read()


def test_what_is_gone_is_not_found(s3_settings: dict[str, object]) -> None:
    """By its key."""
    with make(s3_settings) as backend, pytest.raises(NotFoundError, match=r"a/b: .*there is no such object"):
        backend.stat("a/b")
