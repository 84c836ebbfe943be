"""How a destination is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.clock import SystemClock, local_text, utc_from_ms

if TYPE_CHECKING:
    from ktpsync.outbox import DestinationState


def asks_to_wait_until_ms(state: DestinationState) -> int | None:
    """Return until when a destination has asked to wait, in milliseconds since 1970; ``None`` if it has not, or it is over."""
    from ktpsync.courier import throttled_ms

    return state.throttled_until_ms if throttled_ms(state, SystemClock().now_ms()) else None


def in_words(state: DestinationState, *, unusable: bool = False) -> str:
    """Return whether a destination works, and what keeps it from that."""
    if unusable:
        return "cannot be used"
    if state.paused is not None:
        return f"stopped: {state.paused}"
    if (until := asks_to_wait_until_ms(state)) is not None:
        return f"asked to wait until {local_text(utc_from_ms(until))}"
    if state.breaker != "closed":
        return f"out of reach: {state.last_error or 'no answer'}"
    if state.failing:
        return f"gave no answer: {state.last_error or 'no answer'}"
    return "working"
