"""Amounts as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000
_DAY: Final = "d"
_HOUR: Final = "h"
_MINUTE: Final = "min"
_SECOND: Final = "s"


def amount(size: float) -> str:
    """Return a number of bytes for a person to read."""
    if size == 1:
        return "1 byte"
    power = 0
    while size >= _THOUSAND and power < len(_UNITS) - 1:
        size /= _THOUSAND
        power += 1
    return f"{size:.{min(power, 1)}f} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """Return a length of time for a person to read."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} {_HOUR} {minutes:02} {_MINUTE}"
    return f"{minutes} {_MINUTE} {rest:02} {_SECOND}" if minutes else f"{rest} {_SECOND}"


def rough_duration(seconds: float) -> str:
    """Return a length of time for a person to read, in its two largest units, a minute at least."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, _DAY), (hours, _HOUR), (minutes, _MINUTE)]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2])


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun, such as ``1 packet`` and ``3 packets``."""
    return f"{number} {one if number == 1 else many}"
