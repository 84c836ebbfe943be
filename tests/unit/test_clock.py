"""Moments from outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from ktpsync.clock import moment_of_date

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Jayapura, nine hours ahead."""
    monkeypatch.setenv("TZ", "Asia/Jayapura")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 03 Feb 2026 04:05:06 GMT", MOMENT),
        ("Tuesday, 03-Feb-26 04:05:06 GMT", MOMENT),
        ("Tue Feb  3 04:05:06 2026", MOMENT),
        ("Tue, 03 Feb 2026 11:05:06 +0700", MOMENT.astimezone(timezone(timedelta(hours=7)))),
        ("Tue, 03 Feb 2026 04:05:06 -0000", MOMENT),
        ("Tue, 03 Feb 2026 04:05:06", MOMENT),
    ],
)
def test_a_date_of_a_header_is_a_moment(text: str, moment: datetime) -> None:
    """In each of the three forms of RFC 9110; where no zone is told it is UTC, wherever this machine is."""
    found = moment_of_date(text)

    assert found is not None
    assert (moment, moment.utcoffset()) == (found, found.utcoffset())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "Tue, 03 Feb 999999999999 04:05:06 GMT",
        "Tue, 03 Feb 99999 04:05:06 GMT",
        "Tue, 31 Feb 2026 04:05:06 GMT",
        "Tue, 03 Feb 2026 24:61:00 GMT",
        "Tue, 03 Feb 2026 04:05:06 +999999",
        "Tue, 03 Feb 2026 04:05:06 -99999999999999",
        "Tue, -3 Feb 2026 04:05:06 GMT",
        "\x00",
        "9" * 5000,
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    """However it is made up: nothing that a server can send raises."""
    assert moment_of_date(text) is None
