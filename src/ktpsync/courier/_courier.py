"""The courier of one destination."""

from __future__ import annotations

import threading
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ktpsync.clock import SystemClock
from ktpsync.courier._attempt import Attempts
from ktpsync.courier._drain import Drain
from ktpsync.courier._gate import Gate
from ktpsync.courier._meter import Meter
from ktpsync.courier._policy import CourierPolicy
from ktpsync.courier._rate import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.clock import Clock
    from ktpsync.courier._drain import DrainReport
    from ktpsync.courier._estimate import Speed
    from ktpsync.courier._observer import Observer
    from ktpsync.outbox import Outbox
    from ktpsync.plugins import Backend


class Courier:
    """Drains one destination, packet by packet, through whatever happens to it.

    Attributes:
        destination: Its name.
        alive_at: When its thread was last seen at work, on the clock's monotonic scale; ``None``: not yet.

    Args:
        outbox: Where the packets are.
        destination: The destination's name in the outbox.
        backend: Where they go. It stays the caller's to close.
        policy: How fast and when.
        clock: The clock to ask.
        random: Where jitter comes from.
        observers: Who is told.
        plugin: What offers the backend, to say whose mistake an error is.
        speed: What the destination was seen to take before.
    """

    def __init__(
        self,
        outbox: Outbox,
        destination: str,
        backend: Backend,
        *,
        policy: CourierPolicy | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        observers: Sequence[Observer] = (),
        plugin: str = "",
        speed: Speed | None = None,
    ) -> None:
        self.destination = destination
        self.alive_at: float | None = None
        self._outbox = outbox
        self._policy = policy or CourierPolicy()
        self._clock = clock or SystemClock()
        self._observers = tuple(observers)
        self._meter = Meter(speed)
        bucket = TokenBucket(self._clock, self._policy.rate)
        self._attempts = Attempts(
            backend,
            outbox.spool,
            retry=self._policy.retry,
            clock=self._clock,
            random=random or SystemRandom(),
            bucket=bucket,
            plugin=plugin,
        )
        self._gate = Gate(
            outbox,
            destination,
            backend,
            policy=self._policy,
            clock=self._clock,
            bucket=bucket,
            observers=self._observers,
            plugin=plugin,
        )

    @property
    def speed(self) -> Speed:
        """What the destination was seen to take."""
        return self._meter.speed

    def drain(
        self, stop: threading.Event | None = None, *, observers: Sequence[Observer] = ()
    ) -> DrainReport:
        """Deliver what is due until nothing is, or the destination does not take more now.

        Args:
            stop: When set, nothing new is started; what is under way may finish for the policy's
                ``grace`` and is given back otherwise.
            observers: Who else is told of this drain.
        """
        self._beat()
        return Drain(
            self._outbox,
            self.destination,
            gate=self._gate,
            attempts=self._attempts,
            policy=self._policy,
            clock=self._clock,
            observers=(*self._observers, *observers),
            stop=stop or threading.Event(),
            alive=self._beat,
            meter=self._meter,
        ).run()

    def _beat(self) -> None:
        self.alive_at = self._clock.monotonic()
