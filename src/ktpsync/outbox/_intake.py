"""How a sealed packet gets in: its bytes durable in the spool first, its rows committed second."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ktpsync.errors import (
    ConfigError,
    OutboxError,
    OutboxUnavailableError,
    PacketError,
    ReferenceConflictError,
)
from ktpsync.outbox._audit import entry
from ktpsync.outbox._backfill import heed
from ktpsync.outbox._failures import TranslatedErrors, driver_error_of, is_deadlock, is_no_such_table
from ktpsync.outbox._schema import HEAD, check_still_ours
from ktpsync.outbox._spool import check_digest
from ktpsync.outbox._values import Submitted
from ktpsync.packet import parse_packet_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._storage import Storage
    from ktpsync.outbox._unrecorded import Unrecorded
    from ktpsync.outbox._values import AuditEntry, Submission

_COLUMNS = "packet_id, sha256, size, reference, fingerprint, person, urgent, created_ms, location"
_VALUES = ":packet_id, :sha256, :size, :reference, :fingerprint, :person, :urgent, :created_ms, 'spool'"
_INSERT = f"INSERT INTO ktpsync_packet ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT DO NOTHING"
_INSERT_IN_THIS_OUTBOX = f"""
INSERT INTO ktpsync_packet ({_COLUMNS}) SELECT {_VALUES}
WHERE EXISTS (SELECT 1 FROM ktpsync_outbox WHERE outbox_id = :outbox_id)
  AND EXISTS (SELECT 1 FROM ktpsync_version WHERE version_num = '{HEAD}') ON CONFLICT DO NOTHING
"""
_DELIVERIES = """
INSERT INTO ktpsync_delivery (packet_id, dest, state, urgent, size, due_ms)
SELECT :packet_id, dest, 'open', :urgent, :size, {now} FROM ktpsync_destination WHERE active > 0
"""
_UPGRADED = """
SELECT v.version_num AS version FROM ktpsync_outbox o, ktpsync_version v WHERE o.outbox_id = :outbox_id
"""
_TAKE_BACK = "DELETE FROM ktpsync_packet WHERE packet_id = :packet_id"
_EXISTING = """
SELECT packet_id, sha256, size, fingerprint FROM ktpsync_packet WHERE packet_id = :packet_id
UNION ALL
SELECT packet_id, sha256, size, fingerprint FROM ktpsync_packet WHERE reference = :reference AND packet_id <> :packet_id
"""
_SAME_PERSON = """
SELECT p.packet_id FROM ktpsync_packet p
WHERE p.person = :person AND p.packet_id <> :packet_id AND (EXISTS (
  SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
  WHERE d.packet_id = p.packet_id AND d.state = 'open' AND t.kind = 'courier')
 OR NOT EXISTS (
  SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
  WHERE d.packet_id = p.packet_id AND t.kind = 'courier'))
ORDER BY p.packet_id LIMIT 10
"""

_DEADLOCKS = 10
"""So often a submission gives way to others; each time one of them has been stored meanwhile."""


def _turn(item: Submission) -> tuple[str, str]:
    """Return what a packet is inserted in the order of: what others may have taken, the reference before the id."""
    return (item.reference, "") if item.reference is not None else ("", item.packet_id)


def _refused(submissions: Sequence[Submission], results: Sequence[Submitted | OutboxError]) -> list[str]:
    """Return the packets that were not taken: others, or none, stand for them."""
    return [
        submission.packet_id
        for submission, result in zip(submissions, results, strict=True)
        if isinstance(result, OutboxError) or result.packet.packet_id != submission.packet_id
    ]


class _TakenError(Exception):
    """A packet id or reference is taken: each submission is to be looked at by itself."""


class Intake:
    """Stores submissions. See the invariants 1 to 3 in the documentation of the outbox."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        audit: AuditTrail,
        clock: Clock,
        *,
        storage: Storage,
        unrecorded: Unrecorded,
        outbox_id: str,
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._clock = clock
        self._storage = storage
        self._unrecorded = unrecorded
        self._outbox_id = outbox_id

    def submit(self, submission: Submission, now: int | None, connection: sa.Connection | None) -> Submitted:
        """Store one packet; see :meth:`Outbox.submit`."""
        self._database.check()
        parse_packet_id(submission.packet_id)
        self._storage.admit(len(submission.sealed))
        self._write(submission)
        result = self._record([submission], now, connection)[0]
        if isinstance(result, OutboxError):
            raise result
        return result

    def submit_many(
        self, submissions: Sequence[Submission], now: int | None, connection: sa.Connection | None
    ) -> list[Submitted | OutboxError | PacketError]:
        """Store several packets with one commit; see :meth:`Outbox.submit_many`."""
        self._database.check()
        results: dict[int, Submitted | OutboxError | PacketError] = {}
        good: dict[int, Submission] = {}
        for number, submission in enumerate(submissions):
            try:
                parse_packet_id(submission.packet_id)
                check_digest(submission.packet_id, submission.sealed, submission.sha256)
            except PacketError as error:
                results[number] = error
            else:
                good[number] = submission
        self._storage.admit(sum(len(submission.sealed) for submission in good.values()))
        if not self._write_together(good.values()):
            for number, submission in list(good.items()):
                try:
                    self._write(submission)
                except OutboxError as error:
                    results[number] = error
                    del good[number]
        if good:
            results.update(zip(good, self._record(list(good.values()), now, connection), strict=True))
        return [results[number] for number in sorted(results)]

    def _write_together(self, submissions: Collection[Submission]) -> bool:
        """Make the bytes of several packets durable at once, if all their names are free."""
        sealed = {submission.packet_id: submission.sealed for submission in submissions}
        if len(sealed) < len(submissions):
            return False
        try:
            self._spool.write_many(sealed)
        except FileExistsError:
            return False
        return True

    def _write(self, submission: Submission) -> None:
        """Make the bytes durable, or find them durable already."""
        while True:
            try:
                self._spool.write(submission.packet_id, submission.sealed, submission.sha256)
            except FileExistsError:
                pass
            else:
                return
            found = self._spool.read(submission.packet_id)
            if found is None:
                continue  # removed between the two calls, because another submission of it was refused
            if found != submission.sealed:
                raise ReferenceConflictError(
                    f"The spool holds other bytes under the packet id {submission.packet_id}. Nothing was stored; "
                    "seal the enrollment again, which gives it an id of its own.",
                    packet_id=submission.packet_id,
                )
            self._spool.settle(submission.packet_id)
            return

    def _record(
        self, submissions: Sequence[Submission], now: int | None, connection: sa.Connection | None
    ) -> list[Submitted | OutboxError]:
        if connection is not None:
            results = self._join(connection, submissions, now)
            with TranslatedErrors():
                for packet_id in _refused(submissions, results):
                    self._unrecorded.remove_within(connection, packet_id)
            return results
        results = self._insert_alone(submissions, now)
        # The rows are committed: a disk or a database that fails from here on makes nothing undone.
        try:
            self._clear_up(submissions, results)
        except Exception as error:
            if not isinstance(error, OutboxError | OSError) and driver_error_of(error) is None:
                raise
        return results

    def _clear_up(
        self, submissions: Sequence[Submission], results: Sequence[Submitted | OutboxError]
    ) -> None:
        """Mark the files of what was stored, and remove those of what was not."""
        self._spool.keep(
            result.packet_id for result in results if isinstance(result, Submitted) and result.created
        )
        for packet_id in _refused(submissions, results):
            self._unrecorded.remove(packet_id)

    def _insert_alone(
        self, submissions: Sequence[Submission], now: int | None
    ) -> list[Submitted | OutboxError]:
        for _ in range(_DEADLOCKS):
            try:
                return self._insert_once(submissions, now)
            except OutboxUnavailableError as error:
                # Somebody took the same packets or references in another order: the server has let the other one go on.
                if not is_deadlock(error):
                    raise
        return self._insert_once(submissions, now)

    def _insert_once(
        self, submissions: Sequence[Submission], now: int | None
    ) -> list[Submitted | OutboxError]:
        if len(submissions) > 1:
            with contextlib.suppress(_TakenError), self._database.write() as own:
                return self._insert(own, submissions, now, _INSERT, chained=True, together=True)
        with self._database.write() as own:
            return self._insert(own, submissions, now, _INSERT, chained=True)

    def _join(
        self, connection: sa.Connection, submissions: Sequence[Submission], now: int | None
    ) -> list[Submitted | OutboxError]:
        """Put the rows into the caller's transaction; committing is the caller's business."""
        elsewhere = ConfigError(
            "The given connection does not lead to this outbox: its tables with this outbox's id are not there. "
            f"Nothing was submitted; open the outbox on the application's own database. It is in {self._database.address}."
        )
        from sqlalchemy import Connection as Given  # noqa: PLC0415 - who gives one has imported it

        if not isinstance(connection, Given):
            raise ConfigError(
                f"connection= takes a connection of SQLAlchemy, not {type(connection).__module__}."
                f"{type(connection).__qualname__}. Nothing was submitted. A session gives its own: "
                "`session.connection()`; `ktpsync.borrowed_connection` lends the one of sqlite3, psycopg or Django."
            )
        chained = self._database.kind == "sqlite"
        statement = _INSERT_IN_THIS_OUTBOX if chained else _INSERT
        try:
            with TranslatedErrors():
                # On SQLite nothing may be read before the first write: a caller's deferred transaction
                # that has read an older state cannot write any more.
                if chained or self._is_ours(connection):
                    return self._insert(connection, submissions, now, statement, chained=chained)
        except LookupError:
            # No row was written: it is another outbox, or another release has upgraded this one.
            for row in self._database.rows(connection, _UPGRADED, {"outbox_id": self._outbox_id}):
                check_still_ours(row.version, self._database.address)
            raise elsewhere from None
        except Exception as error:
            if is_no_such_table(error):
                raise elsewhere from error
            raise
        raise elsewhere

    def _is_ours(self, connection: sa.Connection) -> bool:
        if connection.dialect.name != "postgresql":
            return False
        query = (
            "SELECT current_setting('transaction_isolation') AS isolation, v.version_num AS version "
            "FROM ktpsync_outbox o, ktpsync_version v WHERE o.outbox_id = :outbox_id"
        )
        found = self._database.rows(connection, query, {"outbox_id": self._outbox_id})
        if found:
            check_still_ours(found[0].version, self._database.address)
        if found and found[0].isolation != "read committed":
            heed(self._database, connection)
        return bool(found)

    def _insert(
        self,
        transaction: Connection,
        submissions: Sequence[Submission],
        now: int | None,
        statement: str,
        *,
        chained: bool,
        together: bool = False,
    ) -> list[Submitted | OutboxError]:
        """Write the rows.

        Raises:
            _TakenError: They were to be written together, and a packet id or reference is taken already.
        """
        change = self._database.change
        created_ms = self._clock.now_ms()
        rows = [self._row(item, created_ms) for item in submissions]
        # All insert in one order: two who submit the same packets never wait for each other in a circle.
        turns: Sequence[int] = range(len(rows))
        if len(rows) > 1:
            turns = sorted(turns, key=lambda number: _turn(submissions[number]))
        if not together:
            created = {number for number in turns if change(transaction, statement, rows[number])}
        elif change(transaction, statement, [rows[number] for number in turns]) == len(rows):
            created = set(turns)
        else:
            raise _TakenError
        results: list[Submitted | OutboxError] = []
        deliveries: list[dict[str, str | int | None]] = []
        told: list[AuditEntry] = []
        persons: dict[bytes, list[str]] = {}
        batch = {item.packet_id for item in submissions}
        for number, item in enumerate(submissions):
            if number not in created:
                results.append(self._existing(transaction, item))
                continue
            size = len(item.sealed)
            deliveries.append(
                {"packet_id": item.packet_id, "urgent": int(item.urgent), "size": size, "now": now}
            )
            told.append(
                entry(
                    "submitted",
                    at_ms=created_ms,
                    packet_id=item.packet_id,
                    sha256=item.sha256,
                    size=size,
                    reference=item.reference,
                )
            )
            packet = self._spool.packet(item.packet_id, item.sha256, size)
            same_person = self._same_person(transaction, item, persons, batch)
            results.append(Submitted(packet=packet, created=True, same_person=same_person))
        if deliveries:
            self._hold_on(transaction, submissions, [submissions[number].packet_id for number in created])
            change(transaction, _DELIVERIES, deliveries)
            if chained:
                self._storage.count(transaction, sum(len(submissions[number].sealed) for number in created))
        self._audit.append(transaction, told, chained=chained)
        return results

    def _hold_on(
        self, transaction: Connection, submissions: Sequence[Submission], created: Collection[str]
    ) -> None:
        """Write bytes again that were removed before their row was there; from now on nobody does that."""
        try:
            lacking = self._spool.lacking(created)
            for item in submissions:
                if item.packet_id in lacking:
                    self._write(item)
        except BaseException:
            # A caller may commit its transaction all the same.
            rows = [{"packet_id": packet_id} for packet_id in created]
            self._database.change(transaction, _TAKE_BACK, rows)
            raise

    def _row(self, item: Submission, created_ms: int) -> dict[str, str | int | bytes | None]:
        return {
            "packet_id": item.packet_id,
            "sha256": item.sha256,
            "size": len(item.sealed),
            "reference": item.reference,
            "fingerprint": item.fingerprint,
            "person": item.person,
            "urgent": int(item.urgent),
            "created_ms": created_ms,
            "outbox_id": self._outbox_id,
        }

    def _same_person(
        self,
        transaction: Connection,
        item: Submission,
        persons: dict[bytes, list[str]],
        batch: Collection[str],
    ) -> tuple[str, ...]:
        """Return the person's packets that are not delivered, those before it in this very batch included."""
        if item.person is None:
            return ()
        bound = {"person": item.person, "packet_id": item.packet_id}
        found = [row.packet_id for row in self._database.rows(transaction, _SAME_PERSON, bound)]
        before = persons.setdefault(item.person, [])
        same_person = (*(packet_id for packet_id in found if packet_id not in batch), *before)
        before.append(item.packet_id)
        return same_person

    def _existing(self, transaction: Connection, item: Submission) -> Submitted | ReferenceConflictError:
        bound = {"packet_id": item.packet_id, "reference": item.reference}
        found = self._database.rows(transaction, _EXISTING, bound)
        if not found:
            raise LookupError(item.packet_id)
        row = found[0]
        if row.packet_id == item.packet_id and row.sha256 != item.sha256:
            return ReferenceConflictError(
                f"Packet {item.packet_id} is in the outbox with other bytes. Nothing was stored; seal the enrollment "
                "again, which gives it an id of its own.",
                packet_id=row.packet_id,
            )
        if row.packet_id != item.packet_id and (
            item.fingerprint is None or row.fingerprint is None or bytes(row.fingerprint) != item.fingerprint
        ):
            return ReferenceConflictError(
                f"Another enrollment was submitted under the reference {item.reference!r}: packet {row.packet_id}. "
                "Nothing was stored; a correction needs a reference of its own.",
                packet_id=row.packet_id,
                reference=item.reference,
            )
        return Submitted(packet=self._spool.packet(row.packet_id, row.sha256, row.size), created=False)
