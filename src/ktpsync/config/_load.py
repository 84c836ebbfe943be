"""Reads ``ktpsync.toml`` and lists every problem at once."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import fields

from ktpsync.config._sections import (
    CONFIG_NAME,
    BackupSettings,
    Configuration,
    DestinationSettings,
    Named,
    OfficeSettings,
)
from ktpsync.errors import ConfigError
from ktpsync.plugins import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SECTIONS: Final = ("office", "destinations", "backups")


def load(path: Path) -> Configuration:
    """Read and check a configuration file. Backends check their own settings when they are made.

    Args:
        path: The file, or the folder that holds ``ktpsync.toml``.

    Raises:
        ConfigError: It is missing or has problems; all of them are listed.
    """
    path = (path / CONFIG_NAME if path.is_dir() else path).absolute()
    return _Reader(path).configuration()


class _Reader:
    """Reads one file and collects its problems."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document = _read(path)
        self._problems: list[str] = []

    def configuration(self) -> Configuration:
        self._problems += [
            f"[{section}] is not a section; the sections are {', '.join(f'[{known}]' for known in _SECTIONS)}"
            for section in self._document
            if section not in _SECTIONS
        ]
        office = self._settings(OfficeSettings, self._document.get("office", {}), "[office]")
        destinations = self._named(DestinationSettings, "destinations")
        backups = self._named(BackupSettings, "backups")
        if self._problems or office is None:
            lines = "\n".join(f"  - {problem}" for problem in self._problems)
            raise ConfigError(f"{self._path} has problems; nothing was started:\n{lines}")
        return Configuration(path=self._path, office=office, destinations=destinations, backups=backups)

    def _named(self, cls: type[T], section: str) -> dict[str, Named[T]]:
        found: dict[str, Named[T]] = {}
        own_keys = {attribute.name for attribute in fields(cls)}  # type: ignore[arg-type]  # an attrs class
        for name, table in self._table(self._document.get(section, {}), f"[{section}]").items():
            where = f"[{section}.{name}]"
            if not _NAME.fullmatch(name):
                self._problems.append(
                    f"{where}: names are lower-case letters, digits and hyphens, 40 at most"
                )
                continue
            values = self._table(table, where)
            own = {key: value for key, value in values.items() if key in own_keys}
            settings = self._settings(cls, own, where)
            if settings is not None:
                rest = {key: value for key, value in values.items() if key not in own_keys}
                found[name] = Named(name=name, settings=settings, backend_settings=rest)
        return found

    def _table(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        self._problems.append(f"{where}: expected a table")
        return {}

    def _settings(self, cls: type[T], value: object, where: str) -> T | None:
        try:
            return read_settings(cls, self._table(value, where), where=where, base=self._path.parent)
        except ConfigError as error:
            self._problems.append(str(error))
            return None


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Run `ktpsync init` in the office's folder, or give --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
