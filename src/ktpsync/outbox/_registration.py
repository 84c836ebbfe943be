"""What a registration status means for the delivery of its packet: asked for again, not registered, or on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync.outbox._audit import entry
from ktpsync.outbox._values import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.plugins import StatusChange

RESEND_STATUSES: Final = frozenset({"PACKET_RETRY"})
"""The centre's statuses with which it asks for the packet again: the same bytes under the same id."""

FAILED_STATUSES: Final = frozenset({"ENROLL_FAILURE_AT_CENTRAL", "ENROLL_FAILURE_AT_REGIONAL"})
"""The centre's statuses that say: it has the packet, and the person is not registered. The office must act."""

NOT_REGISTERED: Final = "not-registered"
"""The code of a delivery that a person must see to because the centre could not register whom the packet is of."""

_LATEST: Final = "(SELECT p.status FROM ktpsync_packet p WHERE p.packet_id = :packet_id) = :status"
_STANDING: Final = "SELECT state, code FROM ktpsync_delivery WHERE packet_id = :packet_id AND dest = :dest"
_AGAIN: Final = f"""
UPDATE ktpsync_delivery SET state = 'open', owner = NULL, fence = fence + 1, receipt = NULL, settled_ms = NULL,
  due_ms = {{now}}
WHERE packet_id = :packet_id AND dest = :dest AND (state = 'delivered' OR state = 'rejected' AND code = :code)
  AND {_LATEST}
"""
# The receipt stays: the centre does hold the bytes.
_REFUSED: Final = f"""
UPDATE ktpsync_delivery SET state = 'rejected', owner = NULL, fence = fence + 1, code = :code, reason = :reason,
  settled_ms = {{now}}
WHERE packet_id = :packet_id AND dest = :dest
  AND (state IN ('open', 'delivered') OR state = 'rejected' AND code = :code) AND {_LATEST}
"""
_TAKEN_UP: Final = f"""
UPDATE ktpsync_delivery SET state = CASE WHEN receipt IS NULL THEN 'open' ELSE 'delivered' END, fence = fence + 1,
  due_ms = {{now}}, code = NULL, reason = NULL, settled_ms = CASE WHEN receipt IS NULL THEN NULL ELSE {{now}} END
WHERE packet_id = :packet_id AND dest = :dest AND state = 'rejected' AND code = :code AND {_LATEST}
"""


@frozen(kw_only=True)
class Followed:
    """What statuses have changed in the deliveries.

    Args:
        resent: Ids of packets that the centre has asked for again.
        refused: Ids of packets whose person is not registered, each with the reason for a person to read.
        delivered: By how much the number of packets delivered has changed.
        told: For the audit trail.
    """

    resent: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    delivered: int
    told: tuple[AuditEntry, ...]


def follow(
    database: Database,
    connection: Connection,
    dest: str,
    changes: Iterable[StatusChange],
    *,
    at_ms: int,
    now: int | None,
) -> Followed:
    """Make deliveries agree with statuses that are new, unless a later status says that the centre has gone on.

    Args:
        database: The outbox's database.
        connection: The transaction in which the statuses were kept.
        dest: The centre.
        changes: The statuses, fit to be kept.
        at_ms: The present moment, for the audit trail.
        now: The present moment for the statements.
    """
    resent: list[str] = []
    refused: list[tuple[str, str]] = []
    told: list[AuditEntry] = []
    delivered = 0
    for change in changes:
        bound: dict[str, str | int | None] = {
            "packet_id": change.packet_id,
            "dest": dest,
            "status": change.status,
            "code": NOT_REGISTERED,
            "now": now,
        }
        before = connection.execute(database.sql(_STANDING), bound).first()
        if before is None:
            continue
        why = ""
        if change.status in RESEND_STATUSES:
            statement, event = _AGAIN, "resend"
        elif change.status in FAILED_STATUSES:
            statement, event = _REFUSED, "rejected"
            why = bound["reason"] = _reason(change)
        elif before.code == NOT_REGISTERED:
            statement, event = _TAKEN_UP, "delivered"
        else:
            continue
        if connection.execute(database.sql(statement), bound).rowcount == 0:
            continue
        after = connection.execute(database.sql(_STANDING), bound).one()
        delivered += (after.state == "delivered") - (before.state == "delivered")
        if event == "resend":
            resent.append(change.packet_id)
        elif event == "rejected":
            refused.append((change.packet_id, why))
        if event != "delivered" or after.state == "delivered":
            facts = {"code": NOT_REGISTERED, "reason": why} if why else {}
            told.append(
                entry(event, at_ms=at_ms, packet_id=change.packet_id, destination=dest, by="status", **facts)
            )
    return Followed(resent=tuple(resent), refused=tuple(refused), delivered=delivered, told=tuple(told))


def _reason(change: StatusChange) -> str:
    said = f" ({change.note.rstrip('.')})" if change.note else ""
    return (
        f"The centre has it and could not register the person: {change.status}{said}. Correct that and requeue it; or record "
        "the person again and mark this one with `ktpsync handled`."
    )
