"""How a destination is served: how fast, when, and what may be changed while it runs."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from ktpsync.errors import ConfigError
from ktpsync.outbox import LONGEST_THROTTLE_MS, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ktpsync.outbox import DestinationState

_DAY = timedelta(days=1)


@frozen(kw_only=True)
class Window:
    """Hours of the day in which a destination may be used.

    Args:
        start: From this time of the day on.
        end: Until this one; before ``start`` means the next morning.
        zone: Where these times are meant; ``None`` is the machine's own zone.
    """

    start: time
    end: time
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str, *, zone: tzinfo | None = None) -> Window:
        """Return the window that a text such as ``18:00-06:30`` names.

        Raises:
            ConfigError: It does not read like that.
        """
        try:
            start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
        except ValueError:
            raise ConfigError(f"{text!r} is no window of hours; write it like 18:00-06:30.") from None
        return cls(start=start, end=end, zone=zone)

    def opens_in_ms(self, now_ms: int) -> int:
        """Return how long it is until the window is open; 0 if it is."""
        return self._wait_ms(now_ms)[0]

    def closes_in_ms(self, now_ms: int) -> int | None:
        """Return how long it stays open; ``None`` if it is closed or never closes."""
        return self._wait_ms(now_ms)[1]

    def _wait_ms(self, now_ms: int) -> tuple[int, int | None]:
        if self.start == self.end:
            return 0, None
        now = datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(self.zone)
        start = datetime.combine(now.date(), self.start, tzinfo=now.tzinfo)
        end = datetime.combine(now.date(), self.end, tzinfo=now.tzinfo)
        overnight = self.end < self.start
        is_open = (now >= start or now < end) if overnight else start <= now < end
        if is_open:
            return 0, _ms((end if end > now else end + _DAY) - now)
        return _ms((start if start > now else start + _DAY) - now), None


@frozen(kw_only=True)
class CourierPolicy:
    """How one destination is served.

    Args:
        concurrency: Deliveries at a time, at most. Fewer after trouble.
        lease: Seconds that a claimed packet is held without a sign of life.
        rate: Bytes per second, over all deliveries of this process; ``None``: as fast as it goes.
        window: Hours of the day; ``None``: always.
        retry: How packets that fail by their own doing are retried.
        grace: Seconds that deliveries under way may still take when the courier is stopped.
    """

    concurrency: int = 4
    lease: float = 120.0
    rate: float | None = None
    window: Window | None = None
    retry: RetryPolicy = field(factory=RetryPolicy)
    grace: float = 20.0


def with_settings(policy: CourierPolicy, state: DestinationState) -> CourierPolicy:
    """Return the policy with what was set at run time: ``rate``, ``window`` and ``concurrency``.

    Raises:
        ConfigError: A setting cannot be read.
    """
    settings = state.settings
    if not settings:
        return policy
    changed = policy
    if "rate" in settings:
        changed = evolve(changed, rate=_number(settings, "rate") or None)
    if "concurrency" in settings:
        changed = evolve(changed, concurrency=max(1, int(_number(settings, "concurrency"))))
    if "window" in settings:
        text = settings["window"]
        changed = evolve(changed, window=Window.parse(text) if text else None)
    return changed


def throttled_ms(state: DestinationState, now_ms: int) -> int:
    """Return for how long the destination still asks for patience, in milliseconds; 0 if it does not."""
    left_ms = state.throttled_until_ms - now_ms
    # Longer than that was never asked for: the clock has jumped back since.
    return left_ms if 0 < left_ms <= LONGEST_THROTTLE_MS else 0


def _number(settings: Mapping[str, str], name: str) -> float:
    try:
        return float(settings[name])
    except ValueError:
        raise ConfigError(f"The setting {name} is {settings[name]!r}, which is no number.") from None


def _ms(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)
