"""Which snapshots to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


@frozen(kw_only=True)
class Retention:
    """How many snapshots to keep. The newest one is always kept, and so are packets, whatever it says.

    Args:
        last: The newest ones.
        daily: The newest of each of this many days that have one.
        weekly: The newest of each of this many ISO weeks that have one.
        monthly: The newest of each of this many months that have one.
    """

    last: int = 24
    daily: int = 7
    weekly: int = 5
    monthly: int = 12


def kept(snapshots: Mapping[str, datetime], retention: Retention) -> set[str]:
    """Return the names of the snapshots to keep.

    Args:
        snapshots: Names with the moments they were made (aware).
        retention: The policy.
    """
    newest_first = sorted(snapshots, key=lambda name: (snapshots[name], name), reverse=True)
    keep = set(newest_first[: max(retention.last, 1)])
    rules: tuple[tuple[int, Callable[[datetime], object]], ...] = (
        (retention.daily, lambda moment: moment.date()),
        (retention.weekly, lambda moment: moment.isocalendar()[:2]),
        (retention.monthly, lambda moment: (moment.year, moment.month)),
    )
    for count, period_of in rules:
        newest: dict[object, str] = {}
        for name in newest_first:
            newest.setdefault(period_of(snapshots[name]), name)
        keep.update(list(newest.values())[:count])
    return keep
