"""Which database is meant: a SQLite file, the same whatever folder a program works in, or a PostgreSQL server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SCHEME: Final = re.compile(
    r"(?P<name>[a-z][a-z0-9_]+)(?P<driver>\+[a-z0-9_]+)?:(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)


def database_address(text: str, base: Path) -> str:
    """Return the URL of an outbox's database as SQLAlchemy takes it; a SQLite file with its whole path.

    Args:
        text: Such a URL, or the path of a SQLite file.
        base: The folder that a relative path starts from.

    Raises:
        ValueError: It is neither. The message names nothing of it: there may be a password in it.
    """
    found = _SCHEME.fullmatch(text)
    if found is None:
        return _sqlite(text, base)
    name, rest = found["name"].lower(), found["rest"]
    if name == "sqlite" and rest.startswith("///"):
        return _sqlite(rest.removeprefix("///").partition("?")[0], base)
    if name == "postgresql" and rest.startswith("//"):
        return _postgresql(text)
    raise ValueError("no outbox can live there; give a path, sqlite:///PATH or postgresql://USER@HOST/NAME")


def _sqlite(path: str, base: Path) -> str:
    if not path.strip() or path == ":memory:":
        raise ValueError(
            "an outbox must outlive the program; give a path, sqlite:///PATH or postgresql://USER@HOST/NAME"
        )
    return f"sqlite:///{base / path}"


def _postgresql(text: str) -> str:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - SQLite does without
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - see above

    try:
        make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(
            "this is no URL of a database; give a path, sqlite:///PATH or postgresql://USER@HOST/NAME"
        ) from None
    return text
