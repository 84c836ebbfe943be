"""Who wants to know what couriers did."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger("ktpsync.courier")


class Observer(Protocol):
    """Who wants to know what couriers did. Called after the commit, at most once for each event."""

    def delivered(self, packet_id: str, destination: str) -> None:
        """A destination gave a receipt for a packet."""

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """A packet waits for a person."""

    def paused(self, destination: str, reason: str) -> None:
        """A destination was stopped until a person resumes it."""

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """The centre changed a packet's registration status."""


def notify(observers: Sequence[Observer], call: Callable[[Observer], None]) -> None:
    """Tell each observer; one that raises is logged and does not keep the others from being told."""
    for observer in observers:
        try:
            call(observer)
        except Exception:
            log.exception("observer %r failed; the outbox is not affected", observer)


def tell_rejected(
    observers: Sequence[Observer], packet_id: str, destination: str, code: str, reason: str
) -> None:
    """Log that a packet waits for a person, and tell the observers."""
    facts = {
        "event": "rejected",
        "packet_id": packet_id,
        "destination": destination,
        "code": code,
        "reason": reason,
    }
    log.warning("rejected %s at %s: %s: %s", packet_id, destination, code, reason, extra={"facts": facts})
    notify(observers, lambda one: one.rejected(packet_id, destination, code, reason))
