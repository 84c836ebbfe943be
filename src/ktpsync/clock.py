"""Time, injected wherever logic depends on it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal, Protocol


class Clock(Protocol):
    """What ktpsync needs to know of time."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC by the wall clock, which may jump."""

    def monotonic(self) -> float:
        """Return seconds on a scale that never runs backwards; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC by the wall clock, which may jump."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds on a scale that never runs backwards; only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        time.sleep(seconds)


def utc_from_ms(milliseconds: int) -> datetime:
    """Return the timezone-aware UTC datetime of milliseconds since 1970-01-01."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def moment_of_date(text: str) -> datetime | None:
    """Return the moment that a date as HTTP and mail write it names (RFC 9110, 5.6.7), or ``None`` if it is none.

    Args:
        text: The date, as whoever sent it wrote it.
    """
    import email.utils  # noqa: PLC0415 - most of what needs a clock reads no header

    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # "-0000": the sender does not say where it is, and means UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def local_text(moment: datetime) -> str:
    """Return an aware datetime as people read it: by the machine's own clock, with its zone, such as ``2026-11-25 18:26:05 WIB``."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def utc_text(moment: datetime, timespec: Literal["seconds", "milliseconds", "auto"] = "milliseconds") -> str:
    """Return an aware datetime as RFC 3339 text in UTC.

    Args:
        moment: The datetime.
        timespec: How fine; with milliseconds as written in manifests. ``auto`` gives microseconds where it has any.
    """
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
