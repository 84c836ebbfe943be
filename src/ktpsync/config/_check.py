"""Every problem of a configuration file at once, those of its backends' settings too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ktpsync.config._load import read_sections
from ktpsync.config._recipients import parse_recipients
from ktpsync.config._sections import OWN_KEYS, Configuration, storage_needed
from ktpsync.errors import ConfigError, PluginError
from ktpsync.plugins import StorageBackend, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ktpsync.config._load import Sections
    from ktpsync.plugins import PluginRegistry


def check(path: Path, registry: PluginRegistry) -> list[str]:
    """Return all problems of a configuration file; imports the backends that it names, opens none.

    Args:
        path: The file, or the folder that holds ``ktpsync.toml``.
        registry: The installed backends.

    Raises:
        ConfigError: The file is missing or is not TOML.
    """
    sections = read_sections(path, registry.secret_sources())
    problems = list(sections.problems)
    for section in ("destinations", "backups"):
        for name, table in sections.tables(section).items():
            where = f"[{section}.{name}]"
            problems += _backend_problems(registry, section, table, where, sections.path.parent)
    spool = sections.document.get("spool")
    if isinstance(spool, dict):
        problems += _backend_problems(registry, "spool", spool, "[spool]", sections.path.parent)
    problems += _same_places(sections)
    return [*problems, *_recipient_problems(sections)]


def notices(path: Path, registry: PluginRegistry) -> list[str]:
    """Return what a configuration file may say and is hardly meant so.

    Args:
        path: As for :func:`check`.
        registry: The installed backends.

    Raises:
        ConfigError: The file is missing or is not TOML.
    """
    sections = read_sections(path, registry.secret_sources())
    found = []
    backups, office = sections.backups, sections.office
    if office is not None and office.offload_below and office.offload_copies > len(backups):
        found.append(
            f"[office] offload_copies = {office.offload_copies} asks for more backups than there are ({len(backups)}): no packet "
            "is ever dropped when the disk runs low. Add a backup, or ask for fewer."
        )
    members: dict[str, list[str]] = {}
    for name, place in backups.items():
        if place.settings.rotate is not None:
            members.setdefault(place.settings.rotate, []).append(name)
    found += [
        f"[backups.{names[0]}] takes turns as {rotate!r} with no other backup. Add the second one, or take `rotate` out."
        for rotate, names in members.items()
        if len(names) == 1
    ]
    return found


def _same_places(sections: Sections) -> Iterator[str]:
    """Yield the backups that are another one's place: they would be one copy, and look like two."""
    seen: list[tuple[str, Mapping[str, object]]] = []
    for name, table in sections.tables("backups").items():
        place = {
            key: value for key, value in table.items() if key not in OWN_KEYS["backups"] or key == "backend"
        }
        for other, known in seen:
            if place == known:
                yield f"[backups.{name}] is the same place as [backups.{other}]: give it another one, or take it out"
        seen.append((name, place))


def backend_mismatch(registry: PluginRegistry, section: str, backend: str) -> Iterator[str]:
    """Yield why a backend cannot be used in a section, whatever its settings are.

    Raises:
        PluginError: It cannot be imported, or is no backend.
    """
    found = registry.backend_class(backend)
    own = {attribute.name for attribute in attrs.fields(registry.settings_class(backend))}
    if taken := sorted(own & {key for keys in OWN_KEYS.values() for key in keys}):
        yield (
            f"the backend {backend!r} has settings whose names ktpsync uses itself ({', '.join(taken)}); tell its "
            "author"
        )
    if section != "destinations" and not issubclass(found, StorageBackend):
        yield storage_needed(section, backend)


def _backend_problems(
    registry: PluginRegistry, section: str, table: Mapping[str, object], where: str, base: Path
) -> Iterator[str]:
    backend = table.get("backend")
    if not isinstance(backend, str):
        return
    own_keys = OWN_KEYS[section]
    try:
        yield from (f"{where} backend: {told}" for told in backend_mismatch(registry, section, backend))
        read_settings(
            registry.settings_class(backend),
            {key: value for key, value in table.items() if key not in own_keys},
            where=where,
            base=base,
            secrets=registry.secret_sources(),
            also=own_keys,
        )
    except ConfigError as error:
        yield from error.problems
    except PluginError as error:
        yield f"{where} backend: {error}"


def _recipient_problems(sections: Sections) -> Iterator[str]:
    if sections.office is not None:
        configuration = Configuration(
            path=sections.path, office=sections.office, destinations={}, backups=sections.backups
        )
        try:
            configuration.recipients()
        except ConfigError as error:
            yield from error.problems
    for name, place in sections.backups.items():
        try:
            parse_recipients(place.settings.recipients, where=f"[backups.{name}]")
        except ConfigError as error:
            yield from error.problems
