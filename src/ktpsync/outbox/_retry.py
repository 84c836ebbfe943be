"""When a packet that failed by its own doing is tried again, and when that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from random import Random

_MAX_DOUBLINGS = 40


@frozen(kw_only=True)
class RetryPolicy:
    """Full-jitter exponential backoff, given up by age and never by count.

    Args:
        base_ms: The upper end of the first wait.
        cap_ms: The upper end of all waits.
        give_up_ms: For how long a packet may fail by its own doing before a person must look.
    """

    base_ms: int = 5_000
    cap_ms: int = 3_600_000
    give_up_ms: int = 14 * 24 * 3_600_000


def backoff_ms(policy: RetryPolicy, failures: int, random: Random) -> int:
    """Return how long to wait after the given number of failures, the one just met included."""
    ceiling = min(policy.cap_ms, policy.base_ms << min(failures - 1, _MAX_DOUBLINGS))
    return int(random.random() * ceiling)


def failing_for_ms(policy: RetryPolicy, failing_ms: int, last_failure_ms: int | None, now_ms: int) -> int:
    """Return for how long a packet has been failing.

    Each failure adds the time since the one before, but never more than two full waits: neither a
    clock that jumps nor an outage of months in between ages a packet.
    """
    if last_failure_ms is None:
        return failing_ms
    return failing_ms + min(max(now_ms - last_failure_ms, 0), 2 * policy.cap_ms)
