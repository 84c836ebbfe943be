"""Packages whose names are loaded on first use: a command that needs one room does not wait for all of them."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def exports(
    package: str, rooms: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its name.
        rooms: Its modules, each with the names that it gives; ``open_packet as open`` gives another name. What
            ``""`` gives are modules themselves.
    """
    home = {}
    for room, names in rooms.items():
        for text in names:
            inner, _, outer = text.partition(" as ")
            home[outer or inner] = (room, inner)

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        room, inner = home[name]
        module = importlib.import_module(f"{package}.{room or inner}")
        value: object = getattr(module, inner) if room else module
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *home})
