"""Examining an office, and making its outbox anew when the database is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync import config as configuration
from ktpsync.backup import (
    OutboxTarget,
    Repository,
    continue_backups,
    ignore_progress,
    outbox_was_rebuilt,
    packet_opener,
)
from ktpsync.backup import restore as restore_from
from ktpsync.clock import SystemClock
from ktpsync.errors import AgeError, ConfigError, KeyFileError, PacketError, RecordError, WrongStateError
from ktpsync.keys import StationKey
from ktpsync.office._backup_places import storage_of
from ktpsync.office._destinations import destination_specs
from ktpsync.office._layout import DataFolder
from ktpsync.outbox import FolderSpool, Rebuilt, is_sound, rebuild
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ktpsync.age import Identity
    from ktpsync.backup import ProgressCallback, RestoreReport
    from ktpsync.clock import Clock
    from ktpsync.outbox import Found, Outbox


def rebuild_outbox(
    config: Path,
    *,
    backup: str | None = None,
    identities: Sequence[Identity] = (),
    new_spool: bool = False,
    clock: Clock | None = None,
    progress: ProgressCallback = ignore_progress,
) -> tuple[Rebuilt, RestoreReport | None]:
    """Set the damaged database of an office aside and make it anew.

    From the sealed packets in the spool and what can still be read of the database; with a backup and an
    identity also from there: bytes that the spool lacks, receipts, statuses and history up to the snapshot.
    A file of the spool makes way only for a copy in the backup that is proven whole, and only if it is not proven whole
    itself: it goes into quarantine then. Nothing is deleted. Reconcile afterwards, so that nothing that the centre holds is sent again.

    Args:
        config: The configuration file, or its folder.
        backup: The name of a backup in it.
        identities: Identities of one of the backup's recipients.
        new_spool: Whether the spool may be empty, because all that was in it is lost.
        clock: The clock to ask.
        progress: Called as packets are restored from the backup.

    Returns:
        What was found here, and what the backup gave.

    Raises:
        WrongStateError: The database is whole. Nothing was changed.
        SchemaVersionError: The database is of a newer release. Nothing was changed.
        OutboxInUseError: A process works with the outbox.
        SpoolUnavailableError: The spool is an empty folder, as when its disk is not mounted. Nothing was changed.
        ConfigError: The configuration has problems, or the outbox is not SQLite.
        RestoreError: The backup cannot be opened with these identities. Nothing was changed.
        BackendError: The backup cannot be reached. Nothing was changed.
    """
    settings = configuration.load(config, secrets=PluginRegistry.load().secret_sources())
    if settings.office.database is not None and settings.office.database.reveal().startswith("sqlite"):
        raise ConfigError(
            "This office's outbox is in the application's database, which has other tables too and is not made anew here. "
            "Put it back from its backup, if its file is damaged. Then `ktpsync doctor --recover` gives the packets that it "
            "lacks their rows again; that also makes the outbox's tables anew where some are missing."
        )
    if settings.office.database is not None:
        raise ConfigError(
            "This office's outbox is in a database server. Restore the server's database from its own backup, or "
            "restore the office into a new folder and database with `ktpsync restore`."
        )
    data = DataFolder(settings.office.data)
    if is_sound(data.database, FolderSpool(data.spool), clock=clock or SystemClock()):
        raise WrongStateError(
            f"The database {data.database} is whole, no older copy, and agrees with the packets in the spool: there is nothing to "
            "make anew, and a new one would know less. Nothing was changed."
        )
    given: list[RestoreReport] = []

    def fill(outbox: Outbox, found: Found) -> None:
        if backup is None:
            outbox.import_state(found.records())
            return
        with storage_of(config, backup) as storage:
            target = OutboxTarget(outbox, found=found, opens=_opener(data, identities))
            report = restore_from(
                Repository.open_to_read(storage), target, identities=identities, progress=progress
            )
        continue_backups(outbox, report, memory=data.backup_memory)
        given.append(report)

    rebuilt = rebuild(
        data.database,
        FolderSpool(data.spool),
        destinations=destination_specs(settings),
        clock=clock or SystemClock(),
        fill=fill,
        new_spool=new_spool,
    )
    outbox_was_rebuilt(data.backup_memory)
    return rebuilt, given[0] if given else None


def _opener(data: DataFolder, identities: Sequence[Identity]) -> Callable[[str, bytes], bool]:
    """Return what tells whether a file of the spool is a whole packet of this office."""
    try:
        open_packet = packet_opener(
            identities, data.trusted_stations(StationKey.load(data.station_key).public)
        )
    except KeyFileError:
        return lambda _packet_id, _sealed: False

    def opens(packet_id: str, sealed: bytes) -> bool:
        try:
            open_packet(packet_id, sealed)
        except (AgeError, PacketError, RecordError):
            return False
        return True

    return opens
