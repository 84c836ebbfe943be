"""Makes the storage backends that a configuration names: for backups, and for a spool that is no folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync import outbox
from ktpsync.config import OWN_KEYS, storage_needed
from ktpsync.errors import ConfigError
from ktpsync.plugins import BackendContext, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.office._layout import DataFolder
    from ktpsync.outbox import StorageSpool
    from ktpsync.plugins import PluginRegistry


def storage_backend(
    registry: PluginRegistry,
    backend: str,
    settings: Mapping[str, object],
    context: BackendContext,
    *,
    where: str,
    base: Path,
    section: str = "backups",
) -> StorageBackend:
    """Make a storage backend.

    Args:
        registry: Makes it.
        backend: Its name.
        settings: Its own settings.
        context: What every backend is given.
        where: The table of the configuration, for messages.
        base: Where relative paths start from.
        section: Who needs it: ``backups`` or ``spool``.

    Raises:
        ConfigError: The settings have problems, or the backend is no storage.
        PluginError: It cannot be used.
    """
    made = registry.make(backend, settings, context, where=where, base=base, also=OWN_KEYS[section])
    if not isinstance(made, StorageBackend):
        raise ConfigError(f"{where}: {storage_needed(section, backend)}.")
    return made


def spool_of(
    settings: Configuration, *, data: DataFolder, registry: PluginRegistry, clock: Clock
) -> Path | StorageSpool:
    """Return the spool of an office: the folder in its data, or the storage that ``[spool]`` names."""
    if settings.spool is None:
        return data.spool
    backend = settings.spool.settings.backend
    storage = storage_backend(
        registry,
        backend,
        settings.spool.backend_settings,
        BackendContext(name="spool", state_folder=data.state("spool", "spool"), clock=clock),
        where="[spool]",
        base=settings.path.parent,
        section="spool",
    )
    return outbox.StorageSpool(
        storage, data.fetched, place=f"{backend}, as [spool] of {settings.path.name} says"
    )
