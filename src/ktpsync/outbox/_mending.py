"""Putting good bytes of packets back into the spool, where they are damaged, missing or in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.errors import SpoolError
from ktpsync.outbox._audit import entry
from ktpsync.outbox._examine import wrong_with
from ktpsync.outbox._spool import check_digest
from ktpsync.outbox._states import DAMAGED
from ktpsync.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._mender import Mender
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._views import Views


@frozen(kw_only=True)
class Suspect:
    """A packet whose bytes in the spool are to be looked after.

    Args:
        packet_id: Which.
        sha256: The digest that its bytes must have; ``None`` where the database does not know the packet, of which
            a file is in quarantine.
        why: What is wrong with them: ``damaged``, ``missing``, ``quarantined``; empty if only a delivery waits and the
            bytes are whole.
    """

    packet_id: str
    sha256: str | None
    why: str


class Mending:
    """Mends the spool of one outbox."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        audit: AuditTrail,
        views: Views,
        clock: Clock,
        *,
        mender: Mender,
    ) -> None:
        self._database = database
        self._spool = spool
        self._mender = mender
        self._audit = audit
        self._views = views
        self._clock = clock

    def suspects(self, *, read: bool) -> Iterator[Suspect]:
        """Yield what is to be mended; see :meth:`Outbox.suspects`."""
        self._spool.check()
        waiting = {view.packet_id for view in self._views.rejected(None) if view.code == DAMAGED}
        for view in self._views.packets():
            if view.location != "spool":
                continue
            wrong = wrong_with(self._spool, view, read=read or view.packet_id in waiting)
            if wrong is not None or view.packet_id in waiting:
                why = "" if wrong is None else wrong[0]
                yield Suspect(packet_id=view.packet_id, sha256=view.sha256, why=why)
        for packet_id in self._mender.quarantined():
            if self._views.locate(packet_id) is None:
                yield Suspect(packet_id=packet_id, sha256=None, why="quarantined")

    def from_quarantine(self, packet_id: str, sha256: str) -> bytes | None:
        """Return a packet's bytes from quarantine, if whole ones were put there."""
        return self._mender.from_quarantine(packet_id, sha256)

    def put_back(
        self, packet_id: str, sealed: bytes, located: tuple[str, str], *, source: str, who: str, why: str
    ) -> None:
        """Let good bytes take the place of damaged or missing ones; see :meth:`Outbox.put_back`."""
        location, sha256 = located
        if location != "spool":
            raise SpoolError(
                f"The bytes of packet {packet_id} are {location} and not to be in the spool. Nothing was changed."
            )
        check_digest(packet_id, sealed, sha256)
        kept = f"it is damaged; a good copy from {source} took its place"
        if self._mender.replace(packet_id, sealed, sha256, why=kept):
            self.tell(packet_id, sha256, source=source, who=who, why=why)

    def tell_adopted(self, *, who: str, why: str) -> None:
        """Write into the audit trail that the spool's folder is a new one, who says so and why."""
        told = entry("spool-replaced", at_ms=self._clock.now_ms(), who=plain(who), why=plain(why))
        with self._database.write() as connection:
            self._audit.append(connection, [told])

    def tell(self, packet_id: str, sha256: str, *, source: str, who: str, why: str) -> None:
        """Write into the audit trail that a packet's bytes came back, from where, who wanted it and why."""
        told = entry(
            "mended",
            at_ms=self._clock.now_ms(),
            packet_id=packet_id,
            who=plain(who),
            why=plain(why),
            source=source,
            sha256=sha256,
        )
        with self._database.write() as connection:
            self._audit.append(connection, [told])
