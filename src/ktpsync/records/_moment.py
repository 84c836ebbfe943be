"""Moments carry their time zone, or they are a problem."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ktpsync.clock import utc_text

PATTERN: Final = (
    r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""RFC 3339 of the years 1900 to 2099, as a regular expression."""

_YEARS: Final = range(1900, 2100)


def is_moment(value: datetime) -> bool:
    """Return whether a datetime has a time zone and is of the years 1900 to 2099."""
    try:
        return value.utcoffset() is not None and value.astimezone(UTC).year in _YEARS
    except OverflowError:
        return False


def moment_text(moment: datetime) -> str:
    """Return an aware datetime as RFC 3339 text in UTC, with microseconds where it has any."""
    return utc_text(moment, "auto")
