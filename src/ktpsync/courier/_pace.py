"""How many deliveries at a time: more while it goes well, half after trouble. Pure functions."""

from __future__ import annotations

from attrs import evolve, frozen


@frozen(kw_only=True)
class Pace:
    """The present limit.

    Args:
        limit: Deliveries at a time.
        threshold: Up to here each success adds one; above it, each full round of successes does.
        successes: Successes since the limit changed last.
    """

    limit: int = 1
    threshold: int = 8
    successes: int = 0


def after_success(pace: Pace, most: int) -> Pace:
    """Return the pace after a delivery went well: 1, 2, 4, ... then one more per round."""
    if (pace.limit, pace.successes) == (most, 0):
        return pace
    if pace.limit >= most:
        return evolve(pace, limit=most, successes=0)
    successes = pace.successes + 1
    if pace.limit < pace.threshold or successes >= pace.limit:
        return evolve(pace, limit=pace.limit + 1, successes=0)
    return evolve(pace, successes=successes)


def after_trouble(pace: Pace) -> Pace:
    """Return the pace after the destination failed or asked for patience."""
    half = max(1, pace.limit // 2)
    return Pace(limit=half, threshold=half)
