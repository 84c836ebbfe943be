"""New bytes in the place of former ones, where the spool is in storage: under a key of their own, which the row names.

Whoever removes an object of a packet that has a row holds that row, and has read its digest from it. Whoever lets a row
name new bytes looks, holding the row, whether they are still there. So neither depends on being alone at it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ktpsync.errors import OutboxError, SpoolError
from ktpsync.outbox._spool_objects import digest_key, keys_of
from ktpsync.outbox._tidying import hold_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ktpsync.outbox._database import Database
    from ktpsync.outbox._storage_spool import StorageSpool
    from ktpsync.outbox._switch import Change
    from ktpsync.outbox._tidying import Tidying
    from ktpsync.packet import SealedPacket


class StorageSwitch:
    """Switches the objects of one outbox; see :class:`Switch`."""

    def __init__(self, database: Database, spool: StorageSpool, tidying: Tidying, *, outbox_id: str) -> None:
        self._database = database
        self._spool = spool
        self._tidying = tidying
        self._outbox_id = outbox_id

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from switching, after what a crash left was put right; see :class:`Switch`."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._database.alone(f"ktpsync rewrap {self._outbox_id}"))
            except TimeoutError:
                raise OutboxError(
                    "Another process is rewrapping the packets of this outbox. Wait until it has ended."
                ) from None
            self._tidying.all(before_ms=None)
            yield

    def read(self, packets: Sequence[SealedPacket]) -> list[bytes | str]:
        """Return the packets' bytes, some at a time, or why there are none."""
        return self._spool.objects.together(_read, packets)

    def stage(self, changes: Sequence[Change]) -> None:
        """Store new bytes under keys of their digests; the storage has them verified when this returns."""
        self._spool.objects.together(self._stage, changes)

    def _stage(self, change: Change) -> None:
        self._spool.objects.put(digest_key(change.packet_id, change.new), change.sealed, sha256=change.new)

    def unstage(self, changes: Sequence[Change]) -> None:
        """Remove new bytes that are not wanted after all, unless somebody else's row names them."""
        self._tidying.packets(change.packet_id for change in changes)

    def switch(self, changes: Sequence[Change]) -> None:
        """Store new bytes again that somebody has tidied away; from now on nobody does, as the rows are held."""
        self._spool.objects.together(self._stay, changes)

    def _stay(self, change: Change) -> None:
        if not self._spool.objects.exists(digest_key(change.packet_id, change.new)):
            self._stage(change)

    def end(self, changes: Sequence[Change]) -> None:
        """Remove the former objects of packets whose rows still name the new ones."""
        with self._database.write() as connection:
            still = [
                change
                for change in changes
                if change.old != change.new
                and hold_digest(self._database, connection, change.packet_id) == change.new
            ]
            self._spool.objects.together(self._drop, still)

    def _drop(self, change: Change) -> None:
        for key in keys_of(change.packet_id, change.old):
            self._spool.objects.delete(key)

    def put_right(self, changes: Sequence[Change]) -> None:
        """Remove what the rows do not name, if it can be told now; else the service does it, or the next rewrap."""
        self._tidying.packets(change.packet_id for change in changes)


def _read(packet: SealedPacket) -> bytes | str:
    try:
        with packet.open() as file:
            return file.read()
    except SpoolError as error:
        return str(error)
