"""Giving the packets of the spool new headers, so that others can open them: new bytes under the same id.

A packet whose bytes may be on their way is left as it is: whoever holds part of them, or all without our knowing,
must get the same ones again; and so must a centre that may still ask for them again. See ``docs/adr/0050-rewrapped-packets.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, frozen

from ktpsync import files
from ktpsync.errors import OutboxError, SpoolError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._central import STILL_WANTED
from ktpsync.outbox._folder_spool import FORMER, REWRAPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.engine import Connection, Row

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._folder_spool import FolderSpool
    from ktpsync.outbox._values import AuditEntry

    Wrap = Callable[[bytes], bytes | None]

_EVENT: Final = "rewrapped"
_LOCK: Final = "rewrap.lock"
_RUNNING: Final = "rewrap.running"
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
SELECT 1 FROM ktpsync_delivery d JOIN ktpsync_destination t ON t.dest = d.dest
  JOIN ktpsync_packet p ON p.packet_id = d.packet_id
WHERE d.packet_id = :packet_id AND t.kind = 'courier' AND d.fence > 0 AND {STILL_WANTED}
LIMIT 1
"""
_REPLACE = """
UPDATE ktpsync_packet SET sha256 = :new, size = :size
WHERE packet_id = :packet_id AND sha256 = :old AND location = 'spool'
"""
_RESIZE = "UPDATE ktpsync_delivery SET size = :size WHERE packet_id = :packet_id AND state = 'open'"
_COPY_AGAIN = """
UPDATE ktpsync_delivery SET state = 'open', size = :size, receipt = NULL, settled_ms = NULL, verified_ms = NULL
WHERE packet_id = :packet_id AND state = 'delivered'
  AND dest IN (SELECT t.dest FROM ktpsync_destination t WHERE t.kind = 'copy')
"""
_ANY = "SELECT 1 FROM ktpsync_audit WHERE event = 'rewrapped' LIMIT 1"
_DIGEST = "SELECT sha256 FROM ktpsync_packet WHERE packet_id = :packet_id"
_OFFLOADED = "SELECT COUNT(*) FROM ktpsync_packet WHERE location = 'offloaded'"


@define(kw_only=True)
class RewrapReport:
    """What became of the packets of a spool.

    Args:
        rewrapped: Packets that have a new header now.
        moving: Ids of packets that are on their way, or that a centre may ask for again; they were left as they are.
        closed: Ids of packets that none of the identities opens, such as those recorded since the recipients changed.
        damaged: One line for each packet whose bytes are missing or damaged.
        offloaded: Packets whose bytes are in a backup alone, and were left as they are.
    """

    rewrapped: int = 0
    moving: list[str] = Factory(list)
    closed: list[str] = Factory(list)
    damaged: list[str] = Factory(list)
    offloaded: int = 0

    @property
    def done(self) -> bool:
        """Whether every packet that can be opened has its new header."""
        return not (self.moving or self.damaged or self.offloaded)


@frozen(kw_only=True)
class _Change:
    """New bytes for one packet, durable beside the old ones."""

    packet_id: str
    old: str
    new: str
    size: int


class Rewrapping:
    """Rewraps the packets of one outbox."""

    def __init__(self, database: Database, spool: FolderSpool, audit: AuditTrail, clock: Clock) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._clock = clock

    def all(self, wrap: Wrap, *, to: str, who: str) -> RewrapReport:
        """Rewrap every packet in the spool that was not rewrapped to the same recipients before.

        See :meth:`Outbox.rewrap`.
        """
        report = RewrapReport()
        self._spool.check()
        with self._alone():
            candidates = {"after": "", "mark": f'%"to":"{to}"%'}
            rows = self._database.paged(_CANDIDATES, candidates, page=_BATCH, after="packet_id")
            while batch := list(itertools.islice(rows, _BATCH)):
                self._apply(self._stage(batch, wrap, report), to, who, report)
        with self._database.read() as connection:
            report.offloaded = connection.execute(self._database.sql(_OFFLOADED)).scalar_one()
        return report

    def recover(self) -> None:
        """Put right what a crash in the middle of a change left. Does nothing while somebody else is at it."""
        if self._running.exists():
            with contextlib.suppress(OutboxError), self._alone():
                pass

    @property
    def _running(self) -> Path:
        return self._spool.folder / _RUNNING

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self._spool.folder / _LOCK, wait=False))
            except TimeoutError:
                raise OutboxError(
                    "Another process is rewrapping the packets of this outbox. Wait until it has ended."
                ) from None
            if self._running.exists():
                self._put_right()
            files.write_atomic(self._running, b"")
            yield
            self._running.unlink()

    def _put_right(self) -> None:
        for former in sorted(self._spool.folder.glob(f"*/*{FORMER}")):
            path = former.with_suffix(".age")
            with self._database.read() as connection:
                known = connection.execute(
                    self._database.sql(_DIGEST), {"packet_id": former.stem}
                ).scalar_one_or_none()
            if known is not None and known == _sha256(former):
                former.replace(path)
            elif known is not None and path.exists() and known == _sha256(path):
                former.unlink()
            # Where the row is of neither, or gone, nothing tells which is the good copy: both stay.
            files.fsync_folder(path.parent)
        for left in self._spool.folder.glob(f"*/*{REWRAPPED}"):
            left.unlink()

    def _stage(
        self, rows: Sequence[Row[tuple[str, str, int]]], wrap: Wrap, report: RewrapReport
    ) -> list[_Change]:
        """Write new bytes beside the old ones, durably, under names that nobody looks for."""
        changes: list[_Change] = []
        staged: dict[Path, bytes] = {}
        for row in rows:
            if self._moves(row.packet_id):
                report.moving.append(row.packet_id)
                continue
            packet = self._spool.packet(row.packet_id, row.sha256, row.size)
            try:
                self._spool.verify(packet)
                old = self._spool.path(row.packet_id).read_bytes()
            except (SpoolError, OSError) as error:
                report.damaged.append(str(error))
                continue
            new = wrap(old)
            if new is None:
                report.closed.append(row.packet_id)
                continue
            staged[self._spool.path(row.packet_id).with_suffix(REWRAPPED)] = new
            digest = hashlib.sha256(new).hexdigest()
            changes.append(_Change(packet_id=row.packet_id, old=row.sha256, new=digest, size=len(new)))
        if staged:
            files.write_many_atomic(staged, mode=0o600)
        return changes

    def _moves(self, packet_id: str) -> bool:
        with self._database.read() as connection:
            return self._moving(connection, packet_id)

    def _moving(self, connection: Connection, packet_id: str) -> bool:
        found = connection.execute(self._database.sql(_MOVED), {"packet_id": packet_id}).first()
        return found is not None

    def _apply(self, changes: Sequence[_Change], to: str, who: str, report: RewrapReport) -> None:
        """Change rows and names together: nobody can claim a packet between the two."""
        switched: list[Path] = []
        told: list[AuditEntry] = []
        try:
            with self._database.write() as connection:
                for change in changes:
                    if not self._rewrite(connection, change):
                        report.moving.append(change.packet_id)
                        self._spool.path(change.packet_id).with_suffix(REWRAPPED).unlink()
                        continue
                    told.append(
                        entry(
                            _EVENT,
                            at_ms=self._clock.now_ms(),
                            packet_id=change.packet_id,
                            who=who,
                            before=change.old,
                            after=change.new,
                            to=to,
                        )
                    )
                    path = self._spool.path(change.packet_id)
                    switched.append(path)
                    path.rename(path.with_suffix(FORMER))
                    path.with_suffix(REWRAPPED).rename(path)
                for folder in {path.parent for path in switched}:
                    files.fsync_folder(folder)
                self._audit.append(connection, told)
        except BaseException:
            # Whether it was committed, the database alone knows; if it cannot be asked now, the next one to come asks.
            with contextlib.suppress(Exception):
                self._put_right()
            raise
        for path in switched:
            path.with_suffix(FORMER).unlink()
        report.rewrapped += len(switched)

    def _rewrite(self, connection: Connection, change: _Change) -> bool:
        sql = self._database.sql
        bound = {
            "packet_id": change.packet_id,
            "old": change.old,
            "new": change.new,
            "size": change.size,
        }
        # Whoever is just claiming it is waited for, and seen; whoever comes later waits or goes past it.
        connection.execute(sql(_HOLD), bound)
        if self._moving(connection, change.packet_id):
            return False
        if connection.execute(sql(_REPLACE), bound).rowcount == 0:
            return False
        connection.execute(sql(_RESIZE), bound)
        connection.execute(sql(_COPY_AGAIN), bound)
        return True


def ever_rewrapped(database: Database) -> bool:
    """Return whether any packet was rewrapped; see :meth:`Outbox.rewrapped`."""
    with database.read() as connection:
        return connection.execute(database.sql(_ANY)).first() is not None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
