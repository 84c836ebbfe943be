"""Opens what a configuration names and asks how it is, without opening the office."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.config import OWN_KEYS, backend_mismatch
from ktpsync.errors import ConfigError, KtpsyncError, PluginError, UnknownDestinationError
from ktpsync.office._layout import DataFolder
from ktpsync.plugins import BackendContext, Health, mistake_told

if TYPE_CHECKING:
    from ktpsync.config import Configuration
    from ktpsync.plugins import PluginRegistry


@frozen(kw_only=True)
class PlaceCheck:
    """What a destination or backup answered.

    Args:
        place: Its table in the file, such as ``[destinations.central]``.
        backend: Its backend.
        health: Its answer, if it is well.
        error: Why it is not, otherwise.
    """

    place: str
    backend: str
    health: Health | None = None
    error: KtpsyncError | None = None


@frozen(kw_only=True)
class _Place:
    section: str
    name: str
    backend: str
    settings: Mapping[str, object]
    base: Path
    state_folder: Path

    @property
    def title(self) -> str:
        return f"[{self.section}]" if self.section == self.name else f"[{self.section}.{self.name}]"


def check_places(settings: Configuration | None, registry: PluginRegistry, name: str) -> list[PlaceCheck]:
    """Open places and ask how they are; nothing is stored in them.

    Args:
        settings: The configuration, if there is one.
        registry: Makes the backends.
        name: A destination, a backup, ``spool``, or a plugin or backend, which stands for all places that use it.

    Returns:
        One answer for each place; none if nothing in the configuration uses the plugin, which then could at
        least be imported.

    Raises:
        UnknownDestinationError: There is nothing of this name.
        PluginError: The plugin, or a backend of it, cannot be used.
    """
    places = [] if settings is None else _places(settings)
    chosen = [place for place in places if place.name == name]
    if not chosen:
        backends = _import_all(registry, name)
        chosen = [place for place in places if place.backend in backends]
    return [_check(place, registry) for place in chosen]


def _import_all(registry: PluginRegistry, name: str) -> frozenset[str]:
    """Import what a plugin or backend of this name offers; return the names of the backends."""
    if name in registry.backends():
        backends = frozenset({name})
        providers: tuple[str, ...] = ()
    else:
        infos = [info for info in registry.plugins() if name in (info.name, info.distribution, info.key)]
        if not infos:
            raise UnknownDestinationError(
                f"There is no destination, backup, plugin or backend {name!r}; `ktpsync plugins` lists the plugins."
            )
        for info in infos:
            if info.rejected is not None:
                raise PluginError(f"The plugin {info.key} is not used: {info.rejected}.")
        backends = frozenset(backend for info in infos for backend in info.backends)
        providers = tuple(provider for info in infos for provider in info.secret_providers)
    for backend in sorted(backends):
        registry.settings_class(backend)
        registry.backend_class(backend)
    for provider in providers:
        registry.reading_function(provider)
    return backends


def _places(settings: Configuration) -> list[_Place]:
    data = DataFolder(settings.office.data)
    spool = {} if settings.spool is None else {"spool": settings.spool}
    return [
        _Place(
            section=section,
            name=name,
            backend=place.settings.backend,
            settings=place.backend_settings,
            base=settings.path.parent,
            state_folder=data.state(section, name),
        )
        for section, named in (
            ("destinations", settings.destinations),
            ("backups", settings.backups),
            ("spool", spool),
        )
        for name, place in named.items()
    ]


def _fits(place: _Place, registry: PluginRegistry) -> None:
    mismatches = list(backend_mismatch(registry, place.section, place.backend))
    if mismatches:
        raise ConfigError(f"{place.title}: {'; '.join(mismatches)}.")


def _check(place: _Place, registry: PluginRegistry) -> PlaceCheck:
    context = BackendContext(name=place.name, state_folder=place.state_folder)
    try:
        _fits(place, registry)
        with registry.make(
            place.backend,
            place.settings,
            context,
            where=place.title,
            base=place.base,
            also=OWN_KEYS[place.section],
        ) as backend:
            return PlaceCheck(place=place.title, backend=place.backend, health=backend.check())
    except KtpsyncError as error:
        return PlaceCheck(place=place.title, backend=place.backend, error=error)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the other places are asked too
        broken = PluginError(f"{place.name}: {mistake_told(error, registry.offering(place.backend))}")
        return PlaceCheck(place=place.title, backend=place.backend, error=broken)
