"""When the outbox warns of little room, and when it refuses."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Limits:
    """When to warn and when to stop.

    Args:
        reserve: Bytes that stay free on the spool's disk: a submission that would go below is refused.
        warn: Bytes free below which :meth:`Outbox.storage` warns.
        max_backlog: Sealed bytes waiting for one required destination above which submissions are refused;
            ``None``: no limit.
        max_age_days: Age of the oldest packet waiting for a required destination above which submissions are
            refused; ``None``: no limit. The age is told by the station's clock, so a clock that is set years
            ahead reaches the limit at once.
        warn_age_days: Age of the oldest packet not yet delivered from which on :meth:`Outbox.storage` warns.
    """

    reserve: int = 200 << 20
    warn: int = 2 << 30
    max_backlog: int | None = None
    max_age_days: float | None = None
    warn_age_days: float = 30.0
