"""Giving the packets of the spool new headers, so that others can open them: new bytes under the same id.

A packet whose bytes may be on their way is left as it is: whoever holds part of them, or all without our knowing,
must get the same ones again; and so must a centre that may still ask for them again. See ``docs/adr/0050-rewrapped-packets.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from ktpsync.outbox._audit import entry
from ktpsync.outbox._central import STILL_WANTED
from ktpsync.outbox._switch import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._switch import Switch

    Wrap = Callable[[bytes], bytes | None]

_EVENT: Final = "rewrapped"
_BATCH: Final = 16
"""Packets that change in one transaction: those who record wait for no longer than it takes."""

_CANDIDATES = """
SELECT p.packet_id, p.sha256, p.size FROM ktpsync_packet p
WHERE p.packet_id > :after AND p.location = 'spool'
  AND COALESCE((SELECT a.detail FROM ktpsync_audit a WHERE a.packet_id = p.packet_id AND a.event = 'rewrapped'
    ORDER BY a.id DESC LIMIT 1), '') NOT LIKE :mark
ORDER BY p.packet_id
"""
_HOLD = "UPDATE ktpsync_delivery SET size = size WHERE packet_id = :packet_id"
_MOVED = f"""
SELECT d.state FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
  JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.packet_id = :packet_id AND t.kind = 'courier' AND d.fence > 0 AND {STILL_WANTED}
  AND (:held = 0 OR d.state = 'open' OR d.receipt IS NULL)
ORDER BY CASE d.state WHEN 'rejected' THEN 0 ELSE 1 END LIMIT 1
"""
_REPLACE = """
UPDATE ktpsync_packet SET sha256 = :new, size = :size
WHERE packet_id = :packet_id AND sha256 = :old AND location = 'spool'
"""
_COLUMNS = (
    "id, packet_id, dest, state, urgent, due_ms, fence, owner, attempts, failures, failing_ms, last_failure_ms, code, "
    "reason, receipt, settled_ms, verified_ms"
)
_OPEN = f"SELECT {_COLUMNS} FROM ktpsync_delivery WHERE packet_id = :packet_id AND state = 'open'"
_TAKE_OUT = "DELETE FROM ktpsync_delivery WHERE packet_id = :packet_id AND state = 'open'"
_PUT_IN = (
    f"INSERT INTO ktpsync_delivery ({_COLUMNS}, size) "
    f"VALUES ({', '.join(f':{name}' for name in _COLUMNS.split(', '))}, :size)"
)
_COPY_AGAIN = """
UPDATE ktpsync_delivery SET state = 'open', size = :size, receipt = NULL, settled_ms = NULL, verified_ms = NULL
WHERE packet_id = :packet_id AND state = 'delivered'
  AND dest IN (SELECT t.dest FROM ktpsync_destination t WHERE t.kind = 'copy')
"""
_ANY = "SELECT 1 FROM ktpsync_audit WHERE event = 'rewrapped' LIMIT 1"
_OFFLOADED = "SELECT COUNT(*) FROM ktpsync_packet WHERE location = 'offloaded'"


@define(kw_only=True)
class RewrapReport:
    """What became of the packets of a spool.

    Args:
        rewrapped: Packets that have a new header now.
        moving: Ids of packets that are on their way, or that a centre may ask for again; they were left as they are.
        rejected: Ids of those among them that wait for a person: without one they would be left for ever.
        closed: Ids of packets that none of the identities opens, such as those recorded since the recipients changed.
        damaged: One line for each packet whose bytes are missing or damaged.
        offloaded: Packets whose bytes are in a backup alone, and were left as they are.
    """

    rewrapped: int = 0
    moving: list[str] = Factory(list)
    rejected: list[str] = Factory(list)
    closed: list[str] = Factory(list)
    damaged: list[str] = Factory(list)
    offloaded: int = 0

    @property
    def done(self) -> bool:
        """Whether every packet that can be opened has its new header."""
        return not (self.moving or self.damaged or self.offloaded)


class Rewrapping:
    """Rewraps the packets of one outbox."""

    def __init__(
        self, database: Database, spool: Spool, switch: Switch, audit: AuditTrail, clock: Clock
    ) -> None:
        self._database = database
        self._spool = spool
        self._switch = switch
        self._audit = audit
        self._clock = clock

    def all(self, wrap: Wrap, *, to: str, who: str, held: bool = False) -> RewrapReport:
        """Rewrap every packet in the spool that was not rewrapped to the same recipients before.

        See :meth:`Outbox.rewrap`.
        """
        report = RewrapReport()
        self._spool.check()
        with self._switch.alone():
            candidates = {"after": "", "mark": f'%"to":"{to}"%'}
            rows = self._database.paged(_CANDIDATES, candidates, page=_BATCH, after="packet_id")
            while batch := list(itertools.islice(rows, _BATCH)):
                self._apply(self._changes(batch, wrap, report, held=held), to, who, report, held=held)
        with self._database.read() as connection:
            report.offloaded = connection.execute(self._database.sql(_OFFLOADED)).scalar_one()
        return report

    def _changes(
        self, rows: Sequence[Row[tuple[str, str, int]]], wrap: Wrap, report: RewrapReport, *, held: bool
    ) -> list[Change]:
        """Make new bytes, and put them beside the old ones."""
        moving = {
            row.packet_id: state
            for row in rows
            if (state := self._moves(row.packet_id, held=held)) is not None
        }
        report.moving += moving
        report.rejected += [packet_id for packet_id, state in moving.items() if state == "rejected"]
        packets = [
            self._spool.packet(row.packet_id, row.sha256, row.size)
            for row in rows
            if row.packet_id not in moving
        ]
        changes: list[Change] = []
        for packet, old in zip(packets, self._switch.read(packets), strict=True):
            if isinstance(old, str):
                report.damaged.append(old)
                continue
            new = wrap(old)
            if new is None:
                report.closed.append(packet.packet_id)
                continue
            digest = hashlib.sha256(new).hexdigest()
            changes.append(Change(packet_id=packet.packet_id, old=packet.sha256, new=digest, sealed=new))
        self._switch.stage(changes)
        return changes

    def _moves(self, packet_id: str, *, held: bool) -> str | None:
        with self._database.read() as connection:
            return self._moving(connection, packet_id, held=held)

    def _moving(self, connection: Connection, packet_id: str, *, held: bool) -> str | None:
        """Return the state of a delivery for which a packet has to stay as it is; ``None``: it need not."""
        bound = {"packet_id": packet_id, "held": int(held)}
        found: str | None = connection.execute(self._database.sql(_MOVED), bound).scalar()
        return found

    def _apply(
        self, changes: Sequence[Change], to: str, who: str, report: RewrapReport, *, held: bool
    ) -> None:
        """Change rows and bytes together: nobody can claim a packet between the two."""
        try:
            with self._database.write() as connection:
                switched = [change for change in changes if self._rewrite(connection, change, held=held)]
                told = [
                    entry(
                        _EVENT,
                        at_ms=self._clock.now_ms(),
                        packet_id=change.packet_id,
                        who=who,
                        before=change.old,
                        after=change.new,
                        to=to,
                    )
                    for change in switched
                ]
                self._switch.switch(switched)
                self._audit.append(connection, told)
        except BaseException:
            # Whether it was committed, the database alone knows; if it cannot be asked now, the next one to come asks.
            with contextlib.suppress(Exception):
                self._switch.put_right(changes)
            raise
        kept = [change for change in changes if change not in switched]
        report.moving += [change.packet_id for change in kept]
        self._switch.unstage(kept)
        self._switch.end(switched)
        report.rewrapped += len(switched)

    def _rewrite(self, connection: Connection, change: Change, *, held: bool) -> bool:
        # Whoever is just claiming it is waited for, and seen; whoever comes later waits or goes past it.
        connection.execute(self._database.sql(_HOLD), {"packet_id": change.packet_id})
        if self._moving(connection, change.packet_id, held=held) is not None:
            return False
        return replace_row(self._database, connection, change)


def replace_row(database: Database, connection: Connection, change: Change) -> bool:
    """Let a packet's row name its new bytes, if it names the former ones and they are in the spool; return whether it does.

    A claim on a database server that began before the commit reads digests as they were before it. It would be given a
    delivery whose row was changed, with the former digest; one that is gone it passes by. So open ones get new rows.
    """
    sql = database.sql
    size = len(change.sealed)
    bound = {"packet_id": change.packet_id, "old": change.old, "new": change.new, "size": size}
    if connection.execute(sql(_REPLACE), bound).rowcount == 0:
        return False
    rows = connection.execute(sql(_OPEN), bound).all()
    if rows:
        connection.execute(sql(_TAKE_OUT), bound)
        connection.execute(
            sql(_PUT_IN), [{**dict(zip(row._fields, row, strict=True)), "size": size} for row in rows]
        )
    connection.execute(sql(_COPY_AGAIN), bound)
    return True


def ever_rewrapped(database: Database) -> bool:
    """Return whether any packet was rewrapped; see :meth:`Outbox.rewrapped`."""
    with database.read() as connection:
        return connection.execute(database.sql(_ANY)).first() is not None
