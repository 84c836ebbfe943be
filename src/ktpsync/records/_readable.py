"""Which parts of an enrollment rules can look at: those that hold what they should hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Readable = Callable[..., bool]
"""Takes paths; returns whether all of them, and what they are in, hold values of their fields' types."""


class Unread:
    """Stands where nothing could be read; no field takes it."""

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD = Unread()


def readable(wrong: Iterable[str]) -> Readable:
    """Return a function that tells whether paths can be read.

    Args:
        wrong: Paths that hold something of another type.
    """
    found = frozenset(wrong)
    inside = tuple(path + end for path in found for end in (".", "["))

    def can_be_read(*paths: str) -> bool:
        return not any(path in found or path.startswith(inside) for path in paths)

    return can_be_read
