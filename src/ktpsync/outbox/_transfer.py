"""The outbox's state as records for a backup, and back into an empty outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.errors import OutboxError
from ktpsync.outbox._audit import PARTLY_RESTORED, entry, from_row
from ktpsync.outbox._backfill import backfill_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._values import AuditEntry

    Record = Mapping[str, object]

FORMAT = 1
"""Version of the records. A reader refuses a higher one."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "packet": (
        "packet_id",
        "sha256",
        "size",
        "reference",
        "fingerprint",
        "person",
        "urgent",
        "created_ms",
        "location",
        "status",
        "status_ms",
    ),
    "delivery": (
        "packet_id",
        "dest",
        "state",
        "urgent",
        "size",
        "due_ms",
        "fence",
        "attempts",
        "failures",
        "failing_ms",
        "last_failure_ms",
        "code",
        "reason",
        "receipt",
        "settled_ms",
        "verified_ms",
    ),
    "status": ("packet_id", "status", "changed_ms", "note"),
    "audit": ("seq", "at_ms", "event", "packet_id", "dest", "who", "detail", "hash"),
    "destination": ("dest", "kind", "required", "active", "paused", "cursor", "settings"),
}
"""What of each table goes into a record. Numbers that only this database knows stay behind."""

_BINARY = frozenset({"fingerprint", "person"})
_CHANGED = """
SELECT a.seq, a.packet_id FROM ktpsync_audit a
WHERE a.seq > :after AND a.packet_id IS NOT NULL
  AND a.seq = (SELECT MAX(b.seq) FROM ktpsync_audit b WHERE b.packet_id = a.packet_id)
ORDER BY a.seq LIMIT :count
"""
_PAGE = 500


class Transfer:
    """Exports and imports the whole state of one outbox."""

    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, *, outbox_id: str) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._outbox_id = outbox_id

    def export(self, after: int) -> Iterator[dict[str, object]]:
        """Yield the records; see :meth:`Outbox.export`."""
        self._audit.chain()
        with self._database.read(consistent=True) as connection:
            sql = self._database.sql
            sequence = connection.execute(sql("SELECT seq FROM ktpsync_chain")).scalar_one()
            first = connection.execute(sql("SELECT MIN(seq) FROM ktpsync_audit")).scalar() or 1
            yield {
                "kind": "outbox",
                "format": FORMAT,
                "outbox_id": self._outbox_id,
                "after": after,
                "sequence": sequence,
            }
            names = COLUMNS["destination"]
            for row in connection.execute(
                sql(f"SELECT {', '.join(names)} FROM ktpsync_destination ORDER BY dest")
            ):
                yield {"kind": "destination", "destination": _plain(row, names)}
            # What retention removed from the trail cannot tell which packets changed.
            pages = (
                self._all_ids(connection)
                if after + 1 < first or after == 0
                else self._changed_ids(connection, after)
            )
            for ids in pages:
                yield from self._packets(connection, ids)
            names = COLUMNS["audit"]
            for row in connection.execute(
                sql(
                    f"SELECT {', '.join(names)} FROM ktpsync_audit WHERE (seq > :after OR seq IS NULL) "
                    "AND packet_id IS NULL ORDER BY seq"
                ),
                {"after": after},
            ):
                yield {"kind": "audit", "audit": _plain(row, names)}

    def import_state(self, records: Iterable[Record], *, former: Callable[[], tuple[int, str]] | None) -> int:
        """Take records into an empty outbox; see :meth:`Outbox.import_state`."""
        sql = self._database.sql
        with self._database.write() as connection:
            if connection.execute(sql("SELECT 1 FROM ktpsync_packet LIMIT 1")).first() is not None:
                raise OutboxError(
                    "The outbox is not empty. A state is restored into a new outbox only; nothing was changed."
                )
            connection.execute(sql("DELETE FROM ktpsync_audit"))
            self._take_all(connection, records)
            count: int = connection.execute(sql("SELECT COUNT(*) FROM ktpsync_packet")).scalar_one()
            backfill_all(self._database, connection, self._clock.now_ms())
            connection.execute(
                sql(
                    "UPDATE ktpsync_destination SET delivered = (SELECT COUNT(*) FROM ktpsync_delivery d "
                    "WHERE d.dest = ktpsync_destination.dest AND d.state = 'delivered')"
                )
            )
            self._rechain(connection, count, None if former is None else former())
        return count

    def _take_all(self, connection: Connection, records: Iterable[Record]) -> None:
        known: set[str] = set()
        page: dict[str, Record] = {}
        for record in records:
            if record["kind"] != "packet":
                self._take(connection, record)
                continue
            page[str(_mapping(record["packet"])["packet_id"])] = record
            if len(page) == _PAGE:
                self._take_packets(connection, page, known)
                page = {}
        self._take_packets(connection, page, known)

    def _rechain(self, connection: Connection, count: int, former: tuple[int, str] | None) -> None:
        sql = self._database.sql
        names = ", ".join(COLUMNS["audit"])
        # Of a part the numbers have gaps and the hashes prove nothing.
        which = "seq IS NULL" if former is None else "1 = 1"
        order = "ORDER BY CASE WHEN seq IS NULL THEN 1 ELSE 0 END, seq, id"
        rows = connection.execute(sql(f"SELECT {names} FROM ktpsync_audit WHERE {which} {order}")).all()
        connection.execute(sql(f"DELETE FROM ktpsync_audit WHERE {which}"))
        connection.execute(
            sql("UPDATE ktpsync_chain SET seq = COALESCE((SELECT MAX(seq) FROM ktpsync_audit), 0)")
        )
        at_ms = self._clock.now_ms()
        told = entry("restored", at_ms=at_ms, packets=count)
        if former is not None:
            told = entry(PARTLY_RESTORED, at_ms=at_ms, packets=count, seq=former[0], hash=former[1])
        self._audit.append(connection, [*(from_row(row) for row in rows), told])

    def _all_ids(self, connection: Connection) -> Iterator[Sequence[str]]:
        after = ""
        while ids := (
            connection.execute(
                self._database.sql(
                    "SELECT packet_id FROM ktpsync_packet WHERE packet_id > :after ORDER BY packet_id LIMIT :count"
                ),
                {"after": after, "count": _PAGE},
            )
            .scalars()
            .all()
        ):
            yield ids
            after = ids[-1]

    def _changed_ids(self, connection: Connection, after: int) -> Iterator[Sequence[str]]:
        while rows := connection.execute(
            self._database.sql(_CHANGED), {"after": after, "count": _PAGE}
        ).all():
            yield [row.packet_id for row in rows]
            after = rows[-1].seq
        unchained = connection.execute(
            self._database.sql(
                "SELECT DISTINCT packet_id FROM ktpsync_audit WHERE seq IS NULL AND packet_id IS NOT NULL"
            )
        )
        if ids := unchained.scalars().all():
            yield ids

    def _packets(self, connection: Connection, ids: Sequence[str]) -> Iterator[dict[str, object]]:
        def rows(table: str, order: str) -> dict[str, list[dict[str, object]]]:
            names = COLUMNS[table]
            statement = self._database.among(
                f"SELECT {', '.join(names)} FROM ktpsync_{table} WHERE packet_id IN :ids ORDER BY {order}",
                "ids",
            )
            found: dict[str, list[dict[str, object]]] = {}
            for row in connection.execute(statement, {"ids": list(ids)}):
                found.setdefault(row.packet_id, []).append(_plain(row, names))
            return found

        packets, deliveries = rows("packet", "packet_id"), rows("delivery", "id")
        statuses, audit = rows("status", "id"), rows("audit", "id")
        for packet_id, (packet,) in packets.items():
            yield {
                "kind": "packet",
                "packet": packet,
                "deliveries": deliveries.get(packet_id, []),
                "statuses": statuses.get(packet_id, []),
                "audit": audit.get(packet_id, []),
            }

    def _take(self, connection: Connection, record: Record) -> None:
        kind = record["kind"]
        if kind == "outbox":
            if not isinstance(record["format"], int) or record["format"] > FORMAT:
                raise OutboxError(
                    f"The saved outbox state has format {record['format']}; this release reads {FORMAT}. "
                    "Restore it with a newer ktpsync."
                )
        elif kind == "destination":
            self._take_destination(connection, _mapping(record["destination"]))
        elif kind == "audit":
            self._take_entry(connection, _mapping(record["audit"]))
        else:
            raise OutboxError(f"The saved outbox state has a record of the unknown kind {kind!r}.")

    def _take_packets(self, connection: Connection, page: Mapping[str, Record], known: set[str]) -> None:
        """Take packets, each of them once.

        Args:
            connection: The transaction.
            page: Their records, by packet id.
            known: Packets taken before; these are added.
        """
        # A later snapshot's record of a packet replaces an earlier one whole.
        again = [{"packet_id": packet_id} for packet_id in page if packet_id in known]
        if again:
            for table in ("delivery", "status", "audit", "packet"):
                statement = f"DELETE FROM ktpsync_{table} WHERE packet_id = :packet_id"
                connection.execute(self._database.sql(statement), again)
        known.update(page)
        now_ms = self._clock.now_ms()
        records = page.values()
        self._insert(connection, "packet", [_mapping(record["packet"]) for record in records])
        self._insert(
            connection,
            "delivery",
            [
                # Who held a lease is gone with the old machine; the higher fence shuts it out should it come back.
                {**item, "fence": _number(item["fence"]) + 1, "due_ms": min(_number(item["due_ms"]), now_ms)}
                if item["state"] == "open"
                else item
                for record in records
                for item in _mappings(record["deliveries"])
            ],
        )
        for table, key in (("status", "statuses"), ("audit", "audit")):
            self._insert(connection, table, [item for record in records for item in _mappings(record[key])])

    def _take_destination(self, connection: Connection, record: Record) -> None:
        sql = self._database.sql
        names = COLUMNS["destination"]
        bound = {name: record[name] for name in names}
        known = connection.execute(
            sql(
                "UPDATE ktpsync_destination SET cursor = :cursor, paused = :paused, settings = :settings, "
                # Couriers are as this outbox's configuration says; copies that were given up stay so.
                "active = CASE WHEN kind = 'copy' THEN :active ELSE active END WHERE dest = :dest"
            ),
            bound,
        ).rowcount
        if not known:
            connection.execute(
                sql(
                    f"INSERT INTO ktpsync_destination ({', '.join(names)}, breaker, fail_run, opened, until_ms, "
                    f"throttled_ms, epoch, delivered) VALUES ({', '.join(f':{name}' for name in names)}, "
                    "'closed', 0, 0, 0, 0, 0, 0)"
                ),
                bound,
            )

    def _take_entry(self, connection: Connection, record: Record) -> None:
        connection.execute(
            self._database.sql("DELETE FROM ktpsync_audit WHERE seq = :seq"), {"seq": record["seq"]}
        )
        self._insert(connection, "audit", [record])

    def _insert(self, connection: Connection, table: str, rows: Sequence[Record]) -> None:
        if not rows:
            return
        names = COLUMNS[table]
        bound = [{name: _bound(name, row[name]) for name in names} for row in rows]
        connection.execute(
            self._database.sql(
                f"INSERT INTO ktpsync_{table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            ),
            bound,
        )


def as_record(item: AuditEntry) -> dict[str, object]:
    """Return an entry that is not yet chained as a record has it."""
    return {name: getattr(item, "destination" if name == "dest" else name) for name in COLUMNS["audit"]}


def _plain(row: Row[tuple[object, ...]], names: Sequence[str]) -> dict[str, object]:
    """Return a row as JSON knows it: bytes in hexadecimal."""
    values: dict[str, object] = dict(zip(names, tuple(row), strict=True))
    for name in _BINARY & values.keys():
        value = values[name]
        if isinstance(value, (bytes, memoryview)):
            values[name] = bytes(value).hex()
    return values


def _bound(name: str, value: object) -> object:
    return bytes.fromhex(value) if name in _BINARY and isinstance(value, str) else value


def _mapping(value: object) -> Record:
    if not isinstance(value, dict):
        raise OutboxError("The saved outbox state is damaged: a record is not what its kind says.")
    return value


def _mappings(value: object) -> list[Record]:
    if not isinstance(value, list):
        raise OutboxError("The saved outbox state is damaged: a record is not what its kind says.")
    return [_mapping(item) for item in value]


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise OutboxError("The saved outbox state is damaged: a number is missing.")
    return value
