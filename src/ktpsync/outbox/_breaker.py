"""When to stop asking a destination, and when to try again: a pure function of state, time and chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from random import Random

CLOSED = "closed"
OPEN = "open"
HALF_OPEN = "half-open"

LONGEST_THROTTLE_MS = 24 * 3_600_000
"""The longest ``Retry-After`` that is obeyed to the end."""


@frozen(kw_only=True)
class BreakerPolicy:
    """When the breaker opens and how long it stays so.

    Args:
        threshold: Failures of the destination in a row that open it.
        first_ms: How long it stays open the first time, before jitter.
        longest_ms: The longest it stays open; the time doubles up to here.
        successes: Successes in a row that close it again; the probe's counts as the first.
        probe_ms: How long a probe may take before another one is allowed.
    """

    threshold: int = 5
    first_ms: int = 30_000
    longest_ms: int = 300_000
    successes: int = 2
    probe_ms: int = 60_000


@frozen(kw_only=True)
class Breaker:
    """The state of one destination's breaker, as the database keeps it.

    Args:
        state: ``closed``, ``open`` or ``half-open``.
        run: Failures in a row while closed; successes in a row while half-open.
        opened: How often it has opened since it was closed last.
        until_ms: While not closed: when the next probe may start, in milliseconds since 1970.
        epoch: Rises each time it opens, so that a late answer from before is recognised.
    """

    state: str = CLOSED
    run: int = 0
    opened: int = 0
    until_ms: int = 0
    epoch: int = 0


def after_failure(breaker: Breaker, policy: BreakerPolicy, now_ms: int, random: Random) -> Breaker:
    """Return the breaker after the destination could not be reached."""
    if breaker.state == OPEN:
        return breaker
    if breaker.state == CLOSED and breaker.run + 1 < policy.threshold:
        return evolve(breaker, run=breaker.run + 1)
    whole = min(policy.first_ms << min(breaker.opened, 20), policy.longest_ms)
    # Half to whole: 514 offices that lost the centre at one moment do not come back at one moment.
    wait = whole // 2 + int(random.random() * (whole - whole // 2))
    return Breaker(state=OPEN, opened=breaker.opened + 1, until_ms=now_ms + wait, epoch=breaker.epoch + 1)


def after_success(breaker: Breaker, policy: BreakerPolicy) -> Breaker:
    """Return the breaker after a delivery or a probe succeeded."""
    if breaker.state == CLOSED:
        return breaker if breaker.run == 0 else evolve(breaker, run=0)
    if breaker.state == HALF_OPEN and breaker.run + 1 >= policy.successes:
        return Breaker(epoch=breaker.epoch)
    return evolve(breaker, state=HALF_OPEN, run=breaker.run + 1 if breaker.state == HALF_OPEN else 1)


def probing(breaker: Breaker, policy: BreakerPolicy, now_ms: int) -> Breaker:
    """Return the breaker with one probe under way; the next may start when this one should have ended."""
    return evolve(breaker, state=HALF_OPEN, run=0, until_ms=now_ms + policy.probe_ms)


def probe_due(breaker: Breaker, policy: BreakerPolicy, now_ms: int) -> bool:
    """Return whether a probe may start.

    A moment further away than the longest wait can only come from a clock that has jumped back since.
    """
    if breaker.state == CLOSED or (breaker.state == HALF_OPEN and breaker.run > 0):
        return False
    horizon = max(policy.longest_ms, policy.probe_ms)
    return breaker.until_ms <= now_ms or breaker.until_ms > now_ms + horizon
