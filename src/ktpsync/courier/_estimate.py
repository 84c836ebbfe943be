"""When a backlog is gone: a pure function of what waits, what the line takes, and when it may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.courier._policy import throttled_ms, with_settings

if TYPE_CHECKING:
    from ktpsync.courier._policy import CourierPolicy
    from ktpsync.outbox import DestinationState

_DAY_MS = 86_400_000
_LONGEST_MS = 20 * 366 * _DAY_MS
_AT_ITS_RATE = 0.8
"""A line that was as fast as this share of its limit was held back by the limit."""


@frozen(kw_only=True)
class Speed:
    """What a destination was seen to take.

    Args:
        sent: Bytes, newer ones counting more.
        seconds: The time they took, weighted in the same way.
        rate: The limit in bytes a second that was in force then.
    """

    sent: float = 0.0
    seconds: float = 0.0
    rate: float | None = None


@frozen(kw_only=True)
class Estimate:
    """When the backlog of a destination is gone if nothing changes.

    Args:
        seconds: Seconds of sending; ``None`` where nothing is known of the line yet.
        gone_at_ms: When it is gone, its hours counted in, in milliseconds since 1970; ``None`` where that cannot
            be told, as while the destination is stopped or out of reach.
        per_day: Bytes that the line takes in a day, its hours counted in.
    """

    seconds: float | None = None
    gone_at_ms: int | None = None
    per_day: int | None = None


def bytes_per_second(speed: Speed, rate: float | None) -> float | None:
    """Return what the line takes, as far as it is known: what was seen, within the limit."""
    if speed.sent <= 0 or speed.seconds <= 0:
        return rate
    seen = speed.sent / speed.seconds
    held_back = speed.rate is not None and seen >= _AT_ITS_RATE * speed.rate
    if rate is None:
        return seen
    if held_back and speed.rate is not None and rate > speed.rate:
        return rate  # nobody has seen yet what the line takes beyond the former limit
    return min(seen, rate)


def estimate(
    waiting: int, speed: Speed, policy: CourierPolicy, state: DestinationState, now_ms: int
) -> Estimate:
    """Return when what waits is gone.

    Args:
        waiting: Bytes still to send.
        speed: What the destination was seen to take.
        policy: How it is served, as configured.
        state: What was set at run time, and whether it can be reached.
        now_ms: Now, in milliseconds since 1970.

    Raises:
        ConfigError: What was set at run time cannot be read.
    """
    policy = with_settings(policy, state)
    rate = bytes_per_second(speed, policy.rate)
    per_day = _per_day(rate, policy, now_ms)
    if not waiting:
        return Estimate(seconds=0.0, gone_at_ms=now_ms, per_day=per_day)
    if rate is None:
        return Estimate()
    seconds = waiting / rate
    if state.paused is not None or state.breaker in {"open", "probing"}:
        return Estimate(seconds=seconds, per_day=per_day)
    start_ms = now_ms + throttled_ms(state, now_ms)
    return Estimate(seconds=seconds, gone_at_ms=_end_ms(policy, start_ms, seconds * 1000), per_day=per_day)


def _end_ms(policy: CourierPolicy, now_ms: int, left_ms: float) -> int | None:
    """Return when so much sending is done, from window to window."""
    window = policy.window
    last_ms = now_ms + _LONGEST_MS
    while now_ms < last_ms:
        if window is not None:
            now_ms += window.opens_in_ms(now_ms)
        closes_ms = None if window is None else window.closes_in_ms(now_ms)
        if closes_ms is None or left_ms <= closes_ms:
            return now_ms + round(left_ms)
        left_ms -= closes_ms
        now_ms += closes_ms
    return None


def _per_day(rate: float | None, policy: CourierPolicy, now_ms: int) -> int | None:
    if rate is None:
        return None
    open_ms, at_ms, end_ms = 0, now_ms, now_ms + _DAY_MS
    while policy.window is not None and at_ms < end_ms:
        at_ms += policy.window.opens_in_ms(at_ms)
        closes_ms = policy.window.closes_in_ms(at_ms)
        if closes_ms is None:
            return round(rate * _DAY_MS / 1000)
        open_ms += max(0, min(closes_ms, end_ms - at_ms))
        at_ms += closes_ms
    return round(rate * (_DAY_MS if policy.window is None else open_ms) / 1000)
