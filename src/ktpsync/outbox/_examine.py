"""Looking at an outbox as a doctor does: whether its database, its files and its trail agree."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.errors import OutboxDamagedError, SpoolError, SpoolUnavailableError
from ktpsync.files import drop_page_cache
from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._orphans import ORPHAN_AGE_MS
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.clock import Clock
    from ktpsync.outbox._audit import AuditTrail
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._orphans import Orphans
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._values import PacketView
    from ktpsync.outbox._views import Views

_PAGE = 500


@frozen(kw_only=True)
class Examination:
    """What an examination of an outbox found.

    Args:
        packets: How many packets the database knows.
        problems: One sentence for each damage; empty if all is well.
        notices: One sentence for each thing that is odd and harms nothing.
    """

    packets: int
    problems: tuple[str, ...]
    notices: tuple[str, ...]


class Examiner:
    """Examines one opened outbox. It changes nothing."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        audit: AuditTrail,
        views: Views,
        clock: Clock,
        *,
        orphans: Orphans,
    ) -> None:
        self._database = database
        self._spool = spool
        self._audit = audit
        self._views = views
        self._clock = clock
        self._orphans = orphans

    def examine(self, *, read: bool) -> Examination:
        """Compare rows, files and trail; see :meth:`Outbox.examine`."""
        problems = list(self._database_problems(thorough=read))
        at_hand = True
        try:
            self._spool.check()
        except SpoolUnavailableError as error:
            at_hand = False
            problems.append(str(error))
        packets = 0
        for view in self._views.packets():
            packets += 1
            if at_hand and view.location == "spool":
                try:
                    wrong = wrong_with(self._spool, view, read=read)
                except OSError as error:
                    problems.append(f"The file of packet {view.packet_id} cannot be read: {error.strerror}.")
                else:
                    problems += [] if wrong is None else [wrong[1]]
        problems += self._audit.verify().problems
        notices: list[str] = []
        if at_hand:
            try:
                try:
                    self._orphans.check()
                except OutboxDamagedError as error:
                    problems.append(str(error))
                notices += self._odd_files()
            except OSError as error:
                problems.append(f"{error.filename} cannot be read: {error.strerror}.")
        return Examination(packets=packets, problems=tuple(problems), notices=tuple(notices))

    def _database_problems(self, *, thorough: bool) -> Iterator[str]:
        if self._database.kind != "sqlite":
            return
        with self._database.read() as connection:
            check = "integrity_check" if thorough else "quick_check"
            for (line,) in connection.exec_driver_sql(f"PRAGMA {check}"):
                if line != "ok":
                    yield f"The database is damaged: {line}."
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                yield f"The database is damaged: a row of {row[0]} belongs to a packet that is not there."

    def _odd_files(self) -> Iterator[str]:
        lacking: set[str] = set()
        for page in self._spool.pages(_PAGE):
            lacking |= set(page) - self._views.spooled(page)
        old: set[str] = set()
        if lacking:
            old = lacking.intersection(self._spool.old_files(self._clock.now_ms() - ORPHAN_AGE_MS))
        young = len(lacking) - len(old)
        if young:
            yield f"{counted(young, 'file', 'files')} of the last 24 hours without a row: submissions under way or rolled back."
        if old:
            files = counted(len(old), "file", "files")
            yield (
                f"{files} older than 24 hours without a row, left where they are: a rollback's, or of packets that the "
                "database lacks. `ktpsync doctor --recover --dry-run` names them."
            )
        if isinstance(self._spool, FolderSpool):
            for path in self._spool.foreign_files():
                yield f"{path} is not a packet's file."


def wrong_with(spool: Spool, view: PacketView, *, read: bool) -> tuple[str, str] | None:
    """Return what is wrong with the file of a packet in the spool, in a word (``missing``, ``damaged``) and a sentence.

    Args:
        spool: The spool.
        view: The packet, as its row says.
        read: Whether to read the file, from the medium where the system can do that; else only its size is looked at.
    """
    packet = spool.packet(view.packet_id, view.sha256, view.size)
    try:
        if not spool.glance(packet):
            told = f"The sealed bytes of packet {view.packet_id} are not in the spool."
            return "missing", f"{told} `ktpsync doctor --repair` looks for a good copy."
        if read:
            if isinstance(spool, FolderSpool):
                # What was written a moment ago would be read from memory, however bad the medium is.
                with contextlib.suppress(OSError), packet.open() as file:
                    drop_page_cache(file)
            spool.verify(packet)
    except SpoolError as error:
        return "missing" if spool.lacking([view.packet_id]) else "damaged", str(error)
    return None
