"""Keeps a log from filling up with the same sentence through an outage of months."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktpsync.clock import Clock

_AGAIN_SECONDS = 86_400.0


class Said:
    """What was said last of each thing.

    Args:
        clock: The clock to ask.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, tuple[str, float]] = {}

    def is_news(self, about: str, sentence: str) -> bool:
        """Return whether a sentence should be said: it is another one than last time, or a day has passed."""
        now = self._clock.monotonic()
        with self._lock:
            last = self._last.get(about)
            if last is not None and last[0] == sentence and now - last[1] < _AGAIN_SECONDS:
                return False
            self._last[about] = (sentence, now)
        return True

    def forget(self, about: str) -> None:
        """Note that a thing is well again: the same trouble is news next time."""
        with self._lock:
            self._last.pop(about, None)
