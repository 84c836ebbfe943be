"""The audit trail: entries in a chain of hashes, so that a changed or missing one shows.

Each entry's hash is SHA-256 over the hash before it and its own facts. An entry is written in the
transaction of the change that it tells of, and chained in the same transaction, as its last step.
The one exception is a transaction of the caller's own on PostgreSQL: holding the chain's end until
the caller commits would stop everybody else, so its entries are chained by whoever comes next.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.errors import ConfigError
from ktpsync.outbox._json import field, nullable, quoted
from ktpsync.outbox._schema import check_still_ours
from ktpsync.outbox._values import AuditEntry
from ktpsync.plain import anonymous

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database

_NEXT = """
UPDATE ktpsync_chain SET seq = seq + :count WHERE id = 1
RETURNING seq, (SELECT a.hash FROM ktpsync_audit a WHERE a.seq = ktpsync_chain.seq - :count) AS hash,
  (SELECT version_num FROM ktpsync_version) AS version
"""
_NEXT_LOCKED = "UPDATE ktpsync_chain SET seq = seq + :count WHERE id = 1 RETURNING seq"
_HEAD = """
SELECT (SELECT hash FROM ktpsync_audit WHERE seq = :seq) AS hash, (SELECT version_num FROM ktpsync_version) AS version
"""
_INSERT = """
INSERT INTO ktpsync_audit (seq, at_ms, event, packet_id, dest, who, detail, hash)
VALUES (:seq, :at_ms, :event, :packet_id, :destination, :who, :detail, :hash)
"""
_COLUMNS = "seq, at_ms, event, packet_id, dest, who, detail, hash"
_BATCH = 1000

PRUNED = "audit-pruned"
"""The event that stands for entries removed by retention: its detail names the last one and its hash."""

REBUILT = "rebuilt"
"""The event that a database made anew begins with: its detail names the last entry of the former trail and its hash."""

PARTLY_RESTORED = "partly-restored"
"""The event behind what a restore of some packets took over of a trail: its detail names that one's last entry and its hash."""


def entry(
    event: str,
    *,
    at_ms: int,
    packet_id: str | None = None,
    destination: str | None = None,
    who: str = "",
    **detail: str | int | None,
) -> AuditEntry:
    """Return a new entry, not yet chained. Facts that are ``None`` or empty are left out.

    What a person gives as the reason is kept for good, in clear: what looks like a name, a telephone number or a date of
    birth in it is masked.
    """
    if who and detail.get("why"):
        detail["why"] = anonymous(str(detail["why"]))
    facts = [field(key, value) for key, value in sorted(detail.items()) if value is not None and value != ""]
    return AuditEntry(
        seq=None,
        at_ms=at_ms,
        event=event,
        packet_id=packet_id,
        destination=destination,
        who=who,
        detail=f"{{{','.join(facts)}}}" if facts else "",
        hash=None,
    )


def check_decision(who: str, why: str) -> None:
    """Refuse a person's decision that names nobody, or no reason.

    Raises:
        ConfigError: It does.
    """
    if not who.strip() or not why.strip():
        raise ConfigError("Say who decides this and why: both are kept in the audit trail.")


def chain_hash(previous: str, item: AuditEntry, seq: int | None = None) -> str:
    """Return the hash of an entry behind the one with the hash ``previous`` (empty for the first).

    Args:
        previous: That hash.
        item: The entry.
        seq: The number that it is to get; its own if not given.
    """
    number = item.seq if seq is None else seq
    what = (
        f"{number},{item.at_ms},{quoted(item.event)},{nullable(item.packet_id)},{nullable(item.destination)}"
    )
    facts = f"[{what},{quoted(item.who)},{quoted(item.detail)}]"
    return hashlib.sha256(f"{previous}\n{facts}".encode()).hexdigest()


def from_row(row: Row[tuple[object, ...]]) -> AuditEntry:
    """Return an entry from the columns seq, at_ms, event, packet_id, dest, who, detail, hash."""
    return AuditEntry(
        seq=row.seq,
        at_ms=row.at_ms,
        event=row.event,
        packet_id=row.packet_id,
        destination=row.dest,
        who=row.who,
        detail=row.detail,
        hash=row.hash,
    )


@frozen(kw_only=True)
class AuditReport:
    """What verifying the audit trail found.

    Args:
        entries: How many entries were checked.
        seq: The number of the last one.
        head: Its hash. Kept elsewhere, such as in a signed backup, it proves later that nothing before it changed.
        problems: One sentence per problem; empty if the trail is whole.
        former: The numbers of the last entries of former trails, of which only a part was taken over: by a rebuild, or by a
            restore of some packets. Where nothing of a former one could be read it is 0.
    """

    entries: int
    seq: int
    head: str
    problems: tuple[str, ...]
    former: tuple[int, ...] = ()


class AuditTrail:
    """The audit trail of one outbox."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def append(self, transaction: Connection, entries: Sequence[AuditEntry], *, chained: bool = True) -> None:
        """Write entries in the caller's transaction, as its last step.

        Args:
            transaction: The transaction.
            entries: What to write, in order.
            chained: Whether to chain them now; otherwise :meth:`chain` does later.
        """
        if not entries:
            return
        rows = self._link(transaction, entries) if chained else [_parameters(item) for item in entries]
        self._database.change(transaction, _INSERT, rows)

    def chain(self) -> None:
        """Chain what callers' own transactions have left unchained."""
        if self._database.kind == "sqlite":
            return
        sql = self._database.sql
        while True:
            with self._database.write() as connection:
                rows = connection.execute(
                    sql(
                        f"SELECT id, {_COLUMNS} FROM ktpsync_audit WHERE seq IS NULL ORDER BY id LIMIT {_BATCH} {{lock}}"
                    )
                ).all()
                if not rows:
                    return
                linked = self._link(connection, [from_row(row) for row in rows])
                connection.execute(
                    sql("UPDATE ktpsync_audit SET seq = :seq, hash = :hash WHERE id = :id"),
                    [
                        {"id": row.id, "seq": item["seq"], "hash": item["hash"]}
                        for row, item in zip(rows, linked, strict=True)
                    ],
                )

    def sequence(self) -> int:
        """Return the number of the last entry; it rises with every change of state."""
        self.chain()
        with self._database.read() as connection:
            return int(connection.execute(self._database.sql("SELECT seq FROM ktpsync_chain")).scalar_one())

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last entry; 0 and nothing where there is none."""
        self.chain()
        with self._database.read() as connection:
            row = connection.execute(
                self._database.sql(
                    "SELECT seq, hash FROM ktpsync_audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
                )
            ).first()
        return (0, "") if row is None else (row.seq, row.hash)

    def holds(self, seq: int, known: str) -> bool:
        """Return whether the trail goes on from an entry that was its last one once.

        Args:
            seq: Its number.
            known: Its hash. What retention removed since cannot be compared.
        """
        last, _ = self.head()
        with self._database.read() as connection:
            sql = self._database.sql
            found = connection.execute(
                sql("SELECT hash FROM ktpsync_audit WHERE seq = :seq"), {"seq": seq}
            ).scalar()
            first = connection.execute(sql("SELECT MIN(seq) FROM ktpsync_audit")).scalar() or 0
        return found == known if found is not None else seq <= last and seq < first

    def entries(self, *, after: int = 0, packet_id: str | None = None) -> Iterator[AuditEntry]:
        """Yield chained entries in order.

        Whoever keeps the last number seen can follow every change at least once with it, also
        across crashes.

        Args:
            after: Start behind this number.
            packet_id: Only those on one packet.
        """
        self.chain()
        wanted = "AND packet_id = :packet_id" if packet_id is not None else ""
        statement = f"SELECT {_COLUMNS} FROM ktpsync_audit WHERE seq > :after {wanted} ORDER BY seq"
        bound: dict[str, str | int] = {"after": after}
        if packet_id is not None:
            bound["packet_id"] = packet_id
        for row in self._database.paged(statement, bound, page=_BATCH, after="seq"):
            yield from_row(row)

    def last_ms(self, event: str, destination: str) -> int | None:
        """Return when an event was written last for a destination, in milliseconds since 1970; ``None``: not in the trail."""
        statement = (
            "SELECT at_ms FROM ktpsync_audit WHERE event = :event AND dest = :dest AND seq IS NOT NULL "
            "ORDER BY seq DESC LIMIT 1"
        )
        with self._database.read() as connection:
            found = connection.execute(
                self._database.sql(statement), {"event": event, "dest": destination}
            ).scalar()
        return None if found is None else int(found)

    def verify(self, anchors: Mapping[int, str] | None = None) -> AuditReport:
        """Check the chain from its first entry to its end, and that what was settled is told in it.

        Args:
            anchors: Numbers and hashes kept elsewhere, such as in snapshots. Whoever rewrites the whole chain
                cannot match them.

        Returns:
            The report; ``problems`` is empty if nothing was changed or removed.
        """
        problems: list[str] = []
        count, seq, head = 0, 0, ""
        pruned = self._pruned()
        if pruned is not None:
            seq, head = pruned
        start = seq
        seen_pruned = pruned is None
        for item in self.entries(after=0):
            assert item.seq is not None
            if item.seq <= start:
                problems.append(f"Entry {item.seq} stands before the pruned start of the trail.")
                continue
            if item.seq != seq + 1:
                problems.append(f"Entries {seq + 1} to {item.seq - 1} are missing.")
            elif chain_hash(head, item) != item.hash:
                problems.append(f"Entry {item.seq} or the one before it was changed.")
            seen_pruned = seen_pruned or item.event == PRUNED
            if anchors and anchors.get(item.seq, item.hash) != item.hash:
                problems.append(f"Entry {item.seq} is not the one that was anchored elsewhere.")
            count, seq, head = count + 1, item.seq, item.hash or ""
        if not seen_pruned:
            problems.append("The entry that explains the pruned start is missing.")
        with self._database.read() as connection:
            sql = self._database.sql
            last = connection.execute(sql("SELECT seq FROM ktpsync_chain")).scalar_one()
            if last > seq:
                problems.append(f"Entries {seq + 1} to {last} are missing at the end.")
            problems += (
                [f"Packet {row[0]}: {row[1]}" for row in connection.execute(sql(_UNTOLD)).all()]
                if not start
                else []
            )
        if anchors and max(anchors) > max(seq, 0):
            problems.append(f"Entry {max(anchors)} was anchored elsewhere and is missing.")
        return AuditReport(entries=count, seq=seq, head=head, problems=tuple(problems), former=self._former())

    def prune(self, *, before_ms: int, who: str) -> int:
        """Remove the entries before a moment, leaving the chain provable.

        An entry with the number and the hash of the last removed one goes into the chain first.

        Returns:
            How many entries were removed.
        """
        self.chain()
        sql = self._database.sql
        with self._database.write() as connection:
            row = connection.execute(
                sql(
                    "SELECT seq, hash FROM ktpsync_audit WHERE seq < COALESCE((SELECT MIN(seq) FROM ktpsync_audit "
                    "WHERE at_ms >= :before), (SELECT seq FROM ktpsync_chain)) ORDER BY seq DESC LIMIT 1"
                ),
                {"before": before_ms},
            ).first()
            if row is None:
                return 0
            removed = connection.execute(
                sql("DELETE FROM ktpsync_audit WHERE seq <= :seq"), {"seq": row.seq}
            ).rowcount
            told = entry(
                PRUNED, at_ms=self._clock.now_ms(), who=who, through=row.seq, hash=row.hash, entries=removed
            )
            self.append(connection, [told])
        return removed

    def _former(self) -> tuple[int, ...]:
        """Return the numbers of the last entries of the trails that this one took over in part."""
        with self._database.read() as connection:
            told = connection.execute(
                self._database.sql(
                    "SELECT detail FROM ktpsync_audit WHERE event IN (:rebuilt, :part) AND packet_id IS NULL ORDER BY seq"
                ),
                {"rebuilt": REBUILT, "part": PARTLY_RESTORED},
            ).scalars()
            return tuple(json.loads(detail or "{}").get("seq", 0) for detail in told)

    def _pruned(self) -> tuple[int, str] | None:
        """Return the number and hash of the last entry that retention removed."""
        with self._database.read() as connection:
            detail = connection.execute(
                self._database.sql(
                    "SELECT detail FROM ktpsync_audit WHERE event = :event AND packet_id IS NULL ORDER BY seq DESC LIMIT 1"
                ),
                {"event": PRUNED},
            ).scalar()
        if detail is None:
            return None
        facts = json.loads(detail)
        return facts["through"], facts["hash"]

    def _link(
        self, transaction: Connection, entries: Sequence[AuditEntry]
    ) -> list[dict[str, str | int | None]]:
        """Return the rows of entries as the next ones of the chain."""
        count = len(entries)
        if self._database.kind == "sqlite":
            ((last, head, version),) = self._database.rows(transaction, _NEXT, {"count": count})
        else:
            # Two statements: one that has waited for the lock still sees the state from before its wait.
            ((last,),) = self._database.rows(transaction, _NEXT_LOCKED, {"count": count})
            ((head, version),) = self._database.rows(transaction, _HEAD, {"seq": last - count})
        # Here, where every change of state comes by: a newer release may have upgraded the tables meanwhile.
        check_still_ours(version, self._database.address)
        head = head or ""
        rows: list[dict[str, str | int | None]] = []
        for seq, item in enumerate(entries, start=last - count + 1):
            head = chain_hash(head, item, seq)
            row = _parameters(item)
            row["seq"], row["hash"] = seq, head
            rows.append(row)
        return rows


_UNTOLD = """
SELECT p.packet_id, 'its submission is not told in the trail' FROM ktpsync_packet p
WHERE NOT EXISTS (SELECT 1 FROM ktpsync_audit a WHERE a.packet_id = p.packet_id AND a.event IN ('submitted', 'recovered'))
UNION ALL
SELECT d.packet_id, 'it is marked ' || d.state || ' at ' || d.dest || ', which the trail does not tell'
FROM ktpsync_delivery d
WHERE d.state <> 'open' AND d.dest NOT LIKE 'repository:%' AND NOT EXISTS (
  SELECT 1 FROM ktpsync_audit a WHERE a.packet_id = d.packet_id AND a.dest = d.dest AND a.event = d.state)
"""


def _parameters(item: AuditEntry) -> dict[str, str | int | None]:
    return {
        "seq": item.seq,
        "at_ms": item.at_ms,
        "event": item.event,
        "packet_id": item.packet_id,
        "destination": item.destination,
        "who": item.who,
        "detail": item.detail,
        "hash": item.hash,
    }
