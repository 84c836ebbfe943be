"""Claiming deliveries under leases and writing down how attempts ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.errors import UnknownPacketError, WrongStateError
from ktpsync.outbox._audit import check_decision, entry
from ktpsync.outbox._registration import NOT_REGISTERED, RESEND_STATUSES
from ktpsync.outbox._states import OPEN, DeliveryState, may_decide
from ktpsync.outbox._values import AuditEntry, Delivered, Lease, Outcome, Rejected, Returned
from ktpsync.packet import called
from ktpsync.plain import anonymous, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._destinations import Destinations
    from ktpsync.outbox._spool import Spool

HORIZON_MS = 2 * 3_600_000
"""Nothing waits longer than this: a moment further away comes from a clock that has jumped back since."""

_CLAIM = """
WITH urgent AS MATERIALIZED (
  SELECT id, due_ms, 0 AS turn FROM ktpsync_delivery
  WHERE dest = :dest AND state = 'open' AND urgent = 1 AND due_ms <= {now}
  ORDER BY due_ms, id LIMIT :count {lock}
), other AS MATERIALIZED (
  SELECT id, due_ms, 1 AS turn FROM ktpsync_delivery
  WHERE dest = :dest AND state = 'open' AND urgent = 0 AND due_ms <= {now}
  ORDER BY due_ms, id LIMIT :count {lock}
), due AS MATERIALIZED (
  SELECT id FROM (SELECT * FROM urgent UNION ALL SELECT * FROM other) both_turns
  ORDER BY turn, due_ms, id LIMIT :count
)
UPDATE ktpsync_delivery
SET owner = :owner, fence = fence + 1, attempts = attempts + 1, due_ms = {now} + :lease
WHERE id IN (SELECT id FROM due)
RETURNING id, packet_id, fence, urgent, attempts, failures, failing_ms, last_failure_ms, size,
  (SELECT p.sha256 FROM ktpsync_packet p WHERE p.packet_id = CAST(ktpsync_delivery.packet_id AS TEXT)) AS sha256
"""
"""Without the CAST, SQLite does not know the column's type in RETURNING and reads all packets for each row."""

_HELD = "WHERE id = :id AND fence = :fence AND state = 'open'"
_DELIVERED = f"""
UPDATE ktpsync_delivery SET state = 'delivered', owner = NULL, receipt = :receipt, settled_ms = {{now}},
  code = NULL, reason = NULL {_HELD}
"""
_FAILED = f"""
UPDATE ktpsync_delivery SET owner = NULL, due_ms = {{now}} + :delay, failures = failures + 1,
  failing_ms = :failing, last_failure_ms = {{now}}, code = :code, reason = :reason, fence = fence + 1 {_HELD}
"""
_REJECTED = f"""
UPDATE ktpsync_delivery SET state = 'rejected', owner = NULL, code = :code, reason = :reason,
  settled_ms = {{now}} {_HELD}
"""
_RETURNED = f"""
UPDATE ktpsync_delivery SET owner = NULL, due_ms = {{now}} + :delay, attempts = attempts - 1, fence = fence + 1,
  reason = COALESCE(:reason, reason) {_HELD}
"""
_STILL_OPEN = {
    "sqlite": """
SELECT id, fence FROM ktpsync_delivery WHERE state = 'open' AND id IN (SELECT value FROM json_each(:ids))
""",
    "postgresql": """
SELECT id, fence FROM ktpsync_delivery
WHERE state = 'open' AND id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:ids AS JSON)))
ORDER BY id FOR UPDATE
""",
}
_RENEW = f"UPDATE ktpsync_delivery SET due_ms = {{now}} + :lease {_HELD}"
_UNPARK = """
UPDATE ktpsync_delivery SET due_ms = {now} + CASE WHEN owner IS NULL THEN 0 ELSE :lease END
WHERE dest = :dest AND state = 'open' AND urgent IN (0, 1) AND due_ms > {now} + :horizon
"""
_RECALL = """
UPDATE ktpsync_delivery SET due_ms = {now}
WHERE dest = :dest AND state = 'open' AND urgent IN (0, 1) AND owner IS NULL AND due_ms > {now}
  AND (failures = 0 OR EXISTS (SELECT 1 FROM ktpsync_packet p
    WHERE p.packet_id = ktpsync_delivery.packet_id AND p.location = 'offloaded'))
"""
_NEXT = """
SELECT MIN(due_ms) FROM (
  SELECT * FROM (SELECT due_ms FROM ktpsync_delivery
    WHERE dest = :dest AND state = 'open' AND urgent = 0 ORDER BY due_ms LIMIT 1) ordinary
  UNION ALL
  SELECT * FROM (SELECT due_ms FROM ktpsync_delivery
    WHERE dest = :dest AND state = 'open' AND urgent = 1 ORDER BY due_ms LIMIT 1) hurried) first_ones
"""
_BY_PERSON = """
UPDATE ktpsync_delivery SET state = :state, owner = NULL, fence = fence + 1, due_ms = {now},
  settled_ms = CASE WHEN :state = 'open' THEN NULL ELSE {now} END,
  failures = CASE WHEN :state = 'open' THEN 0 ELSE failures END,
  failing_ms = CASE WHEN :state = 'open' THEN 0 ELSE failing_ms END,
  last_failure_ms = CASE WHEN :state = 'open' THEN NULL ELSE last_failure_ms END,
  code = COALESCE(:code, code), reason = COALESCE(:reason, reason)
WHERE packet_id = :packet_id AND dest = :dest
"""

# One that was requeued because the person is not registered may stay away.
_THERE = """
SELECT p.status FROM ktpsync_packet p JOIN ktpsync_delivery d ON d.packet_id = p.packet_id
WHERE p.packet_id = :packet_id AND d.dest = :dest AND p.status IS NOT NULL AND (d.code IS NULL OR d.code <> :code)
  AND EXISTS (SELECT 1 FROM ktpsync_audit a WHERE a.packet_id = :packet_id AND a.event = 'status' AND a.dest = :dest)
"""


class Deliveries:
    """The deliveries of one outbox and their leases."""

    def __init__(
        self, database: Database, spool: Spool, audit: AuditTrail, destinations: Destinations, clock: Clock
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._destinations = destinations
        self._clock = clock

    def claim(self, dest: str, *, limit: int, lease_ms: int, owner: str, now: int | None) -> list[Lease]:
        """Lease up to ``limit`` due deliveries, urgent ones first."""
        bound = {"dest": dest, "count": limit, "lease": lease_ms, "owner": owner, "now": now}
        with self._database.write() as transaction:
            rows = self._database.rows(transaction, _CLAIM, bound)
        leases = [
            Lease(
                delivery_id=row.id,
                destination=dest,
                packet=self._spool.packet(row.packet_id, row.sha256, row.size),
                owner=owner,
                fence=row.fence,
                urgent=bool(row.urgent),
                attempts=row.attempts,
                failures=row.failures,
                failing_ms=row.failing_ms,
                last_failure_ms=row.last_failure_ms,
            )
            for row in rows
        ]
        return sorted(leases, key=lambda lease: (not lease.urgent, lease.delivery_id))

    def renew(self, leases: Sequence[Lease], *, lease_ms: int, now: int | None) -> list[Lease]:
        """Prolong leases; return those that are lost."""
        lost = []
        with self._database.write() as transaction:
            for lease in leases:
                bound = {"id": lease.delivery_id, "fence": lease.fence, "lease": lease_ms, "now": now}
                if self._database.change(transaction, _RENEW, bound) == 0:
                    lost.append(lease)
        return lost

    def apply(self, dest: str, outcomes: Sequence[Outcome], *, now: int | None) -> list[Lease]:
        """Write down how attempts ended, in one transaction; return the leases that were lost."""
        at_ms = self._clock.now_ms()
        # Made before the transaction, in which all others wait.
        ends = [_end(outcome, at_ms, now) for outcome in outcomes]
        with self._database.write() as transaction:
            kept = (
                self._write_one(transaction, ends) if len(ends) == 1 else self._write_batch(transaction, ends)
            )
            told = [end.told for end in kept if end.told is not None]
            told += self._destinations.learn(transaction, dest, [end.outcome for end in kept])
            self._audit.append(transaction, told)
        if len(kept) == len(ends):
            return []
        written = {end.outcome.lease.delivery_id for end in kept}
        return [outcome.lease for outcome in outcomes if outcome.lease.delivery_id not in written]

    def _write_one(self, transaction: Connection, ends: Sequence[_End]) -> Sequence[_End]:
        """Write a single outcome: its statement tells whether the lease was still held."""
        (end,) = ends
        return ends if self._database.change(transaction, end.statement, end.bound) else []

    def _write_batch(self, transaction: Connection, ends: Sequence[_End]) -> Sequence[_End]:
        """Write outcomes with one statement a kind; which leases are still held is read first, under a lock."""
        ids = json.dumps([end.outcome.lease.delivery_id for end in ends])
        query = _STILL_OPEN[self._database.kind]
        fences = {row.id: row.fence for row in self._database.rows(transaction, query, {"ids": ids})}
        kept = [end for end in ends if fences.get(end.outcome.lease.delivery_id) == end.outcome.lease.fence]
        grouped: dict[str, list[dict[str, str | int | None]]] = {}
        for end in kept:
            grouped.setdefault(end.statement, []).append(end.bound)
        for statement, rows in grouped.items():
            self._database.change(transaction, statement, rows)
        return kept

    def next_due_ms(self, dest: str) -> int | None:
        """Return when the next delivery is due or its lease ends; ``None`` if all are settled."""
        with self._database.read() as connection:
            due: int | None = connection.execute(self._database.sql(_NEXT), {"dest": dest}).scalar()
        return due

    def unpark(self, dest: str, *, lease_ms: int, now: int | None) -> int:
        """Bring back what a clock that jumped back has put into the far future; return how many."""
        bound = {"dest": dest, "lease": lease_ms, "horizon": HORIZON_MS, "now": now}
        with self._database.write() as connection:
            return connection.execute(self._database.sql(_UNPARK), bound).rowcount

    def recall(self, dest: str, *, now: int | None) -> int:
        """Make packets due now whose bytes were not at hand, and no others that failed; return how many."""
        bound = {"dest": dest, "now": now}
        with self._database.write() as connection:
            return connection.execute(self._database.sql(_RECALL), bound).rowcount

    def decide(
        self,
        packet_id: str,
        dest: str,
        state: DeliveryState,
        *,
        event: str,
        who: str,
        why: str,
        now: int | None,
    ) -> None:
        """Carry out a person's decision on one delivery and tell it in the audit trail.

        Raises:
            UnknownPacketError: There is no such delivery.
            WrongStateError: Its state does not allow this; nothing was changed.
            ConfigError: Nobody, or no reason, is named.
        """
        check_decision(who, why)
        written = OPEN if state is DeliveryState.PENDING else state.value
        with self._database.write() as connection:
            row = connection.execute(
                self._database.sql(
                    "SELECT state, owner IS NOT NULL AND due_ms > {now} AS held FROM ktpsync_delivery "
                    "WHERE packet_id = :packet_id AND dest = :dest"
                    + (" FOR UPDATE" if self._database.kind == "postgresql" else "")
                ),
                {"packet_id": packet_id, "dest": dest, "now": now},
            ).first()
            if row is None:
                raise UnknownPacketError(
                    f"This outbox has no delivery of packet {called(packet_id)} to {dest!r}."
                )
            before = row.state
            if before != OPEN:
                standing = DeliveryState(before)
            else:
                standing = DeliveryState.LEASED if row.held else DeliveryState.PENDING
            if not may_decide(standing, state):
                raise WrongStateError(
                    f"Packet {packet_id} is {standing.value} at {dest} and cannot become {state.value} by decision. "
                    "Nothing was changed; `ktpsync status` with its id shows its history."
                )
            if state is DeliveryState.CANCELLED and before == OPEN:
                self._refuse_if_there(connection, packet_id, dest)
            connection.execute(
                self._database.sql(_BY_PERSON),
                {
                    "packet_id": packet_id,
                    "dest": dest,
                    "state": written,
                    "now": now,
                    # What was found before is no reason for what a person has decided.
                    "code": None if written == OPEN else event,
                    "reason": None if written == OPEN else f"{plain(who)}: {anonymous(why)}",
                },
            )
            if before == "delivered":
                self._destinations.count(connection, dest, -1)
            told = entry(
                event,
                at_ms=self._clock.now_ms(),
                packet_id=packet_id,
                destination=dest,
                who=plain(who),
                why=plain(why),
                before=before,
            )
            self._audit.append(connection, [told])

    def _refuse_if_there(self, connection: Connection, packet_id: str, dest: str) -> None:
        """Refuse to cancel what a centre has already: its status of the packet proves that, without being a receipt."""
        row = connection.execute(
            self._database.sql(_THERE), {"packet_id": packet_id, "dest": dest, "code": NOT_REGISTERED}
        ).first()
        if row is not None and row.status not in RESEND_STATUSES:
            raise WrongStateError(
                f"Packet {packet_id} is at {dest} already: its status there is {row.status}. Nothing was changed; `ktpsync sync` "
                "gets the receipt."
            )


@frozen
class _End:
    """An outcome with the statement that writes it, its values, and what the trail tells of it."""

    outcome: Outcome
    statement: str
    bound: dict[str, str | int | None]
    told: AuditEntry | None


def _end(outcome: Outcome, at_ms: int, now: int | None) -> _End:
    """Return what is to be written of an outcome."""
    lease = outcome.lease
    bound: dict[str, str | int | None] = {"id": lease.delivery_id, "fence": lease.fence, "now": now}
    if isinstance(outcome, Delivered):
        bound["receipt"], stored_at = outcome.kept
        facts = {"sha256": outcome.receipt.sha256, "stored_at": stored_at}
        return _End(outcome, _DELIVERED, bound, _told("delivered", lease, at_ms, facts))
    if isinstance(outcome, Returned):
        # What keeps the destination away is told of the destination; what keeps this packet, of the packet.
        reason = outcome.reason if outcome.reason and not outcome.unavailable else None
        bound |= {"delay": outcome.delay_ms, "reason": reason}
        return _End(outcome, _RETURNED, bound, None)
    facts = {"code": outcome.code, "reason": outcome.reason}
    bound |= facts
    if isinstance(outcome, Rejected):
        return _End(outcome, _REJECTED, bound, _told("rejected", lease, at_ms, facts))
    bound |= {"delay": min(outcome.delay_ms, HORIZON_MS), "failing": outcome.failing_ms}
    return _End(outcome, _FAILED, bound, _told("failed", lease, at_ms, facts))


def _told(event: str, lease: Lease, at_ms: int, facts: dict[str, str]) -> AuditEntry:
    packet_id = lease.packet.packet_id
    return entry(event, at_ms=at_ms, packet_id=packet_id, destination=lease.destination, **facts)
