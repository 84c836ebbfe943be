"""A clock for tests of what depends on time."""

from __future__ import annotations

from attrs import define


@define
class ManualClock:
    """A clock that only the test moves: an outage of days takes no time.

    Give it to :meth:`ktpsync.Office.open`. It also is the clock of what the office tells, such as the age of a backlog.

    Args:
        ms: The wall clock, in milliseconds since 1970-01-01 UTC; set it to let the clock jump.
        seconds: The clock that never runs backwards, in seconds.
    """

    ms: int = 1_700_000_000_000
    seconds: float = 0.0

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC by the wall clock."""
        return self.ms

    def monotonic(self) -> float:
        """Return seconds on a scale that never runs backwards."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let this many seconds pass at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass on both clocks."""
        self.ms += round(seconds * 1000)
        self.seconds += seconds
