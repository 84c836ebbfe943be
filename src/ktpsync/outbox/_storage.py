"""Room on the station's disk: what may be dropped, what is forecast, and when to stop before it is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.errors import SpoolUnavailableError, StationFullError, UnavailableError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._central import FINAL_STATUSES
from ktpsync.outbox._copies import VERIFIED_COPIES
from ktpsync.outbox._destinations import COPY_PREFIX
from ktpsync.outbox._views import created_ms
from ktpsync.units import amount, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database, Parsed
    from ktpsync.outbox._limits import Limits
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._values import AuditEntry
    from ktpsync.packet import SealedPacket

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS

_PURGEABLE = f"""
SELECT p.packet_id, p.sha256, p.size, p.status_ms FROM ktpsync_packet p
WHERE p.status = :status AND p.location = :location AND p.status_ms <= :before
  AND (p.status_ms, p.packet_id) > (:after_ms, :after_id) AND EXISTS (SELECT 1 {VERIFIED_COPIES} {{read}})
  AND EXISTS (SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
    WHERE d.packet_id = p.packet_id AND t.kind = 'courier' AND d.state = 'delivered')
  AND NOT EXISTS (SELECT 1 FROM ktpsync_destination t WHERE t.kind = 'courier' AND t.required = 1
    AND NOT EXISTS (SELECT 1 FROM ktpsync_delivery d
      WHERE d.packet_id = p.packet_id AND d.dest = t.dest AND d.state = 'delivered'))
ORDER BY p.status_ms, p.packet_id LIMIT :count
"""
_OFFLOADABLE = f"""
SELECT p.packet_id, p.sha256, p.size FROM ktpsync_packet p
WHERE p.location = 'spool' AND p.packet_id > :after AND (SELECT COUNT(*) {VERIFIED_COPIES} {{counted}}) >= :copies
  AND EXISTS (SELECT 1 {VERIFIED_COPIES} {{read}})
ORDER BY p.packet_id LIMIT :count
"""
_COUNTED = """AND (c.dest IN :at_hand OR (c.dest IN :away AND c.verified_ms BETWEEN :since AND :now))"""
_READ = "AND c.dest IN :at_hand"
_SERVED = "SELECT dest FROM ktpsync_destination WHERE kind = 'courier' AND active = 1"
_REQUIRED = f"{_SERVED} AND required = 1"
_WAITING = """
SELECT COALESCE(SUM(size), 0) AS size, MIN(id) AS oldest FROM ktpsync_delivery WHERE state = 'open' AND dest = :dest
"""
_UNDISTURBED = """
WITH held AS MATERIALIZED (
  SELECT packet_id FROM ktpsync_delivery WHERE packet_id IN :ids FOR UPDATE SKIP LOCKED
)
SELECT d.packet_id FROM ktpsync_delivery d WHERE d.packet_id IN :ids
GROUP BY d.packet_id HAVING COUNT(*) = (SELECT COUNT(*) FROM held WHERE held.packet_id = d.packet_id)
"""
_RECOUNT_SECONDS = 10.0
_PAGE = 500
_PROVEN_AT_ONCE = 50
"""Packets that are read back from a backup before they are dropped together."""


@frozen(kw_only=True)
class StorageView:
    """Room on the station's disk.

    Args:
        free: Bytes free on the spool's disk; ``None`` where the spool is in storage, whose room nobody can tell.
        per_day: Sealed bytes a day, over the last week.
        days_left: Days until the reserve is reached at this pace; ``None`` if nothing was recorded, or nobody can tell.
        warnings: One sentence each.
        away: Whether the spool's disk or share is not there now; then nothing is recorded, and packets wait.
    """

    free: int | None
    per_day: int
    days_left: float | None
    warnings: tuple[str, ...]
    away: bool = False


class Storage:
    """The room of one outbox."""

    def __init__(
        self, database: Database, spool: Spool, audit: AuditTrail, clock: Clock, limits: Limits
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._counted_at: float | None = None

    def admit(self, size: int) -> None:
        """Refuse a submission for which there is no room.

        Raises:
            StationFullError: It would go below the reserve or above the limit of the backlog.
        """
        free = self._spool.free()
        if free is not None and free - size < self._limits.reserve:
            raise StationFullError(
                f"The disk of the spool has {amount(free)} free; this needs {amount(size)}, and {amount(self._limits.reserve)} of "
                f"it are kept in reserve. Nothing was stored; free {amount(size + self._limits.reserve - free)} or more, or plug in a "
                "backup's disk: what a backup gives back whole makes room. `ktpsync status` says what hinders that."
            )
        if not self._counts:
            return
        backlog, oldest_ms = self._known_backlog()
        most, longest = self._limits.max_backlog, self._limits.max_age_days
        if most is not None and backlog + size > most:
            raise StationFullError(
                f"{backlog >> 20} MiB wait to be delivered and {most >> 20} MiB are allowed. Nothing was "
                "stored; see why the destinations take nothing, or raise the limit."
            )
        age = 0.0 if oldest_ms is None else (self._clock.now_ms() - oldest_ms) / _DAY_MS
        if longest is not None and age > longest:
            raise StationFullError(
                f"The oldest packet has been waiting for {counted(round(age), 'day', 'days')} and {longest:g} are allowed. Nothing was "
                "stored; see why the destinations take nothing and whether this machine's clock is right, or raise "
                "the limit."
            )

    def count(self, transaction: Connection, size: int) -> None:
        """Add what a submission brings to the known size of the backlog, in its transaction."""
        if self._counts:
            statement = "UPDATE ktpsync_outbox SET backlog = backlog + :size WHERE id = 1"
            self._database.change(transaction, statement, {"size": size})

    def recount(self, *, now: bool = False) -> None:
        """Count the backlog anew for the limits, every few seconds at most. Submissions never count it."""
        if not self._counts:
            return
        monotonic = self._clock.monotonic()
        if not now and self._counted_at is not None and monotonic - self._counted_at < _RECOUNT_SECONDS:
            return
        self._counted_at = monotonic
        sql = self._database.sql
        with self._database.write() as connection:
            size, oldest_ms = self._waiting(connection, _REQUIRED)
            connection.execute(
                sql("UPDATE ktpsync_outbox SET backlog = :size, oldest_ms = :oldest WHERE id = 1"),
                {"size": size, "oldest": oldest_ms},
            )

    def _waiting(self, connection: Connection, destinations: str) -> tuple[int, int | None]:
        """Return the size of the largest backlog of these destinations, and when the oldest packet was made."""
        sql = self._database.sql
        size = 0
        oldest_ms: int | None = None
        for dest in connection.execute(sql(destinations)).scalars().all():
            row = connection.execute(sql(_WAITING), {"dest": dest}).one()
            size = max(size, int(row.size))
            if row.oldest is not None:
                made_ms = created_ms(self._database, connection, row.oldest)
                oldest_ms = made_ms if oldest_ms is None else min(oldest_ms, made_ms)
        return size, oldest_ms

    @property
    def _counts(self) -> bool:
        return self._limits.max_backlog is not None or self._limits.max_age_days is not None

    def _known_backlog(self) -> tuple[int, int | None]:
        query = self._database.sql("SELECT backlog, oldest_ms FROM ktpsync_outbox WHERE id = 1")
        with self._database.read() as connection:
            row = connection.execute(query).one()
        if row.backlog is not None:
            return int(row.backlog), row.oldest_ms
        self.recount(now=True)
        return self._known_backlog()

    def view(self) -> StorageView:
        """Return the room there is and for how long it lasts."""
        self.recount(now=True)
        warnings = []
        free = None
        try:
            free = self._spool.free()
        except SpoolUnavailableError as error:
            warnings.append(str(error))
        away = bool(warnings)
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            row = connection.execute(
                self._database.sql(
                    "SELECT COALESCE(SUM(size), 0) AS size, MIN(created_ms) AS first FROM ktpsync_packet "
                    "WHERE packet_id >= :since"
                ),
                {"since": _first_id_ms(now_ms - _WEEK_MS)},
            ).one()
            _, oldest_ms = self._waiting(connection, _SERVED)
        days = max((now_ms - row.first) / _DAY_MS, 1.0) if row.first is not None else 1.0
        per_day = int(int(row.size) / days)
        days_left = max(free - self._limits.reserve, 0) / per_day if per_day and free is not None else None
        if free is not None and free < self._limits.warn:
            warnings.append(
                f"The disk of the spool has {amount(free)} left: free some room, or let backups make it, as far as they hold its packets."
            )
        if days_left is not None and days_left < _WEEK_MS / _DAY_MS:
            warnings.append(
                f"At the pace of the last week the disk of the spool is full in {days_left:.1f} days."
            )
        if oldest_ms is not None and (age := (now_ms - oldest_ms) / _DAY_MS) > self._limits.warn_age_days:
            warnings.append(f"The oldest packet has been waiting for {counted(round(age), 'day', 'days')}.")
        return StorageView(
            free=free, per_day=per_day, days_left=days_left, warnings=tuple(warnings), away=away
        )

    def purge(
        self,
        *,
        retention_ms: int,
        who: str,
        prove: Callable[[SealedPacket], bool],
        repositories: Collection[str] | None = None,
    ) -> list[str]:
        """Drop the bytes that nobody needs any more; see :meth:`Outbox.purge`."""
        self._spool.check()
        with self._database.read() as connection:
            # The centre's clock, as far as its feed has come: this station's own may be off by years.
            centre_ms = connection.execute(
                self._database.sql("SELECT MAX(status_ms) FROM ktpsync_packet WHERE status IS NOT NULL")
            ).scalar()
        if centre_ms is None:
            return []
        page: dict[str, object] = {
            "before": min(centre_ms, self._clock.now_ms()) - retention_ms,
            "count": _PAGE,
        }
        if repositories is None:
            statement = self._database.sql(_PURGEABLE.format(read=""))
        else:
            statement = self._database.among(_PURGEABLE.format(read=_READ), "at_hand")
            page["at_hand"] = [COPY_PREFIX + repository for repository in repositories]
        return [
            packet_id
            for status in sorted(FINAL_STATUSES)
            for location in ("spool", "offloaded")
            for packet_id in self._purge(
                statement, page | {"status": status, "location": location}, who, prove
            )
        ]

    def _purge(
        self, statement: Parsed, page: dict[str, object], who: str, prove: Callable[[SealedPacket], bool]
    ) -> Iterator[str]:
        page |= {"after_ms": -1, "after_id": ""}
        while True:
            with self._database.read() as connection:
                rows = connection.execute(statement, page).all()
            # In the order in which they were made they lie in the packs of a backup, too.
            in_packs = sorted(rows, key=lambda row: row.packet_id)
            proven, goes_on = self._proven(in_packs, None, prove)
            yield from self._drop_proven(statement, page, proven, "purged", who)
            if not goes_on or len(rows) < _PAGE:
                return
            page |= {"after_ms": rows[-1].status_ms, "after_id": rows[-1].packet_id}

    def offload(
        self,
        *,
        wanted: int,
        who: str,
        prove: Callable[[SealedPacket], bool],
        repositories: Collection[str] | None = None,
        away: Collection[str] = (),
        since_ms: int = 0,
        copies: int = 1,
    ) -> int:
        """Drop spool bytes that a verified backup has; see :meth:`Outbox.offload`."""
        statement, bound = self._offloadable(repositories, away, since_ms, copies)
        freed = 0
        after = ""
        while freed < wanted:
            page = bound | {"after": after}
            with self._database.read() as connection:
                rows = connection.execute(statement, page).all()
            proven, goes_on = self._proven(rows, wanted - freed, prove)
            dropped = self._drop_proven(statement, page, proven, "offloaded", who)
            freed += sum(dropped.values())
            if not goes_on or len(rows) < _PROVEN_AT_ONCE:
                break
            after = rows[-1].packet_id
        return freed

    def _proven(
        self,
        rows: Sequence[Row[tuple[object, ...]]],
        wanted: int | None,
        prove: Callable[[SealedPacket], bool],
    ) -> tuple[dict[str, str], bool]:
        """Return the digests of the packets that are proven, until these are enough, and whether more can be.

        What takes its time is done here, while no transaction is open.
        """
        proven: dict[str, str] = {}
        for row in rows:
            if wanted is not None and wanted <= 0:
                break
            try:
                if prove(self._spool.packet(row.packet_id, row.sha256, row.size)):
                    proven[row.packet_id] = row.sha256
                    wanted = None if wanted is None else wanted - row.size
            except UnavailableError:
                return proven, False
        return proven, True

    def _drop_proven(
        self,
        statement: Parsed,
        page: Mapping[str, object],
        proven: Mapping[str, str],
        location: str,
        who: str,
    ) -> dict[str, int]:
        """Drop those of the proven packets that the statement still selects; return their sizes by id."""
        if not proven:
            return {}
        with self._database.write() as connection:
            rows = [
                row
                for row in connection.execute(statement, dict(page)).all()
                if proven.get(row.packet_id) == row.sha256
            ]
            rows = self._undisturbed(connection, statement, page, rows)
            ids = [row.packet_id for row in rows]
            told = self._move(connection, ids, location, who)
            if location == "purged":
                told += self._cancel_open(connection, ids, who)
            self._audit.append(connection, told)
        # After the commit: a crash before leaves files that the collector finds, never a row without its bytes.
        for packet_id in ids:
            self._spool.discard(packet_id)
        return {row.packet_id: row.size for row in rows}

    def _undisturbed(
        self,
        connection: Connection,
        statement: Parsed,
        bound: Mapping[str, object],
        rows: Sequence[Row[tuple[object, ...]]],
    ) -> list[Row[tuple[object, ...]]]:
        """Keep others away from the selected packets, and leave out those that somebody is just changing.

        On SQLite the transaction itself keeps all others away.
        """
        if self._database.kind == "sqlite" or not rows:
            return list(rows)
        lock = self._database.among(_UNDISTURBED, "ids")
        held = set(connection.execute(lock, {"ids": [row.packet_id for row in rows]}).scalars())
        # What was committed between the selection and the lock is seen now.
        still = {row.packet_id for row in connection.execute(statement, dict(bound))}
        return [row for row in rows if row.packet_id in held & still]

    def _offloadable(
        self, repositories: Collection[str] | None, away: Collection[str], since_ms: int, copies: int
    ) -> tuple[Parsed, dict[str, object]]:
        bound: dict[str, object] = {"count": _PROVEN_AT_ONCE, "copies": copies}
        if repositories is None:
            return self._database.sql(_OFFLOADABLE.format(counted="", read="")), bound
        bound |= {"since": since_ms, "now": self._clock.now_ms()}
        bound |= {"at_hand": [COPY_PREFIX + repository for repository in repositories]}
        bound |= {"away": [COPY_PREFIX + repository for repository in away]}
        text = _OFFLOADABLE.format(counted=_COUNTED, read=_READ)
        return self._database.among(text, "at_hand", "away"), bound

    def _move(self, connection: Connection, ids: Sequence[str], location: str, who: str) -> list[AuditEntry]:
        if not ids:
            return []
        connection.execute(
            self._database.sql("UPDATE ktpsync_packet SET location = :location WHERE packet_id = :packet_id"),
            [{"packet_id": packet_id, "location": location} for packet_id in ids],
        )
        at_ms = self._clock.now_ms()
        return [entry(location, at_ms=at_ms, packet_id=packet_id, who=who) for packet_id in ids]

    def _cancel_open(self, connection: Connection, ids: Sequence[str], who: str) -> list[AuditEntry]:
        """End what destinations that are not required would still have got."""
        at_ms = self._clock.now_ms()
        statement = self._database.sql(
            "UPDATE ktpsync_delivery SET state = 'cancelled', owner = NULL, fence = fence + 1, settled_ms = :now "
            "WHERE packet_id = :packet_id AND state = 'open' RETURNING dest"
        )
        return [
            entry("cancelled", at_ms=at_ms, packet_id=packet_id, destination=dest, who=who, why="purged")
            for packet_id in ids
            for dest in connection.execute(statement, {"packet_id": packet_id, "now": at_ms}).scalars()
        ]


def _first_id_ms(ms: int) -> str:
    """Return the smallest packet id (UUIDv7: time first) that could have been made at a moment."""
    digits = f"{max(ms, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
