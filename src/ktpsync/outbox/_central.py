"""What the centre says: registration statuses, and which packets it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from ktpsync.outbox._audit import entry
from ktpsync.outbox._receipts import delivered_bytes, receipt_json
from ktpsync.outbox._registration import NOT_REGISTERED, follow
from ktpsync.outbox._values import HoldingsApplied, StatusApplied
from ktpsync.plain import plain, reason
from ktpsync.plugins import HoldingState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._destinations import Destinations
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._values import AuditEntry
    from ktpsync.packet import SealedPacket
    from ktpsync.plugins import Holding, StatusChange, StatusPage

FINAL_STATUSES = frozenset(
    {
        "DUPLICATE_RECORD",
        "SENT_FOR_DELETION",
        "PRINT_READY_RECORD",
        "CARD_PRINTED",
        "CARD_SHIPPED",
        "CARD_ISSUED",
    }
)
"""The centre's statuses after which it needs the packet no more. An unknown status is never final."""

_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
STILL_WANTED = f"""(d.state IN ('open', 'rejected')
  OR d.state = 'delivered' AND t.cursor IS NOT NULL AND (p.status IS NULL OR p.status NOT IN ({_FINAL})))"""
"""Whether packet p is still to be delivered, or a centre may still ask for it again: by delivery d to destination t."""

_SEEN = """
INSERT INTO ktpsync_status (packet_id, status, changed_ms, note)
VALUES (:packet_id, :status, :changed_ms, :note) ON CONFLICT DO NOTHING
"""
_CURRENT = """
UPDATE ktpsync_packet SET status = :status, status_ms = :changed_ms
WHERE packet_id = :packet_id AND (status_ms IS NULL OR status_ms <= :changed_ms)
"""
_HELD = """
UPDATE ktpsync_delivery SET state = 'delivered', owner = NULL, fence = fence + 1, receipt = :receipt,
  settled_ms = {now}, code = NULL, reason = NULL
WHERE packet_id = :packet_id AND dest = :dest AND state <> 'delivered'
  AND NOT (state = 'rejected' AND code = :not_registered)
"""
_MISSING = """
UPDATE ktpsync_delivery SET state = 'open', owner = NULL, fence = fence + 1, receipt = NULL, settled_ms = NULL,
  due_ms = {now}
WHERE packet_id = :packet_id AND dest = :dest
  AND (state = 'delivered' OR state = 'rejected' AND code = :not_registered)
"""
_CONFLICT = """
UPDATE ktpsync_delivery SET state = 'rejected', owner = NULL, fence = fence + 1, settled_ms = {now},
  code = 'conflict', reason = :reason, receipt = NULL
WHERE packet_id = :packet_id AND dest = :dest AND state <> 'rejected'
"""
_TO_RECONCILE = """
SELECT d.id, p.packet_id, p.sha256, p.size, d.receipt FROM ktpsync_delivery d
JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.dest = :dest AND d.id > :after AND p.location <> 'purged' ORDER BY d.id
"""


class Central:
    """Takes the centre's word into one outbox."""

    def __init__(
        self, database: Database, spool: Spool, audit: AuditTrail, destinations: Destinations, clock: Clock
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._destinations = destinations
        self._clock = clock

    def apply_statuses(self, dest: str, page: StatusPage, *, now: int | None) -> StatusApplied:
        """Keep a page's changes and its cursor in one transaction; what was known already changes nothing."""
        changes: list[tuple[StatusChange, str | None]] = []
        unknown: list[str] = []
        told: list[AuditEntry] = []
        with self._database.write() as connection:
            for said in page.changes:
                # The centre's words go into the database, to plugins and into the log.
                change = evolve(said, status=plain(said.status), note=reason(said.note))
                known, previous = self._status(connection, change.packet_id)
                if not known:
                    unknown.append(change.packet_id)
                    continue
                bound = {
                    "packet_id": change.packet_id,
                    "status": change.status,
                    "changed_ms": round(change.changed_at.timestamp() * 1000),
                    "note": change.note,
                }
                if connection.execute(self._database.sql(_SEEN), bound).rowcount == 0:
                    continue
                connection.execute(self._database.sql(_CURRENT), bound)
                changes.append((change, previous))
                told.append(
                    entry(
                        "status",
                        at_ms=self._clock.now_ms(),
                        packet_id=change.packet_id,
                        destination=dest,
                        status=change.status,
                        previous=previous,
                    )
                )
            connection.execute(
                self._database.sql("UPDATE ktpsync_destination SET cursor = :cursor WHERE dest = :dest"),
                {"cursor": page.cursor, "dest": dest},
            )
            followed = follow(
                self._database,
                connection,
                dest,
                [change for change, _ in changes],
                at_ms=self._clock.now_ms(),
                now=now,
            )
            if followed.delivered:
                self._destinations.count(connection, dest, followed.delivered)
            told += followed.told
            self._audit.append(connection, told)
        return StatusApplied(
            changes=tuple(changes),
            unknown=tuple(unknown),
            resent=tuple(followed.resent),
            refused=tuple(followed.refused),
        )

    def to_reconcile(self, dest: str) -> Iterator[SealedPacket]:
        """Yield every packet with a delivery to a destination, in constant memory."""
        for row in self._database.paged(_TO_RECONCILE, {"dest": dest, "after": 0}, after="id"):
            yield self._spool.packet(row.packet_id, *delivered_bytes(row.sha256, row.size, row.receipt))

    def apply_holdings(self, dest: str, holdings: Iterable[Holding], *, now: int | None) -> HoldingsApplied:
        """Make the deliveries agree with what the destination says it holds."""
        delivered: list[str] = []
        requeued: list[str] = []
        conflicts: list[str] = []
        told: list[AuditEntry] = []
        at_ms = self._clock.now_ms()
        with self._database.write() as connection:
            for holding in sorted(holdings, key=lambda item: item.packet_id):
                packet_id = holding.packet_id
                row = connection.execute(
                    self._database.sql(
                        "SELECT p.sha256, p.size, d.state, d.receipt FROM ktpsync_packet p JOIN ktpsync_delivery d "
                        "ON d.packet_id = p.packet_id WHERE p.packet_id = :packet_id AND d.dest = :dest"
                    ),
                    {"packet_id": packet_id, "dest": dest},
                ).first()
                if row is None:
                    continue
                receipt = holding.receipt
                known = delivered_bytes(row.sha256, row.size, row.receipt)
                proven = receipt is not None and (receipt.sha256, receipt.size) == known
                bound = {"packet_id": packet_id, "dest": dest, "now": now, "not_registered": NOT_REGISTERED}
                if holding.state is HoldingState.HELD and receipt is not None and proven:
                    statement, event, into = _HELD, "delivered", delivered
                    bound["receipt"] = receipt_json(receipt)
                elif holding.state is HoldingState.MISSING:
                    statement, event, into = _MISSING, "missing", requeued
                else:
                    statement, event, into = _CONFLICT, "rejected", conflicts
                    bound["reason"] = f"{dest} holds other bytes under this packet's id."
                if connection.execute(self._database.sql(statement), bound).rowcount == 0:
                    continue
                into.append(packet_id)
                told.append(
                    entry(
                        event,
                        at_ms=at_ms,
                        packet_id=packet_id,
                        destination=dest,
                        by="reconcile",
                        before=row.state,
                    )
                )
                moved = (event == "delivered") - (row.state == "delivered")
                if moved:
                    self._destinations.count(connection, dest, moved)
            self._audit.append(connection, told)
        return HoldingsApplied(
            delivered=tuple(delivered), requeued=tuple(requeued), conflicts=tuple(conflicts)
        )

    def _status(self, connection: Connection, packet_id: str) -> tuple[bool, str | None]:
        row = connection.execute(
            self._database.sql("SELECT status FROM ktpsync_packet WHERE packet_id = :packet_id"),
            {"packet_id": packet_id},
        ).first()
        return (False, None) if row is None else (True, row.status)
