"""Where the backups of an office live: each name is bound to the repository it was first."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync import backup, files
from ktpsync.clock import SystemClock, local_text, utc_from_ms
from ktpsync.config import load
from ktpsync.errors import (
    BackendError,
    BackupError,
    DamagedBackupError,
    DiskFullError,
    NotPluggedInError,
    RepositoryError,
    UnavailableError,
    UnknownDestinationError,
)
from ktpsync.office._layout import DataFolder
from ktpsync.office._storage import storage_backend
from ktpsync.office._usable import why_unusable
from ktpsync.plugins import BackendContext, PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.backup import BackupDates, Repository
    from ktpsync.clock import Clock
    from ktpsync.config import BackupSettings, Configuration
    from ktpsync.plugins import StorageBackend

_MARKER: Final = "ktpsync-repository.json"
_UUID_FILE: Final = "repository-uuid"


class BackupPlaces:
    """Opens the repositories that a configuration names.

    Args:
        settings: The configuration.
        data: The data folder.
        clock: The clock to ask.
        registry: Makes the storage backends.
    """

    def __init__(
        self, settings: Configuration, *, data: DataFolder, clock: Clock, registry: PluginRegistry
    ) -> None:
        self._settings = settings
        self._data = data
        self._clock = clock
        self._registry = registry

    def names(self) -> list[str]:
        """Return the names of all backups, in the order of the file."""
        return list(self._settings.backups)

    def why_unusable(self, name: str) -> str:
        """Return why a backup cannot be used as it is configured; empty if it can."""
        return why_unusable(self._settings, self._registry, "backups", name)

    def settings(self, name: str) -> BackupSettings:
        """Return what is set for a backup."""
        return self._settings.backups[name].settings

    def sets(self) -> dict[str, list[str]]:
        """Return the backups by what they are made as: those that take turns under their common name."""
        found: dict[str, list[str]] = {}
        for name in self.names():
            found.setdefault(self.settings(name).rotate or name, []).append(name)
        return found

    def dates(self, name: str) -> BackupDates | None:
        """Return what is remembered of a backup, also while its disk is away; ``None`` if it was never made."""
        known = self.known(name)
        return None if known is None else backup.backup_dates(self._data.backup_memory, known)

    def lineage(self, name: str) -> str:
        """Return the UUID under which the outbox counts a backup's copies; empty if there are none."""
        dates = self.dates(name)
        return (dates.lineage if dates else None) or ""

    def last_ms(self, name: str) -> int:
        """Return when a backup was made last, in milliseconds since 1970; 0: never."""
        dates = self.dates(name)
        return (dates.last_backup_ms if dates else None) or 0

    def known(self, name: str) -> str | None:
        """Return the UUID of the repository that a name is bound to."""
        try:
            return self._uuid_file(name).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def left(self) -> list[str]:
        """Return the names of backups that were made before and that the configuration does not name any more.

        One whose repository goes on under another name is none of them.
        """
        folders = self._data.state("backups", "any").parent
        found = sorted(path.parent.name for path in folders.glob(f"*/{_UUID_FILE}"))
        configured = {self.known(name) for name in self.names()}
        return [name for name in found if name not in self.names() and self.known(name) not in configured]

    def drop(self, name: str) -> None:
        """Let a name be bound to nothing, as if it had never been used."""
        shutil.rmtree(self._data.state("backups", name))

    def resolve(self, name: str) -> str:
        """Return the backup that a name means: of those that take turns, the one that is due and at hand.

        Raises:
            UnknownDestinationError: There is none of this name.
            UnavailableError: None of those that take turns is at hand.
        """
        return self.in_turn(name)[0]

    def in_turn(self, name: str) -> list[str]:
        """Return the backups that a name means and that are at hand, the one whose turn it is first.

        A name of a single backup is returned as it is, at hand or not.

        Raises:
            UnknownDestinationError: There is none of this name.
            UnavailableError: None of those that take turns is at hand.
        """
        if name in self._settings.backups:
            return [name]
        members = sorted(self.sets().get(name, ()), key=self.last_ms)
        if not members:
            known = ", ".join(dict.fromkeys([*self.names(), *self.sets()])) or "none"
            raise UnknownDestinationError(
                f"There is no backup {name!r} in {self._settings.path}; there are: {known}."
            )
        reasons = []
        here = []
        for member in members:
            try:
                self.look(member)
            except DiskFullError:
                here.append(member)  # it is there; whoever writes to it will say so
            except BackendError as error:
                reasons.append(
                    f"{member} (last backup {when(self.last_ms(member))}): {without_name(member, error)}"
                )
            else:
                here.append(member)
        if not here:
            raise UnavailableError(
                "\n  - ".join([f"None of the backups that take turns as {name!r} is at hand:", *reasons])
            )
        return here

    def note_try(self, name: str, error: BackendError | BackupError | None, *, by_person: bool) -> None:
        """Remember how the last try to make a backup ended; that a disk was away is news only to whoever tried it."""
        path = self._failure_file(name)
        if error is None:
            path.unlink(missing_ok=True)
        elif by_person or not isinstance(error, NotPluggedInError):
            files.make_folder(path.parent)
            document = {"at_ms": self._clock.now_ms(), "reason": str(error), "by_person": by_person}
            files.write_atomic(path, json.dumps(document).encode())

    def failure(self, name: str, *, by_person: bool = False, after_ms: int = 0) -> str | None:
        """Return when and why the last try to make a backup failed, in a sentence; ``None`` if it did not.

        Args:
            name: The backup.
            by_person: Whether only a try counts that a person made, not the service.
            after_ms: Only a try after this moment, in milliseconds since 1970.
        """
        try:
            document = json.loads(self._failure_file(name).read_bytes())
            moment_ms, reason = document["at_ms"], document["reason"]
            if moment_ms <= after_ms or (by_person and not document["by_person"]):
                return None
            reason = str(reason).removeprefix(f"{name}: ")
            return f"The last try on {name} failed at {when(moment_ms)}: {reason}"
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def look(self, name: str) -> None:
        """Look whether a backup is at hand.

        Raises:
            BackendError: It is not.
        """
        with self.storage(name) as storage:
            if self.known(name) is None:
                storage.check()
            elif not storage.exists(_MARKER):
                raise UnavailableError(
                    f"{name}: there is no backup repository where one was. Plug in the right disk, or look at the server. If it is a "
                    "new place, or was emptied, give the backup a new name in the configuration, and then run `ktpsync "
                    f"backup forget {name}`."
                )

    def at_hand(self, name: str) -> bool:
        """Return whether a backup was made before and can be read now, up to its last snapshot."""
        if self.known(name) is None:
            return False
        try:
            with self.opened(name) as repository:
                return backup.goes_on(self._data.backup_memory, repository)
        except (BackendError, BackupError):
            return False

    def storage(self, name: str) -> StorageBackend:
        """Return the storage of a backup; the caller closes it."""
        context = BackendContext(name=name, state_folder=self._data.state("backups", name), clock=self._clock)
        return _make(self._registry, self._settings, name, context)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Repository]:
        """Open the repository of a backup that was made before, for as long as the block runs.

        Raises:
            RepositoryError: There is none, or another one.
            BackendError: It cannot be reached.
        """
        with self.storage(name) as storage:
            yield _repository(name, storage, self.known(name))

    @contextlib.contextmanager
    def opened_to_read(self, name: str) -> Iterator[Repository]:
        """Open the repository of a backup as :meth:`opened` does, also where its marker is lost or damaged.

        Raises:
            RepositoryError: There is none, or another one.
            DamagedBackupError: Neither its marker nor any snapshot can be read.
            BackendError: It cannot be reached.
        """
        with self.storage(name) as storage:
            yield _repository(name, storage, self.known(name), to_read=True)

    @contextlib.contextmanager
    def made(self, name: str) -> Iterator[Repository]:
        """Open the repository of a backup, made at the first time, for as long as the block runs.

        Raises:
            RepositoryError: There is another one.
            BackendError: The place cannot be reached.
        """
        recipients = self.recipients(name)
        known = self.known(name)
        with self.storage(name) as storage:
            if known is None and not storage.exists(_MARKER):
                repository = backup.Repository.create(storage, recipients=recipients, clock=self._clock)
            else:
                repository = _repository(name, storage, known)
            if known is None:
                files.make_folder(self._uuid_file(name).parent)
                files.write_atomic(self._uuid_file(name), repository.uuid.encode("ascii"))
            yield repository

    def recipients(self, name: str) -> tuple[str, ...]:
        """Return the age recipients that can restore a backup."""
        return self._settings.backup_recipients(name)

    def _failure_file(self, name: str) -> Path:
        return self._data.state("backups", name) / "last-failure.json"

    def _uuid_file(self, name: str) -> Path:
        return self._data.state("backups", name) / _UUID_FILE


def without_name(name: str, error: Exception) -> str:
    """Return what an error says, for where the name of its place stands before it already."""
    return str(error).removeprefix(f"{name}: ")


def when(moment_ms: int | None) -> str:
    """Return a moment for a person to read; nothing and 0 are never."""
    return local_text(utc_from_ms(moment_ms)) if moment_ms else "never"


def _repository(
    name: str, storage: StorageBackend, known: str | None, *, to_read: bool = False
) -> Repository:
    """Open a repository; what is wrong with it is told with the backup's name."""
    open_it = backup.Repository.open_to_read if to_read else backup.Repository.open
    try:
        return open_it(storage, expected=known)
    except (RepositoryError, DamagedBackupError) as error:
        raise type(error)(f"{name}: {error}") from error


def _make(
    registry: PluginRegistry, settings: Configuration, name: str, context: BackendContext
) -> StorageBackend:
    place = settings.backups.get(name)
    if place is None:
        known = ", ".join(settings.backups) or "none"
        raise UnknownDestinationError(f"There is no backup {name!r} in {settings.path}; there are: {known}.")
    return storage_backend(
        registry,
        place.settings.backend,
        place.backend_settings,
        context,
        where=f"[backups.{name}]",
        base=settings.path.parent,
    )


def storage_at(path: Path) -> StorageBackend:
    """Return the storage in a marked folder on a disk, without any configuration.

    Args:
        path: The folder that was marked with ``ktpsync disk init``.
    """
    context = BackendContext(name=str(path))
    settings = {"path": str(path.absolute())}
    return storage_backend(PluginRegistry.load(), "disk", settings, context, where=str(path), base=Path())


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


def backups_left(config: Path) -> list[str]:
    """Return the backups that were made before and that a configuration file does not name any more; opens nothing.

    Args:
        config: The file, or the folder it is in.

    Raises:
        ConfigError: The file has problems.
    """
    registry = PluginRegistry.load()
    settings = load(config, secrets=registry.secret_sources())
    data = DataFolder(settings.office.data)
    return BackupPlaces(settings, data=data, clock=SystemClock(), registry=registry).left()
