"""Writes the files of a new plugin."""

from __future__ import annotations

import re
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final

from ktpsync import files
from ktpsync.errors import ConfigError
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST: Final = 40

_PLACES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "init.py.txt": "src/{module}/__init__.py",
    "plugin.py.txt": "src/{module}/plugin.py",
    "backend.py.txt": "src/{module}/backend.py",
    "test_contract.py.txt": "tests/test_contract.py",
}
"""Template to the file it becomes."""


def write_skeleton(name: str, into: Path) -> Path:
    """Write a plugin that works: a storage backend in a dictionary, its announcement and its tests.

    Args:
        name: The backend's name; the package is called ``ktpsync-NAME``.
        into: The folder to make the package's folder in.

    Returns:
        The package's folder.

    Raises:
        ConfigError: The name cannot be used, or the folder exists.
        OSError: The folder cannot be written.
    """
    name = name.removeprefix("ktpsync-")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} is no name for a backend: lower-case letters, digits and single hyphens, "
            f"{_LONGEST} at most."
        )
    if name in PluginRegistry.load().backends():
        raise ConfigError(f"A backend {name!r} is installed already; two of one name would disable both.")
    folder = into / f"ktpsync-{name}"
    if folder.exists():
        raise ConfigError(f"{folder} exists already; nothing was written. Choose another name or folder.")
    module = f"ktpsync_{name.replace('-', '_')}"
    words = {"name": name, "module": module, "cls": "".join(part.capitalize() for part in name.split("-"))}
    source = resources.files(__package__).joinpath("files")
    for template, place in _PLACES.items():
        text = Template(source.joinpath(template).read_text(encoding="utf-8")).substitute(words)
        path = folder / place.format(module=module)
        files.make_folder(path.parent)
        files.write_atomic(path, text.encode("utf-8"), replace=False)
    return folder
