"""Reads ``ktpsync.toml`` and lists every problem at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve, frozen

from ktpsync.config._sections import (
    CONFIG_NAME,
    NAME,
    OWN_KEYS,
    BackupSettings,
    Configuration,
    DestinationSettings,
    Named,
    OfficeSettings,
    SpoolSettings,
)
from ktpsync.errors import ConfigError
from ktpsync.outbox import database_address
from ktpsync.plugins import Secret, read_settings

if TYPE_CHECKING:
    from ktpsync.plugins import SecretSources

T = TypeVar("T")

_SECTIONS: Final = ("office", "destinations", "backups", "spool")


@frozen(kw_only=True)
class Sections:
    """What could be read of a file, and what could not.

    Args:
        path: The file.
        document: The file as TOML gives it.
        office: The table ``[office]``, if it is right.
        destinations: Those that are right, by name.
        backups: Those that are right, by name.
        spool: The table ``[spool]``, if there is one and it is right.
        problems: One line for each problem.
    """

    path: Path
    document: Mapping[str, object]
    office: OfficeSettings | None
    destinations: Mapping[str, Named[DestinationSettings]]
    backups: Mapping[str, Named[BackupSettings]]
    spool: Named[SpoolSettings] | None
    problems: tuple[str, ...]

    def tables(self, section: str) -> dict[str, Mapping[str, object]]:
        """Return the tables of a section by name, right or not."""
        found = self.document.get(section)
        tables = found.items() if isinstance(found, dict) else ()
        return {str(name): table for name, table in tables if isinstance(table, dict)}


def load(path: Path, *, secrets: SecretSources | None = None) -> Configuration:
    """Read and check a configuration file. Backends check their own settings when they are made.

    Args:
        path: The file, or the folder that holds ``ktpsync.toml``.
        secrets: Where secrets are read from. Default: the environment and files.

    Raises:
        ConfigError: It is missing or has problems; all of them are listed.
    """
    sections = read_sections(path, secrets)
    if sections.problems or sections.office is None:
        lines = "\n".join(f"  - {problem}" for problem in sections.problems)
        raise ConfigError(
            f"{sections.path} has problems; nothing was started:\n{lines}", problems=sections.problems
        )
    return Configuration(
        path=sections.path,
        office=sections.office,
        destinations=sections.destinations,
        backups=sections.backups,
        spool=sections.spool,
    )


def read_sections(path: Path, secrets: SecretSources | None) -> Sections:
    """Read a configuration file as far as it can be read, and collect its problems.

    Raises:
        ConfigError: It is missing or is not TOML.
    """
    path = (path / CONFIG_NAME if path.is_dir() else path).absolute()
    return _Reader(path, secrets).sections()


class _Reader:
    """Reads one file and collects its problems."""

    def __init__(self, path: Path, secrets: SecretSources | None) -> None:
        self._path = path
        self._secrets = secrets
        self._document = _read(path)
        self._problems: list[str] = []

    def sections(self) -> Sections:
        self._problems += [
            f"[{section}] is not a section; {_hint(section)}"
            for section in self._document
            if section not in _SECTIONS
        ]
        office = self._settings(OfficeSettings, self._document.get("office", {}), "[office]")
        if office is not None and office.database is not None:
            office = self._located(office, office.database)
        destinations = self._named(DestinationSettings, "destinations")
        backups = self._named(BackupSettings, "backups")
        spool = None
        if "spool" in self._document:
            spool = self._place(SpoolSettings, "spool", "spool", self._document["spool"], "[spool]")
        if spool is not None and office is not None and office.database is None:
            self._problems.append(
                "[spool]: a spool in storage is for machines that share an outbox: name their database server in [office] "
                "database, or leave [spool] out"
            )
        return Sections(
            path=self._path,
            document=self._document,
            office=office,
            destinations=destinations,
            backups=backups,
            spool=spool,
            problems=tuple(self._problems),
        )

    def _located(self, office: OfficeSettings, database: Secret) -> OfficeSettings:
        """Return the table with the whole path of a SQLite file: programs work in different folders."""
        try:
            return evolve(office, database=Secret(database_address(database.reveal(), self._path.parent)))
        except ValueError as error:
            self._problems.append(f"[office] database: {error}")
            return office

    def _named(self, cls: type[T], section: str) -> dict[str, Named[T]]:
        found: dict[str, Named[T]] = {}
        for name, table in self._table(self._document.get(section, {}), f"[{section}]").items():
            where = f"[{section}.{name}]"
            if not NAME.fullmatch(name):
                self._problems.append(
                    f"{where}: names are lower-case letters, digits and hyphens, 40 at most"
                )
                continue
            place = self._place(cls, section, name, table, where)
            if place is not None:
                found[name] = place
        return found

    def _place(self, cls: type[T], section: str, name: str, table: object, where: str) -> Named[T] | None:
        """Read what ktpsync itself needs to know of a place; the rest is its backend's."""
        own_keys = OWN_KEYS[section]
        values = self._table(table, where)
        own = {key: value for key, value in values.items() if key in own_keys}
        settings = self._settings(cls, own, where)
        if settings is None:
            return None
        rest = {key: value for key, value in values.items() if key not in own_keys}
        return Named(name=name, settings=settings, backend_settings=rest)

    def _table(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        self._problems.append(f"{where}: expected a table")
        return {}

    def _settings(self, cls: type[T], value: object, where: str) -> T | None:
        base = self._path.parent
        try:
            return read_settings(
                cls, self._table(value, where), where=where, base=base, secrets=self._secrets
            )
        except ConfigError as error:
            self._problems += error.problems
            return None


def _hint(section: str) -> str:
    close = difflib.get_close_matches(section, _SECTIONS, n=1)
    known = ", ".join(f"[{name}]" for name in _SECTIONS)
    return f"perhaps [{close[0]}]" if close else f"the sections are {known}"


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Run `ktpsync init` in the office's folder, or give --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        windows = " Write Windows paths in single quotes: 'D:\\folder'." if "\\" in str(error) else ""
        raise ConfigError(f"{path} is not TOML: {error}.{windows}") from error
