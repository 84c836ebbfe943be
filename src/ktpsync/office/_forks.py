"""Offices in forked processes: gunicorn with ``--preload``, ``multiprocessing``."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Watched = TypeVar("_Watched")

_watched: Final[weakref.WeakKeyDictionary[object, Callable[..., None]]] = weakref.WeakKeyDictionary()


def watch(one: _Watched, begin_anew: Callable[[_Watched], None]) -> None:
    """Let an object know that it is in a forked child, for as long as it lives.

    Args:
        one: The object.
        begin_anew: Called with it in the child, before anything else runs there.
    """
    _watched[one] = begin_anew


def _in_child() -> None:
    for one, begin_anew in list(_watched.items()):
        begin_anew(one)


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_in_child)
