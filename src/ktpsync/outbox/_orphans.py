"""Sealed bytes in the spool without a row: a rollback's or a crash's, unless it is the database that lacks their rows.

A database that was put back from an older copy lacks rows of packets that were stored. Their bytes are the last of them, and
nothing shows for certain that others are not: so bytes without a row are never removed. That the database is an older copy
is seen by a mark that a file gets once its row is committed, and by a note of how far the audit trail had come.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Final

from ktpsync.errors import OutboxDamagedError
from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._trail_notes import TrailNote
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._tidying import Tidying
    from ktpsync.outbox._trail_notes import TrailNotes
    from ktpsync.outbox._unrecorded import Unrecorded
    from ktpsync.outbox._views import Views

log = logging.getLogger("ktpsync.outbox")

ORPHAN_AGE_MS: Final = 24 * 3_600_000
"""How old bytes without a row must be before nobody is about to write it: longer than any transaction lives."""

_PAGE: Final = 500


class Orphans:
    """Tidies the spool of one outbox, and looks whether its database is the one that knew the spool's packets.

    Args:
        spool: Where.
        audit: The trail of the database that knows the packets.
        views: Says which packets it knows.
        unrecorded: Removes bytes whose row says that they are not here any more.
        clock: The clock to ask.
        tidying: Removes what an interrupted rewrap or repair has left in storage; ``None`` for a folder.
        notes: How far the trail had come.
        outbox_id: The outbox that the database is of.
        rebuildable: Whether the database can be made anew from the spool: a file can, a database server's cannot.
    """

    def __init__(
        self,
        spool: Spool,
        audit: AuditTrail,
        views: Views,
        unrecorded: Unrecorded,
        clock: Clock,
        *,
        tidying: Tidying | None,
        notes: TrailNotes,
        outbox_id: str,
        rebuildable: bool,
    ) -> None:
        self._spool = spool
        self._notes = notes
        self._rebuildable = rebuildable
        self._tidying = tidying
        self._folder = spool if isinstance(spool, FolderSpool) else None
        self._audit = audit
        self._views = views
        self._unrecorded = unrecorded
        self._clock = clock
        self._outbox_id = outbox_id

    def collect(self) -> int:
        """Tidy; see :meth:`Outbox.collect_orphans`."""
        self._spool.check()
        self.check()
        self.note()
        before_ms = self._clock.now_ms() - ORPHAN_AGE_MS
        self._spool.clear_temporaries(before_ms)
        removed = 0 if self._tidying is None else self._tidying.all(before_ms=before_ms)
        left = 0
        old_files = self._spool.old_files(before_ms)
        while packet_ids := list(itertools.islice(old_files, _PAGE)):
            needed = self._views.spooled(packet_ids)
            self._spool.keep(needed)
            gone = [
                self._unrecorded.remove(packet_id, without_row=False)
                for packet_id in packet_ids
                if packet_id not in needed
            ]
            removed += sum(gone)
            left += len(gone) - sum(gone)
        if left and self._folder is None:
            log.warning(
                "the spool has %s that the database does not know: a rollback's, or the database is an older copy. "
                "`ktpsync doctor --recover --dry-run` names them.",
                counted(left, "packet", "packets"),
                extra={"facts": {"event": "unrecorded", "packets": left}},
            )
        return removed

    def check(self) -> None:
        """Look whether the database knows what the spool has seen.

        Raises:
            OutboxDamagedError: The database is older than what the spool has seen, or another one.
        """
        self.check_notes()
        if self._folder is None:
            return
        lost = sum(1 for page in self._folder.pages(_PAGE) for _ in self._lost(self._folder, page))
        if not lost or not self._folder.marks():
            return
        if self._rebuildable:
            raise OutboxDamagedError(
                f"The outbox's database is an older copy, or another one. It lacks {counted(lost, 'packet', 'packets')} recorded "
                f"in {self._folder.folder}, whose files are the last of them. No file was removed; put the newer database "
                "back, or let `ktpsync doctor --rebuild` make it anew from the packets."
            )
        raise OutboxDamagedError(
            f"The outbox's database is an older copy, or another one. It lacks {counted(lost, 'packet', 'packets')} recorded "
            f"in {self._folder.folder}, whose files are the last of them. No file was removed; put the newer database "
            "back, or let `ktpsync doctor --recover` give these packets their rows again."
        )

    def _lost(self, folder: FolderSpool, packet_ids: Sequence[str]) -> Iterator[str]:
        """Yield the packets whose row was committed and is not there any more."""
        known = self._views.spooled(packet_ids)
        for packet_id in packet_ids:
            # The mark first: who is just recording the packet sets it after the row is there.
            if packet_id not in known and folder.kept(packet_id) and self._views.locate(packet_id) is None:
                yield packet_id

    def _knows(self, note: TrailNote) -> bool:
        return note.outbox_id == self._outbox_id and self._audit.holds(note.seq, note.hash)

    def check_notes(self) -> None:
        """Look whether the trail goes on from what is noted in the spool: a part of :meth:`check` that takes no time.

        Raises:
            OutboxDamagedError: It does not.
        """
        for note in self._notes.all():
            if self._knows(note):
                continue
            if self._rebuildable:
                raise OutboxDamagedError(
                    f"The outbox's database is an older copy, or another one, than that whose packets are in {self._spool.place}: "
                    "it may lack packets that were stored, and their files are the last of them. No file was removed; put the newer "
                    "database back, or let `ktpsync doctor --rebuild` make it anew from the packets."
                )
            raise OutboxDamagedError(
                f"The outbox's database is an older copy, or another one, than that whose packets are in {self._spool.place}: "
                "it may lack packets that were stored, and what is there is the last of them. Nothing was removed; put the newer "
                "database back, or let `ktpsync doctor --recover` give these packets their rows again."
            )

    def note_if_known(self) -> None:
        """Note how far the trail has come, unless the database lacks what was noted before: that is not to be forgotten."""
        if all(self._knows(note) for note in self._notes.all()):
            self.note()

    def note(self) -> None:
        """Note in the spool how far the trail has come, once it was seen to go on from the notes that are there."""
        seq, head = self._audit.head()
        if seq:
            self._notes.write(TrailNote(outbox_id=self._outbox_id, seq=seq, hash=head))
