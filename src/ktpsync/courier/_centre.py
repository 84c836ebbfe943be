"""What couriers ask the centre beside delivering: statuses and which packets it holds."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from ktpsync.courier._observer import notify, tell_rejected
from ktpsync.courier._pause import pause
from ktpsync.errors import AuthError, ThrottledError
from ktpsync.outbox import NOT_REGISTERED, HoldingsApplied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ktpsync.courier._observer import Observer
    from ktpsync.outbox import Outbox
    from ktpsync.plugins import CentralBackend, StatusChange

log = logging.getLogger("ktpsync.courier")

_ASKED = 10_000
"""Packets that the centre is asked about at a time; on a thin line each question costs a round trip."""

_APPLIED = 500
"""Answers that one transaction takes, so that recording goes on in between."""


def poll_statuses(
    outbox: Outbox, destination: str, backend: CentralBackend, observers: Sequence[Observer] = ()
) -> int:
    """Take the centre's change feed up to its present end.

    Observers are told after the commit, at most once for each change: a process that dies between
    the two leaves the change in the audit trail, where ``outbox.audit.entries(after=...)`` finds it.

    Returns:
        How many changes were new.

    A centre that does not accept the credentials is stopped, and one that asks for patience is left alone, as
    by a courier.

    Raises:
        BackendError: The centre did not answer; what was taken before stays.
    """
    new = 0
    while True:
        cursor = outbox.destination(destination).cursor
        try:
            page = backend.statuses(cursor)
        except AuthError as error:
            pause(outbox, destination, error, observers)
            raise
        except ThrottledError as error:
            if error.retry_after is not None:
                outbox.throttle(destination, error.retry_after)
            raise
        applied = outbox.apply_statuses(destination, page)
        new += len(applied.changes)
        for change, previous in applied.changes:
            facts = {"event": "status", "packet_id": change.packet_id, "status": change.status}
            log.info("status %s %s", change.packet_id, change.status, extra={"facts": facts})
            notify(observers, _teller(change, previous))
        for packet_id in applied.resent:
            facts = {"event": "resend", "packet_id": packet_id, "destination": destination}
            log.info("%s asks for %s again", destination, packet_id, extra={"facts": facts})
        for packet_id, reason in applied.refused:
            tell_rejected(observers, packet_id, destination, NOT_REGISTERED, reason)
        if not page.more or page.cursor == cursor:
            return new


def reconcile(outbox: Outbox, destination: str, backend: CentralBackend) -> HoldingsApplied:
    """Ask the centre which packets it holds and make the deliveries agree, as after a restore.

    Raises:
        BackendError: The centre did not answer; what was settled before stays.
    """
    delivered: list[str] = []
    requeued: list[str] = []
    conflicts: list[str] = []
    packets = outbox.to_reconcile(destination)
    while batch := list(itertools.islice(packets, _ASKED)):
        # Outside of any transaction: the answer may take minutes, and recordings must not wait for it.
        holdings = list(backend.reconcile(batch))
        for start in range(0, len(holdings), _APPLIED):
            applied = outbox.apply_holdings(destination, holdings[start : start + _APPLIED])
            delivered += applied.delivered
            requeued += applied.requeued
            conflicts += applied.conflicts
    return HoldingsApplied(delivered=tuple(delivered), requeued=tuple(requeued), conflicts=tuple(conflicts))


def _teller(change: StatusChange, previous: str | None) -> Callable[[Observer], None]:
    return lambda observer: observer.status_changed(change.packet_id, change.status, previous)
