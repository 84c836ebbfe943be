"""The states of a delivery and the ways between them, from which the diagram in the docs is made."""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a delivery, one packet for one destination, stands."""

    PENDING = "pending"
    """Waits for its turn, for a retry or for the destination."""

    LEASED = "leased"
    """A courier holds it until the lease ends; an expired lease is pending again by itself."""

    DELIVERED = "delivered"
    """The destination gave a receipt for exactly these bytes."""

    REJECTED = "rejected"
    """Refused for good; a person must look at it."""

    CANCELLED = "cancelled"
    """A person decided that this packet does not go to this destination."""

    HANDLED = "handled"
    """A person settled it in another way, such as by handing over a disk."""


DAMAGED = "damaged"
"""The code of a delivery that a person must see to because the station's own bytes are damaged."""

OPEN = "open"
"""How the database writes pending and leased: they differ only by owner and time."""

TRANSITIONS: tuple[tuple[DeliveryState | None, DeliveryState, str], ...] = (
    (None, DeliveryState.PENDING, "submit"),
    (DeliveryState.PENDING, DeliveryState.LEASED, "claim"),
    (DeliveryState.LEASED, DeliveryState.DELIVERED, "settle"),
    (DeliveryState.LEASED, DeliveryState.PENDING, "fail, release, lease expired"),
    (DeliveryState.LEASED, DeliveryState.REJECTED, "reject"),
    (DeliveryState.PENDING, DeliveryState.PENDING, "requeue"),
    (DeliveryState.PENDING, DeliveryState.CANCELLED, "cancel"),
    (DeliveryState.LEASED, DeliveryState.CANCELLED, "cancel"),
    (DeliveryState.PENDING, DeliveryState.HANDLED, "handled"),
    (DeliveryState.LEASED, DeliveryState.HANDLED, "handled"),
    (DeliveryState.PENDING, DeliveryState.DELIVERED, "reconcile: held"),
    (DeliveryState.LEASED, DeliveryState.DELIVERED, "reconcile: held"),
    (DeliveryState.PENDING, DeliveryState.REJECTED, "reconcile: conflict, status: not registered"),
    (DeliveryState.LEASED, DeliveryState.REJECTED, "reconcile: conflict, status: not registered"),
    (DeliveryState.DELIVERED, DeliveryState.PENDING, "reconcile: missing, requeue, status asks again"),
    (DeliveryState.DELIVERED, DeliveryState.REJECTED, "reconcile: conflict, status: not registered"),
    (DeliveryState.REJECTED, DeliveryState.PENDING, "requeue, status asks again"),
    (DeliveryState.REJECTED, DeliveryState.DELIVERED, "reconcile: held, status: taken up again"),
    (DeliveryState.REJECTED, DeliveryState.CANCELLED, "cancel"),
    (DeliveryState.REJECTED, DeliveryState.HANDLED, "handled"),
    (DeliveryState.CANCELLED, DeliveryState.PENDING, "requeue"),
    (DeliveryState.CANCELLED, DeliveryState.HANDLED, "handled"),
    (DeliveryState.HANDLED, DeliveryState.PENDING, "requeue"),
    (DeliveryState.HANDLED, DeliveryState.CANCELLED, "cancel"),
)
"""From (``None``: not there yet), to, and what does it."""


def may_decide(before: DeliveryState, after: DeliveryState) -> bool:
    """Return whether a person may bring a delivery from one state into another."""
    causes = {cause for start, end, cause in TRANSITIONS if (start, end) == (before, after)}
    return any("requeue" in cause or cause in {"cancel", "handled"} for cause in causes)


def state_diagram() -> str:
    """Return the states and transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for before, after, cause in TRANSITIONS:
        start = "[*]" if before is None else before.value
        lines.append(f"    {start} --> {after.value}: {cause}")
    return "\n".join(lines) + "\n"
