"""What is done in another way in a folder than in storage, chosen by the spool that an outbox has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._mender import FolderMender, StorageMender
from ktpsync.outbox._rewrap_folder import FolderSwitch
from ktpsync.outbox._rewrap_storage import StorageSwitch
from ktpsync.outbox._storage_quarantine import StorageQuarantine
from ktpsync.outbox._storage_spool import StorageSpool
from ktpsync.outbox._tidying import Tidying
from ktpsync.outbox._trail_notes import FolderTrailNotes, StorageTrailNotes

if TYPE_CHECKING:
    from ktpsync.clock import Clock
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._mender import Mender
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._switch import Switch
    from ktpsync.outbox._trail_notes import TrailNotes


def switch_of(database: Database, spool: Spool, clock: Clock, *, outbox_id: str) -> Switch:
    """Return what gives the packets of a spool new bytes."""
    if isinstance(spool, FolderSpool):
        return FolderSwitch(database, spool)
    storage = _storage(spool)
    return StorageSwitch(database, storage, _tidying(database, storage, clock), outbox_id=outbox_id)


def mender_of(database: Database, spool: Spool, clock: Clock) -> Mender:
    """Return what puts good bytes into a spool in the place of damaged ones."""
    if isinstance(spool, FolderSpool):
        return FolderMender(spool, clock)
    storage = _storage(spool)
    return StorageMender(database, storage, StorageQuarantine(storage.objects, clock))


def tidying_of(database: Database, spool: Spool, clock: Clock) -> Tidying | None:
    """Return what tidies a spool; ``None`` for a folder, where whoever comes next puts right what was begun."""
    return None if isinstance(spool, FolderSpool) else _tidying(database, _storage(spool), clock)


def trail_notes_of(spool: Spool) -> TrailNotes:
    """Return the notes in a spool of how far its database's trail had come."""
    if isinstance(spool, FolderSpool):
        return FolderTrailNotes(spool.folder)
    return StorageTrailNotes(_storage(spool).objects)


def _tidying(database: Database, spool: StorageSpool, clock: Clock) -> Tidying:
    return Tidying(database, spool.objects, StorageQuarantine(spool.objects, clock))


def _storage(spool: Spool) -> StorageSpool:
    assert isinstance(spool, StorageSpool)
    return spool
