"""From a backup to an office on a new machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ktpsync import age, files
from ktpsync.backup import (
    RESTORE_MARKER,
    Depth,
    Repository,
    extract,
    ignore_progress,
    restore_station,
    verify,
)
from ktpsync.config import CONFIG_NAME
from ktpsync.errors import BackupError, RestoreError
from ktpsync.keys import IndexKey, StationKey
from ktpsync.office._backup_places import storage_at, storage_of
from ktpsync.office._layout import DataFolder
from ktpsync.office._setup import make_office
from ktpsync.outbox import Outbox
from ktpsync.plugins import StorageBackend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ktpsync.backup import (
        ExtractReport,
        ProgressCallback,
        RestoreReport,
        Selection,
        Snapshot,
        VerifyReport,
    )
    from ktpsync.errors import DamagedBackupError


def restore(
    source: StorageBackend | Path | str,
    *,
    into: Path | str,
    identity: age.Identity | Sequence[age.Identity] | Path | str,
    config: Path | None = None,
    snapshot: str | None = None,
    selection: Selection | None = None,
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Rebuild an office from a backup, in an empty folder of a new machine.

    An interrupted restore goes on where it stopped when it is called again. The station gets a new signing
    key, unless the backup holds the old one; its public half must be given to the centre. Afterwards name the destinations in the new
    configuration file and reconcile, so that nothing is sent twice or forgotten.

    Args:
        source: The marked folder of the disk that holds the backup, a storage backend, or, with ``config``,
            a backup's name.
        into: The new office's folder; missing, empty, or left by an interrupted restore.
        identity: An identity of one of the backup's recipients, several, or their file if it is not sealed.
        config: A configuration file whose ``[backups.NAME]`` says where the backup is, such as a copy of
            the old office's.
        snapshot: Which snapshot; the newest if not given.
        selection: Which packets, by id or by when they were recorded; all if not given.
        progress: Called as packets are restored.

    Returns:
        What came back. What is damaged in the backup is listed and left out; all the rest is there.

    Raises:
        RestoreError: The folder is not empty, no snapshot can be used, or the identity does not open it.
        BackendError: The backup cannot be reached.
    """
    into = Path(into)
    data = DataFolder(into / "data")
    if (into / CONFIG_NAME).exists() and not (data.root / RESTORE_MARKER).exists():
        raise RestoreError(
            f"{into} is an office already, and a restore never overwrites. Choose an empty folder."
        )
    identities = _identities(identity)
    storage = _storage(source, config)
    with storage:
        repository = Repository.open_to_read(storage)
        report = restore_station(
            repository,
            data.root,
            identities=identities,
            open_outbox=lambda root: Outbox.open(DataFolder(root).database, DataFolder(root).spool),
            memory=data.backup_memory,
            snapshot=snapshot,
            selection=selection,
            finish=lambda report: _make_office(into, data, repository, report),
            progress=progress or ignore_progress,
        )
    if selection is not None:
        there = {*report.packet_ids, *report.damaged, *report.missing}
        report = evolve(report, missing=(*report.missing, *sorted(selection.packet_ids - there)))
    return report


def _make_office(into: Path, data: DataFolder, repository: Repository, report: RestoreReport) -> None:
    """Give a restored outbox its keys and a configuration file. Done again after a crash, it completes what is missing."""
    recipients = repository.snapshot(report.head.name).manifest.recipients
    _remember_stations(repository, report.lineage, data)
    if report.index_key is not None and not data.index_key.exists():
        files.make_folder(data.index_key.parent, mode=0o700)
        IndexKey.from_hex(report.index_key).save(data.index_key)
    if report.station_key is not None and not data.station_key.exists():
        files.make_folder(data.station_key.parent, mode=0o700)
        StationKey.from_pem(report.station_key.encode("ascii")).save(data.station_key)
    if not (into / CONFIG_NAME).exists():
        make_office(into, recipients=recipients)


def _remember_stations(repository: Repository, lineage: str, data: DataFolder) -> None:
    """Keep the public keys that signed what was restored: its packets and snapshots stay theirs."""
    files.make_folder(data.earlier_stations, mode=0o700)
    for name in repository.snapshot_names():
        try:
            snapshot = repository.snapshot(name)
        except BackupError:
            continue
        if snapshot.manifest.lineage == lineage:
            key = snapshot.signer
            files.write_atomic(data.earlier_stations / f"{key.key_id}.pem", key.to_pem())


def _identities(given: age.Identity | Sequence[age.Identity] | Path | str) -> Sequence[age.Identity]:
    if isinstance(given, str | Path):
        return age.read_identities(given)
    return [given] if isinstance(given, age.Identity) else list(given)


def _storage(source: StorageBackend | Path | str, config: Path | None) -> StorageBackend:
    if isinstance(source, StorageBackend):
        return source
    return storage_at(Path(source)) if config is None else storage_of(config, str(source))


def extract_packets(
    source: StorageBackend | Path | str, packet_ids: Iterable[str], *, into: Path
) -> ExtractReport:
    """Take single packets out of a backup without its office, still sealed: no key is needed.

    Args:
        source: The marked folder of the disk that holds it, or a storage backend.
        packet_ids: Which.
        into: The folder to write ``<packet id>.age`` files to; nothing in it is overwritten.

    Raises:
        RepositoryError: There is no repository.
        BackendError: It cannot be reached.
    """
    with _storage(source, None) as storage:
        return extract(Repository.open_to_read(storage), packet_ids, into)


def list_snapshots(source: StorageBackend | Path | str) -> list[Snapshot | DamagedBackupError]:
    """Return the snapshots of a backup without its office, oldest first: no key is needed.

    Args:
        source: The marked folder of the disk that holds it, or a storage backend.

    Returns:
        The snapshots; what is wrong with one stands in its place.

    Raises:
        RepositoryError: There is no repository.
        BackendError: It cannot be reached.
    """
    with _storage(source, None) as storage:
        return list(Repository.open_to_read(storage).snapshots())


def verify_backup(
    source: StorageBackend | Path | str,
    *,
    depth: Depth = Depth.READ,
    progress: ProgressCallback | None = None,
) -> VerifyReport:
    """Check a backup repository without its office: no key is needed.

    Args:
        source: The marked folder of the disk that holds it, or a storage backend.
        depth: ``Depth.LIST`` or ``Depth.READ``.
        progress: Called as packs are read.

    Returns:
        What was found; damage raises nothing.

    Raises:
        RepositoryError: There is no repository.
        BackendError: It cannot be reached.
    """
    with _storage(source, None) as storage:
        return verify(Repository.open_to_read(storage), depth=depth, progress=progress or ignore_progress)
