"""Traces, in the spool, of what the database has committed: by them an older copy of it is seen.

What an application commits is not seen by the outbox. So its files are marked a little later: with a submission after it,
or when the outbox is closed. At the same times it is noted how far the audit trail has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.errors import KtpsyncError
from ktpsync.outbox._failures import driver_error_of
from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._values import Submitted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.clock import Clock
    from ktpsync.outbox._orphans import Orphans
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._views import Views

_EVERY_SECONDS: Final = 60.0
_AT_MOST: Final = 1000
"""Packets in open transactions that are remembered; whoever tidies the spool marks the files of others."""


class Marking:
    """Leaves these traces for one opened outbox, if its spool is a folder.

    Args:
        spool: The files.
        views: Says which rows are committed.
        orphans: Notes how far the trail has come.
        clock: Tells when it is time.
    """

    def __init__(self, spool: Spool, views: Views, orphans: Orphans, clock: Clock) -> None:
        self._spool = spool if isinstance(spool, FolderSpool) else None
        self._views = views
        self._orphans = orphans
        self._clock = clock
        self._joined: dict[str, None] = {}
        self._due = clock.monotonic() + _EVERY_SECONDS
        self._stored = False

    def stored(self, results: Iterable[object], *, joined: bool) -> None:
        """Take down what was submitted, and leave traces if it is time.

        Args:
            results: What became of each submission.
            joined: Whether the rows are in an application's transaction.
        """
        if self._spool is None:
            return
        self._stored = True
        if self._clock.monotonic() >= self._due:
            self._leave(self._spool)
        if joined:
            for one in results:
                if isinstance(one, Submitted) and one.created and len(self._joined) < _AT_MOST:
                    self._joined[one.packet_id] = None

    def end(self) -> None:
        """Leave traces of what was submitted since."""
        if self._spool is not None and (self._stored or self._joined):
            self._leave(self._spool)

    def _leave(self, folder: FolderSpool) -> None:
        self._due = self._clock.monotonic() + _EVERY_SECONDS
        # What was submitted is stored: a disk or a database that fails from here on shows where it matters.
        try:
            self._mark_and_note(folder)
        except Exception as error:
            if not isinstance(error, KtpsyncError | OSError) and driver_error_of(error) is None:
                raise

    def _mark_and_note(self, folder: FolderSpool) -> None:
        self._stored = False
        waiting = list(self._joined)
        committed = self._views.spooled(waiting) if waiting else set()
        folder.check()
        folder.keep(committed)
        for packet_id in committed:
            self._joined.pop(packet_id, None)
        self._orphans.note_if_known()
