"""Moments carry their time zone, or they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from attrs import Attribute


def aware(_instance: object, attribute: Attribute[Any], value: datetime | None) -> None:
    """Refuse a datetime without a time zone (an attrs validator).

    Raises:
        ValueError: It has none.
    """
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{attribute.name} has no time zone; give one, such as +07:00 or Z")
