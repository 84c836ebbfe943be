"""Removing sealed bytes that no row names, and never those of a packet that is just being recorded.

Whoever removes holds the packet's id in the database meanwhile, as a submission does. Whoever submits looks, once it
holds the id, whether the bytes are still there, and writes them again if not. So one of the two always sees the other.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from ktpsync.errors import KtpsyncError
from ktpsync.outbox._copies import VERIFIED_COPIES
from ktpsync.outbox._failures import is_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool

_HOLD: Final = """
INSERT INTO ktpsync_packet (packet_id, sha256, size, urgent, created_ms, location)
VALUES (:packet_id, '', 0, 0, 0, 'spool') ON CONFLICT DO NOTHING
"""
_LET_GO: Final = "DELETE FROM ktpsync_packet WHERE packet_id = :packet_id AND sha256 = ''"
_NEEDLESS: Final = f"""
SELECT p.location = 'purged' OR p.location = 'offloaded' AND EXISTS (SELECT 1 {VERIFIED_COPIES}) AS needless
FROM ktpsync_packet p WHERE p.packet_id = :packet_id
"""


class Unrecorded:
    """Removes bytes from a spool that the rows do not place there.

    Args:
        database: The rows.
        spool: The bytes.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool

    def remove(self, packet_id: str, *, without_row: bool = True) -> bool:
        """Remove a packet's bytes if its row says that they are not here any more; return whether they were removed.

        A crash may have left them after they were offloaded: they stay if no backup has a verified copy by now. Where somebody
        is just recording the packet on a database server, they stay as well.

        Args:
            packet_id: Which.
            without_row: Whether to remove bytes that have no row at all.
        """
        bound = {"packet_id": packet_id}
        with self._database.read() as connection:
            needless = connection.execute(self._database.sql(_NEEDLESS), bound).scalar()
        if needless is not None:
            # Bytes never come back to the spool: what was purged or offloaded stays so.
            if needless:
                self._spool.discard(packet_id)
            return bool(needless)
        return without_row and self._held(packet_id, lambda: self._spool.discard(packet_id))

    def remove_within(self, transaction: Connection, packet_id: str) -> None:
        """Remove the bytes of a packet that was refused in an application's transaction, unless it has a row.

        The transaction holds the packet's id from now on. Bytes whose place cannot be reached stay.
        """
        bound = {"packet_id": packet_id}
        if self._database.change(transaction, _HOLD, bound) != 1:
            return
        try:
            with contextlib.suppress(KtpsyncError, OSError):
                self._spool.discard(packet_id)
        finally:
            self._database.change(transaction, _LET_GO, bound)

    def is_nobodys(self, packet_id: str) -> bool:
        """Return whether a packet has no row, and nobody is just recording it on a database server."""
        return self._held(packet_id, lambda: None)

    def _held(self, packet_id: str, work: Callable[[], None]) -> bool:
        """Work while nobody can record a packet that has no row; return whether that was so."""
        try:
            with self._database.write() as connection:
                if self._database.kind == "postgresql":
                    connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
                free = self._database.change(connection, _HOLD, {"packet_id": packet_id}) == 1
                if free:
                    work()
                connection.rollback()
                return free
        except Exception as error:
            if is_lock_timeout(error):
                return False
            raise
