"""Moments carry their time zone, or they are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ktpsync.clock import utc_text

if TYPE_CHECKING:
    from typing import Any

    from attrs import Attribute

PATTERN: Final = (
    r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""RFC 3339 of the years 1900 to 2099, as a regular expression."""

_YEARS: Final = range(1900, 2100)


def aware(_instance: object, attribute: Attribute[Any], value: datetime | None) -> None:
    """Refuse a datetime without a time zone, or of another century (an attrs validator).

    Raises:
        TypeError: It is no datetime.
        ValueError: It is one without a zone, or of another century.
    """
    if value is None:
        return
    if not isinstance(value, datetime):
        raise TypeError(f"{attribute.name} is not a datetime")
    if value.utcoffset() is None:
        raise ValueError(f"{attribute.name} has no time zone; give one, such as +07:00 or Z")
    if not _is_of_our_time(value):
        raise ValueError(f"{attribute.name} is not in the years 1900 to 2099")


def _is_of_our_time(value: datetime) -> bool:
    try:
        return value.astimezone(UTC).year in _YEARS
    except OverflowError:
        return False


def moment_text(moment: datetime) -> str:
    """Return an aware datetime as RFC 3339 text in UTC, with microseconds where it has any."""
    return utc_text(moment, "auto")
