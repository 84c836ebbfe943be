"""How fast a destination takes packets while it takes them."""

from __future__ import annotations

import math
import threading

from ktpsync.courier._estimate import Speed

_MEMORY_SECONDS = 1800.0
"""After so much time of sending, what was seen before counts about a third."""


class Meter:
    """Measures bytes over the time of sending; pauses between drains do not count.

    Args:
        speed: What was measured earlier.
    """

    def __init__(self, speed: Speed | None = None) -> None:
        self._speed = speed or Speed()
        self._lock = threading.Lock()

    @property
    def speed(self) -> Speed:
        """What was measured so far."""
        return self._speed

    def add(self, sent: int, seconds: float, rate: float | None) -> None:
        """Count what was delivered in the last seconds of sending.

        Args:
            sent: Bytes with a receipt.
            seconds: Since the last call, or since sending began.
            rate: The limit in force, in bytes a second.
        """
        with self._lock:
            before = self._speed if self._speed.rate == rate else Speed()
            kept = math.exp(-seconds / _MEMORY_SECONDS)
            self._speed = Speed(
                sent=before.sent * kept + sent, seconds=before.seconds * kept + seconds, rate=rate
            )
