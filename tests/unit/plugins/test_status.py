"""What an HTTP status means."""

from __future__ import annotations

import pytest

from ktpsync.errors import (
    AuthError,
    BackendError,
    DiskFullError,
    NotFoundError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from ktpsync.plugins import error_for_status, retry_after
from ktpsync.testing import ManualClock

KINDS: dict[type[BackendError], tuple[int, ...]] = {
    AuthError: (401, 403, 405, 407, 501),
    QuotaError: (402,),
    NotFoundError: (404, 410),
    ThrottledError: (429,),
    DiskFullError: (507,),
    UnavailableError: (200, 201, 206, 301, 302, 307, 408, 409, 412, 423, 425, 500, 502, 503, 504, 511, 599),
    RejectedError: (400, 406, 411, 413, 414, 415, 422, 451, 499),
}


@pytest.mark.parametrize(
    ("kind", "status"), [(kind, status) for kind, many in KINDS.items() for status in many]
)
def test_a_status_is_one_error(kind: type[BackendError], status: int) -> None:
    """With what was asked and what to do."""
    error = error_for_status(status, "cloud: PUT a")

    assert type(error) is kind
    assert str(error).startswith(f"cloud: PUT a: the answer was {status}")
    assert str(error).endswith((".", ")."))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "not what this server answers to that"),
        (302, "a redirection, which is never followed"),
        (100, "the server has trouble"),
    ],
)
def test_what_is_no_error_is_named_for_what_it_is(status: int, words: str) -> None:
    """A login page answers 200 where WebDAV answers 207: it is no redirection, and the address may be wrong."""
    error = str(error_for_status(status, "cloud: PROPFIND a"))

    assert words in error
    assert ("captive portal" in error) == (status >= 200)


def test_advice_fits_deliveries_backups_and_commands_by_hand() -> None:
    """Only a destination is resumed, and what a person runs is not tried again by itself."""
    told = [str(error_for_status(status, "cloud: PUT a")) for many in KINDS.values() for status in many]

    assert [] == [one for one in told if "resume" in one or "It is tried again" in one]


@pytest.mark.parametrize("status", [409, 423, 425, 429, 503])
def test_a_server_that_asks_for_patience_gets_it(status: int) -> None:
    """Where it says how long, that is kept."""
    error = error_for_status(status, "cloud: PUT a", {"Retry-After": "90"})

    assert isinstance(error, ThrottledError)
    assert 90 == error.retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 60),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT", "Date": "Thu, 01 Jan 1970 00:00:50 GMT"}, 10),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT", "Date": "Thu, 01 Jan 1970 00:02:00 GMT"}, 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT", "Date": "Thu, 01 Jan 1970 00:00:50 -0000"}, 10),
        (
            {"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT", "Date": "Thu, 01 Jan 999999999999 00:00:50 GMT"},
            60,
        ),
        ({"Retry-After": "9" * 400}, 1e9),
    ],
)
def test_retry_after_has_two_forms(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, or a moment, which is compared with the server's own clock where it tells."""
    assert seconds == retry_after(headers, ManualClock(0))
