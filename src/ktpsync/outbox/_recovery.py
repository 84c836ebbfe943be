"""Giving packets their rows again that are in the spool and that the database does not know.

A database that was put back from an older copy, or that is a new one, lacks them; their bytes in the spool may be the last
ones. A rollback and a crash leave such bytes as well, and nothing tells the two apart for certain: so a person decides.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Final
from uuid import UUID

from attrs import frozen

from ktpsync.errors import PacketError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._looks_sealed import HEADER_LIMIT, why_not_sealed
from ktpsync.outbox._rewrap import replace_row
from ktpsync.outbox._spool_objects import keys_of, packet_of
from ktpsync.outbox._storage_spool import StorageSpool
from ktpsync.outbox._switch import Change
from ktpsync.outbox._tidying import hold_digest
from ktpsync.packet import parse_packet_id
from ktpsync.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._spool_objects import SpoolObjects
    from ktpsync.outbox._unrecorded import Unrecorded
    from ktpsync.outbox._values import AuditEntry
    from ktpsync.outbox._views import Views
    from ktpsync.plugins import ObjectInfo

RECOVERY_AGE_MS: Final = 600_000
"""How old bytes must be before they are taken: longer than a submission takes from its bytes to its row."""

_EVENT: Final = "recovered"
_PAGE: Final = 500


@frozen(kw_only=True)
class UnrecordedBytes:
    """Bytes in the spool that the rows do not name.

    Args:
        packet_id: Of which packet, as their name says.
        sha256: Their digest; empty where there are no bytes that could be read.
        size: How many bytes.
        known: Whether the database knows the packet with other bytes, which are not whole any more.
        problem: Why they are left as they are; empty if they can be taken.
    """

    packet_id: str
    sha256: str
    size: int
    known: bool
    problem: str


class Recovery:
    """Recovers the packets of one outbox.

    Args:
        database: The rows.
        spool: The bytes.
        audit: Tells who wanted it.
        views: Says which packets are known.
        unrecorded: Says whether somebody is just recording a packet.
        clock: The clock to ask.
        submit: Gives sealed bytes rows, by packet id and digest.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        audit: AuditTrail,
        views: Views,
        *,
        unrecorded: Unrecorded,
        clock: Clock,
        submit: Callable[[bytes, str, str], object],
    ) -> None:
        self._database = database
        self._spool = spool
        self._objects = spool.objects if isinstance(spool, StorageSpool) else None
        self._audit = audit
        self._views = views
        self._unrecorded = unrecorded
        self._clock = clock
        self._submit = submit

    def found(self, since_ms: int | None) -> Iterator[UnrecordedBytes]:
        """Yield what the spool has and the rows do not name; see :meth:`Outbox.unrecorded`."""
        before_ms = self._clock.now_ms() - RECOVERY_AGE_MS
        for packet_id in self._without_row(before_ms, since_ms):
            sealed = self._spool.read(packet_id)
            yield _found(packet_id, sealed, known=False)
        if self._objects is not None:
            for packet_id, infos in self._with_other_bytes(self._objects, before_ms):
                other = self._other(self._objects, packet_id, infos)
                if other is not None:
                    yield _found(packet_id, other, known=True)

    def take(self, found: UnrecordedBytes, *, who: str, why: str) -> bool:
        """Give bytes that were found their rows; return whether they were taken.

        They are not where somebody else did it, or is just recording the packet, or where they changed meanwhile.
        """
        if found.problem:
            return False
        if found.known:
            return self._objects is not None and self._switch(self._objects, found, who=who, why=why)
        sealed = self._spool.read(found.packet_id)
        if sealed is None or hashlib.sha256(sealed).hexdigest() != found.sha256:
            return False
        if not self._unrecorded.is_nobodys(found.packet_id):
            return False
        self._submit(sealed, found.packet_id, found.sha256)
        with self._database.write() as connection:
            self._audit.append(connection, [self._told(found, who, why, sha256=found.sha256)])
        return True

    def _without_row(self, before_ms: int, since_ms: int | None) -> Iterator[str]:
        folder = self._spool if isinstance(self._spool, FolderSpool) else None
        marks = folder is not None and folder.marks()
        ids = self._spool.old_files(before_ms)
        while page := list(itertools.islice(ids, _PAGE)):
            known = self._views.located(page)
            for packet_id in page:
                if packet_id in known:
                    continue
                # A mark tells that a row was committed, whenever that was; without one it was most likely not.
                marked = folder is not None and marks and folder.kept(packet_id)
                if marked or (_recorded_ms(packet_id) >= since_ms if since_ms is not None else not marks):
                    yield packet_id

    def _with_other_bytes(
        self, objects: SpoolObjects, before_ms: int
    ) -> Iterator[tuple[str, Sequence[ObjectInfo]]]:
        """Yield packets that have objects of digests which their rows do not name."""
        packets = objects.packets()
        while page := dict(itertools.islice(packets, _PAGE)):
            rows = self._views.located(list(page))
            for packet_id, infos in page.items():
                location, sha256 = rows.get(packet_id, ("", ""))
                others = [
                    info
                    for info in infos
                    if (packet_of(info.key) or ("", None))[1] not in {None, sha256}
                    and info.modified.timestamp() * 1000 < before_ms
                ]
                if location == "spool" and others:
                    yield packet_id, sorted(others, key=lambda info: info.modified, reverse=True)

    def _other(self, objects: SpoolObjects, packet_id: str, infos: Sequence[ObjectInfo]) -> bytes | None:
        """Return the newest whole bytes of a packet of which those that its row names are not whole."""
        located = self._views.locate(packet_id)
        if located is None or any(
            objects.whole(key, located[1]) is not None for key in keys_of(packet_id, located[1])
        ):
            return None
        for info in infos:
            owner = packet_of(info.key)
            sealed = None if owner is None or owner[1] is None else objects.whole(info.key, owner[1])
            if sealed is not None:
                return sealed
        return None

    def _switch(self, objects: SpoolObjects, found: UnrecordedBytes, *, who: str, why: str) -> bool:
        """Let a packet's row name the bytes that were found."""
        with self._database.write() as connection:
            old = hold_digest(self._database, connection, found.packet_id)
            if old is None or any(
                objects.whole(key, old) is not None for key in keys_of(found.packet_id, old)
            ):
                return False
            _, key = keys_of(found.packet_id, found.sha256)
            sealed = objects.whole(key, found.sha256)
            if sealed is None:
                return False
            change = Change(packet_id=found.packet_id, old=old, new=found.sha256, sealed=sealed)
            replace_row(self._database, connection, change)
            told = self._told(found, who, why, before=old, after=found.sha256)
            self._audit.append(connection, [told])
        return True

    def _told(self, found: UnrecordedBytes, who: str, why: str, **facts: str) -> AuditEntry:
        at_ms = self._clock.now_ms()
        return entry(_EVENT, at_ms=at_ms, packet_id=found.packet_id, who=plain(who), why=plain(why), **facts)


def _recorded_ms(packet_id: str) -> int:
    try:
        return UUID(parse_packet_id(packet_id)).int >> 80
    except PacketError:
        return 0


def _found(packet_id: str, sealed: bytes | None, *, known: bool) -> UnrecordedBytes:
    if sealed is None:
        problem = "its bytes are not those that its name says"
        return UnrecordedBytes(packet_id=packet_id, sha256="", size=0, known=known, problem=problem)
    problem = why_not_sealed(sealed[:HEADER_LIMIT], len(sealed)) or ""
    try:
        parse_packet_id(packet_id)
    except PacketError:
        problem = "its name is not a packet's"
    digest = hashlib.sha256(sealed).hexdigest()
    return UnrecordedBytes(packet_id=packet_id, sha256=digest, size=len(sealed), known=known, problem=problem)
