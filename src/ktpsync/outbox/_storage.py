"""Room on the station's disk: what may be dropped, what is forecast, and when to stop before it is full."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa
from attrs import frozen

from ktpsync.errors import StationFullError
from ktpsync.files import free_bytes
from ktpsync.outbox._audit import entry
from ktpsync.outbox._central import FINAL_STATUSES
from ktpsync.outbox._destinations import COPY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import TextClause
    from sqlalchemy.engine import Connection

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._values import AuditEntry

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS

_VERIFIED_COPY = """
EXISTS (SELECT 1 FROM ktpsync_delivery c JOIN ktpsync_destination r ON r.dest = c.dest
  WHERE c.packet_id = p.packet_id AND r.kind = 'copy' AND r.active = 1
    AND c.state = 'delivered' AND c.verified_ms IS NOT NULL)
"""
_PURGEABLE = f"""
SELECT p.packet_id FROM ktpsync_packet p
WHERE p.location <> 'purged' AND p.status IN ({", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))})
  AND p.status_ms <= :before AND {_VERIFIED_COPY}
  AND EXISTS (SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
    WHERE d.packet_id = p.packet_id AND t.kind = 'courier' AND d.state = 'delivered')
  AND NOT EXISTS (SELECT 1 FROM ktpsync_destination t WHERE t.kind = 'courier' AND t.required = 1
    AND NOT EXISTS (SELECT 1 FROM ktpsync_delivery d
      WHERE d.packet_id = p.packet_id AND d.dest = t.dest AND d.state = 'delivered'))
ORDER BY p.packet_id LIMIT :count
"""
_OFFLOADABLE = f"""
SELECT p.packet_id, p.size FROM ktpsync_packet p
WHERE p.location = 'spool' AND {_VERIFIED_COPY} ORDER BY p.packet_id LIMIT :count
"""
_OFFLOADABLE_FROM = """
SELECT p.packet_id, p.size FROM ktpsync_packet p
WHERE p.location = 'spool' AND (SELECT COUNT(*) FROM ktpsync_delivery c WHERE c.packet_id = p.packet_id
    AND c.state = 'delivered' AND c.verified_ms IS NOT NULL AND c.dest IN :counted) >= :copies
  AND EXISTS (SELECT 1 FROM ktpsync_delivery c WHERE c.packet_id = p.packet_id
    AND c.state = 'delivered' AND c.verified_ms IS NOT NULL AND c.dest IN :at_hand)
ORDER BY p.packet_id LIMIT :count
"""
_BACKLOG = """
SELECT COALESCE(SUM(p.size), 0) FROM ktpsync_packet p WHERE p.packet_id IN (
  SELECT d.packet_id FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
  WHERE d.state = 'open' AND t.kind = 'courier' AND t.required = 1)
"""
_RECOUNT_SHARE = 20
_PAGE = 500


@frozen(kw_only=True)
class Limits:
    """When to warn and when to stop.

    Args:
        reserve: Bytes that stay free on the spool's disk: a submission that would go below is refused.
        warn: Bytes free below which :meth:`Outbox.storage` warns.
        max_backlog: Sealed bytes not yet delivered everywhere above which submissions are refused; ``None``: no limit.
        warn_age_days: Age of the oldest packet not yet delivered from which on :meth:`Outbox.storage` warns.
    """

    reserve: int = 200 << 20
    warn: int = 2 << 30
    max_backlog: int | None = None
    warn_age_days: float = 30.0


@frozen(kw_only=True)
class StorageView:
    """Room on the station's disk.

    Args:
        free: Bytes free on the spool's disk.
        per_day: Sealed bytes a day, over the last week.
        days_left: Days until the reserve is reached at this pace; ``None`` if nothing was recorded.
        warnings: One sentence each.
    """

    free: int
    per_day: int
    days_left: float | None
    warnings: tuple[str, ...]


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
        self._lock = threading.Lock()
        self._backlog: int | None = None
        self._added = 0

    def admit(self, size: int) -> None:
        """Refuse a submission for which there is no room.

        Raises:
            StationFullError: It would go below the reserve or above the limit of the backlog.
        """
        free = free_bytes(self._spool.folder)
        if free - size < self._limits.reserve:
            raise StationFullError(
                f"The disk of the spool has {free >> 20} MiB left and {self._limits.reserve >> 20} MiB are kept in "
                "reserve. Nothing was stored; offload packets that a verified backup holds, or free some room."
            )
        most = self._limits.max_backlog
        if most is None:
            return
        with self._lock:
            self._added += size
            full = self._backlog is None or self._backlog + self._added > most
            if full or self._added > most // _RECOUNT_SHARE:
                self._backlog, self._added = self._count_backlog(), size
            assert self._backlog is not None
            if self._backlog + self._added > most:
                self._added -= size
                raise StationFullError(
                    f"{self._backlog >> 20} MiB wait to be delivered and {most >> 20} MiB are allowed. Nothing was "
                    "stored; see why the destinations take nothing, or raise the limit."
                )

    def view(self, oldest_ms: int | None) -> StorageView:
        """Return the room there is and for how long it lasts."""
        free = free_bytes(self._spool.folder)
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            row = connection.execute(
                self._database.sql(
                    "SELECT COALESCE(SUM(size), 0) AS size, MIN(created_ms) AS first FROM ktpsync_packet "
                    "WHERE packet_id >= :since"
                ),
                {"since": _first_id_ms(now_ms - _WEEK_MS)},
            ).one()
        days = max((now_ms - row.first) / _DAY_MS, 1.0) if row.first is not None else 1.0
        per_day = int(int(row.size) / days)
        days_left = max(free - self._limits.reserve, 0) / per_day if per_day else None
        warnings = []
        if free < self._limits.warn:
            warnings.append(
                f"The disk of the spool has {free >> 20} MiB left: offload packets or free some room."
            )
        if days_left is not None and days_left < _WEEK_MS / _DAY_MS:
            warnings.append(
                f"At the pace of the last week the disk of the spool is full in {days_left:.1f} days."
            )
        if oldest_ms is not None and (age := (now_ms - oldest_ms) / _DAY_MS) > self._limits.warn_age_days:
            warnings.append(f"The oldest packet has been waiting for {age:.0f} days.")
        return StorageView(free=free, per_day=per_day, days_left=days_left, warnings=tuple(warnings))

    def purge(self, *, retention_ms: int, who: str) -> list[str]:
        """Drop the bytes that nobody needs any more; see :meth:`Outbox.purge`."""
        purged: list[str] = []
        while True:
            with self._database.write() as connection:
                # The centre's clock, as far as its feed has come: this station's own may be off by years.
                centre_ms = connection.execute(
                    self._database.sql("SELECT MAX(status_ms) FROM ktpsync_packet")
                ).scalar()
                if centre_ms is None:
                    return purged
                before = min(centre_ms, self._clock.now_ms()) - retention_ms
                ids = (
                    connection.execute(self._database.sql(_PURGEABLE), {"before": before, "count": _PAGE})
                    .scalars()
                    .all()
                )
                told = self._move(connection, ids, "purged", who)
                self._audit.append(connection, [*told, *self._cancel_open(connection, ids, who)])
            self._drop(ids)
            purged += ids
            if len(ids) < _PAGE:
                return purged

    def offload(
        self, *, wanted: int, who: str, repositories: Mapping[str, bool] | None = None, copies: int = 1
    ) -> int:
        """Drop spool bytes that a verified backup has; see :meth:`Outbox.offload`."""
        statement, bound = self._offloadable(repositories, copies)
        freed = 0
        while freed < wanted:
            with self._database.write() as connection:
                rows = connection.execute(statement, bound).all()
                ids: list[str] = []
                for row in rows:
                    if freed >= wanted:
                        break
                    ids.append(row.packet_id)
                    freed += row.size
                self._audit.append(connection, self._move(connection, ids, "offloaded", who))
            self._drop(ids)
            if len(rows) < _PAGE:
                break
        return freed

    def _offloadable(
        self, repositories: Mapping[str, bool] | None, copies: int
    ) -> tuple[TextClause, dict[str, object]]:
        if repositories is None:
            return self._database.sql(_OFFLOADABLE), {"count": _PAGE}
        statement = self._database.sql(_OFFLOADABLE_FROM).bindparams(
            sa.bindparam("counted", expanding=True), sa.bindparam("at_hand", expanding=True)
        )
        return statement, {
            "count": _PAGE,
            "copies": copies,
            "counted": [COPY_PREFIX + repository for repository in repositories],
            "at_hand": [COPY_PREFIX + repository for repository, here in repositories.items() if here],
        }

    def return_to_spool(self, packet_ids: Sequence[str], *, who: str) -> None:
        """Write down that the spool has packets' bytes again, verified, as after a restore."""
        with self._database.write() as connection:
            self._audit.append(connection, self._move(connection, packet_ids, "spool", who))

    def _move(self, connection: Connection, ids: Sequence[str], location: str, who: str) -> list[AuditEntry]:
        if not ids:
            return []
        connection.execute(
            self._database.sql("UPDATE ktpsync_packet SET location = :location WHERE packet_id = :packet_id"),
            [{"packet_id": packet_id, "location": location} for packet_id in ids],
        )
        event = "returned-to-spool" if location == "spool" else location
        at_ms = self._clock.now_ms()
        return [entry(event, at_ms=at_ms, packet_id=packet_id, who=who) for packet_id in ids]

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

    def _drop(self, ids: Sequence[str]) -> None:
        # After the commit: a crash before leaves files that the collector finds, never a row without its bytes.
        for packet_id in ids:
            self._spool.discard(packet_id)

    def _count_backlog(self) -> int:
        with self._database.read() as connection:
            return int(connection.execute(self._database.sql(_BACKLOG)).scalar_one())


def _first_id_ms(ms: int) -> str:
    """Return the smallest packet id (UUIDv7: time first) that could have been made at a moment."""
    digits = f"{max(ms, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
