"""What the facade tells of work on several destinations."""

from __future__ import annotations

from attrs import frozen

from ktpsync.errors import KtpsyncError


@frozen(kw_only=True)
class DestinationReport:
    """What one destination took in one run.

    Args:
        name: The destination.
        delivered: Packets it gave a receipt for.
        rejected: Packets it refused for good.
        waiting: Packets that still wait for it.
        reason: Why they wait; empty if none does.
        person: Whether a person must look: it is unusable, paused, or something was rejected.
        throttled_until_ms: Until when it has asked to wait, in milliseconds since 1970; ``None`` if it has not.
        unusable: Why it cannot be used at all: its settings have problems or its plugin is refused.
    """

    name: str
    delivered: int
    rejected: int
    waiting: int
    reason: str = ""
    person: bool = False
    throttled_until_ms: int | None = None
    unusable: KtpsyncError | None = None


@frozen(kw_only=True)
class SyncReport:
    """What :meth:`Office.sync` did.

    Args:
        destinations: One report for each destination.
    """

    destinations: tuple[DestinationReport, ...]

    @property
    def delivered(self) -> int:
        """Deliveries that got a receipt in this run."""
        return sum(report.delivered for report in self.destinations)

    @property
    def rejected(self) -> int:
        """Deliveries refused for good in this run."""
        return sum(report.rejected for report in self.destinations)

    @property
    def waiting(self) -> int:
        """Deliveries that still wait."""
        return sum(report.waiting for report in self.destinations)

    @property
    def person(self) -> bool:
        """Whether a person must look at a destination."""
        return any(report.person for report in self.destinations)

    @property
    def reason(self) -> str:
        """Why deliveries wait, for each destination where some do."""
        told = [(f"{report.name}: ", report.reason) for report in self.destinations if report.reason]
        return " ".join(name + reason.removeprefix(name) for name, reason in told)


@frozen(kw_only=True)
class ReconcileReport:
    """What the centre said when it was asked which packets it holds.

    Args:
        held: Packets it holds with the right digest.
        marked: Of these, how many were not yet marked as delivered here.
        requeued: Packets that were marked as delivered and that it does not hold; they wait again.
        conflicts: Packets it holds with other bytes.
    """

    held: int
    marked: int
    requeued: int
    conflicts: int
