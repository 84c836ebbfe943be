"""The backups of an office: repositories on storage backends, each bound to the one it was first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ktpsync import files, packet
from ktpsync.backup import Depth, Repository, backup, backup_dates, drill, due, ignore_progress, verify
from ktpsync.config import BACKUP_KEYS, load
from ktpsync.courier import Task
from ktpsync.errors import ConfigError, UnknownDestinationError
from ktpsync.keys import StationPublicKey
from ktpsync.plugins import BackendContext, PluginRegistry, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ktpsync.age import Identity
    from ktpsync.backup import DrillReport, ProgressCallback, SnapshotReport, VerifyReport
    from ktpsync.clock import Clock
    from ktpsync.config import BackupSettings, Configuration, Named
    from ktpsync.keys import IndexKey, StationKey
    from ktpsync.office._layout import DataFolder
    from ktpsync.outbox import Outbox

_LOOK_SECONDS = 60.0
"""How often the service looks whether a backup is due and its disk is there."""


class Backups:
    """Makes and checks the backups of an office.

    Args:
        settings: The configuration.
        data: The data folder.
        outbox: What is backed up.
        station: Signs the snapshots.
        index_key: Goes into the sealed state, so that a restored outbox recognises what it holds.
        clock: The clock to ask.
        registry: Makes the storage backends.
    """

    def __init__(
        self,
        settings: Configuration,
        *,
        data: DataFolder,
        outbox: Outbox,
        station: StationKey,
        index_key: IndexKey,
        clock: Clock,
        registry: PluginRegistry,
    ) -> None:
        self._settings = settings
        self._data = data
        self._outbox = outbox
        self._station = station
        self._index_key = index_key
        self._clock = clock
        self._registry = registry

    def backup(self, name: str, progress: ProgressCallback | None) -> SnapshotReport:
        """Copy what is new."""
        recipients = self._recipients(name)
        with self._storage(name) as storage:
            repository = self._repository(name, storage, recipients)
            return backup(
                self._outbox,
                repository,
                station=self._station,
                memory=self._data.backup_memory,
                recipients=recipients,
                index_key=self._index_key.to_hex(),
                clock=self._clock,
                progress=progress or ignore_progress,
            )

    def verify(
        self,
        name: str,
        *,
        depth: Depth | None,
        identities: tuple[Identity, ...],
        progress: ProgressCallback | None,
    ) -> VerifyReport:
        """Check a backup."""
        stations = self._trusted()
        with self._storage(name) as storage:
            repository = Repository.open(storage, expected=self._known(name))
            return verify(
                repository,
                depth=depth or (Depth.OPEN if identities else Depth.READ),
                identities=identities,
                open_packet=lambda _, sealed: packet.open(sealed, identities, stations=stations),
                trusted=stations,
                memory=self._data.backup_memory,
                source=self._outbox,
                clock=self._clock,
                progress=progress or ignore_progress,
            )

    def drill(self, name: str, identities: tuple[Identity, ...], sample: int) -> DrillReport:
        """Try a restore."""
        stations = self._trusted()
        with self._storage(name) as storage:
            return drill(
                Repository.open(storage, expected=self._known(name)),
                identities=identities,
                open_packet=lambda _, sealed: packet.open(sealed, identities, stations=stations),
                sample=sample,
                memory=self._data.backup_memory,
                clock=self._clock,
            )

    def tasks(self, finished: Callable[[str, SnapshotReport], None]) -> Iterable[Task]:
        """Return what the service does for the backups that have a schedule."""
        for name, place in self._settings.backups.items():
            every = place.settings.every
            if every is not None:
                yield Task(
                    name=f"backup-{name}", every=_LOOK_SECONDS, run=_WhenDue(self, name, every, finished)
                )

    def make_if_due(self, name: str, every: float) -> SnapshotReport | None:
        """Make a backup whose time has come."""
        known = self._known(name)
        last = None if known is None else backup_dates(self._data.backup_memory, known).last_backup_ms
        if not due(self._clock.now_ms(), last, round(every * 1000)):
            return None
        return self.backup(name, None)

    def _trusted(self) -> list[StationPublicKey]:
        earlier = sorted(self._data.earlier_stations.glob("*.pem"))
        return [self._station.public, *(StationPublicKey.from_pem(path.read_bytes()) for path in earlier)]

    def _recipients(self, name: str) -> tuple[str, ...]:
        _place(self._settings, name)
        return self._settings.backup_recipients(name)

    def _storage(self, name: str) -> StorageBackend:
        context = BackendContext(name=name, state_folder=self._data.state("backups", name), clock=self._clock)
        return _make(self._registry, self._settings, name, context)

    def _repository(self, name: str, storage: StorageBackend, recipients: tuple[str, ...]) -> Repository:
        known = self._known(name)
        if known is None and not storage.exists("ktpsync-repository.json"):
            repository = Repository.create(storage, recipients=recipients, clock=self._clock)
        else:
            repository = Repository.open(storage, expected=known)
        if known is None:
            files.make_folder(self._uuid_file(name).parent)
            files.write_atomic(self._uuid_file(name), repository.uuid.encode("ascii"))
        return repository

    def _known(self, name: str) -> str | None:
        try:
            return self._uuid_file(name).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def _uuid_file(self, name: str) -> Path:
        return self._data.state("backups", name) / "repository-uuid"


class _WhenDue:
    def __init__(
        self, backups: Backups, name: str, every: float, finished: Callable[[str, SnapshotReport], None]
    ) -> None:
        self._backups = backups
        self._name = name
        self._every = every
        self._finished = finished

    def __call__(self) -> None:
        report = self._backups.make_if_due(self._name, self._every)
        if report is not None:
            self._finished(self._name, report)


def _place(settings: Configuration, name: str) -> Named[BackupSettings]:
    place = settings.backups.get(name)
    if place is None:
        known = ", ".join(settings.backups) or "none"
        raise UnknownDestinationError(f"There is no backup {name!r} in {settings.path}; there are: {known}.")
    return place


def _make(
    registry: PluginRegistry, settings: Configuration, name: str, context: BackendContext
) -> StorageBackend:
    place = _place(settings, name)
    return _storage_backend(
        registry,
        place.settings.backend,
        place.backend_settings,
        context,
        where=f"[backups.{name}]",
        base=settings.path.parent,
    )


def _storage_backend(
    registry: PluginRegistry,
    backend: str,
    settings: Mapping[str, object],
    context: BackendContext,
    *,
    where: str,
    base: Path,
) -> StorageBackend:
    made = registry.make(backend, settings, context, where=where, base=base, also=BACKUP_KEYS)
    if not isinstance(made, StorageBackend):
        raise ConfigError(f'{where}: backups need storage such as "disk" or "s3"; {backend!r} is none.')
    return made


def storage_at(path: Path) -> StorageBackend:
    """Return the storage in a marked folder on a disk, without any configuration.

    Args:
        path: The folder that was marked with ``ktpsync disk init``.
    """
    context = BackendContext(name=str(path))
    settings = {"path": str(path.absolute())}
    return _storage_backend(PluginRegistry.load(), "disk", settings, context, where=str(path), base=Path())


def storage_of(config: Path, name: str) -> StorageBackend:
    """Return the storage of a backup that a configuration file names, without opening the office.

    Args:
        config: The file, or the folder it is in.
        name: The name after ``backups.``.

    Raises:
        ConfigError: The file has problems, or the backend is no storage.
        UnknownDestinationError: The file names no such backup.
    """
    registry = PluginRegistry.load()
    settings = load(config, secrets=registry.secret_sources())
    return _make(registry, settings, name, BackendContext(name=name))
