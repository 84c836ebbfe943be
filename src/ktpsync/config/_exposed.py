"""Secrets that every user of the machine can read: in the configuration file itself, or in a file that it names."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.config._load import read_sections
from ktpsync.config._sections import OWN_KEYS
from ktpsync.errors import ConfigError, PluginError
from ktpsync.plugins import Secret, SecretSources, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ktpsync.plugins import PluginRegistry

_OTHERS: Final = 0o007
"""A group is often made for this, with the service in it."""


class _Noted(SecretSources):
    """Notes where secrets are, and reads none."""

    def __init__(self) -> None:
        super().__init__()
        self.in_clear = False
        self.files: list[Path] = []

    def read(self, value: object, *, base: Path | None = None) -> Secret:
        match value:
            case str():
                # The database's address is a secret only where it holds a password.
                self.in_clear |= "://" not in value or "@" in value
            case {"file": str(name), **rest} if not rest and name and base is not None:
                self.files.append(base.absolute() / Path(name).expanduser())
        return Secret("***")


def exposed(path: Path, registry: PluginRegistry) -> list[str]:
    """Return which secrets other users of this machine can read, one sentence for each file; empty on Windows.

    Args:
        path: The configuration file, or the folder that holds ``ktpsync.toml``.
        registry: The installed backends.
    """
    if sys.platform == "win32":
        return []
    noted = _Noted()
    try:
        sections = read_sections(path, noted)
    except ConfigError:
        return []
    for section, own_keys in OWN_KEYS.items():
        found_there = sections.document.get(section)
        tables = sections.tables(section).values() if section != "spool" else [found_there]
        for table in tables:
            if isinstance(table, dict):
                _note(noted, registry, table, own_keys, sections.path.parent)
    found = []
    if noted.in_clear and _open_to_others(sections.path):
        found.append(
            f"{sections.path} holds a secret in clear and can be read by other users of this machine: run "
            f"`chmod 600 {shlex.quote(str(sections.path))}`."
        )
    found += [
        f"{file} holds a secret and can be read by other users of this machine: run "
        f"`chmod 600 {shlex.quote(str(file))}`."
        for file in dict.fromkeys(noted.files)
        if _open_to_others(file)
    ]
    return found


def _note(
    noted: _Noted, registry: PluginRegistry, table: Mapping[str, object], own_keys: Sequence[str], base: Path
) -> None:
    """Let the backend's settings be read, so that what is secret among them is noted."""
    settings = {key: value for key, value in table.items() if key not in own_keys}
    with contextlib.suppress(ConfigError, PluginError):  # what is wrong with them is said elsewhere
        cls = registry.settings_class(str(table.get("backend")))
        read_settings(cls, settings, where="", base=base, secrets=noted)


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
