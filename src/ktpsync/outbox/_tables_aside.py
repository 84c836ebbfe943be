"""Setting the outbox's tables aside in an application's SQLite database that lacks some of them, for all to be made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from ktpsync.clock import utc_from_ms
from ktpsync.files import fsync_folder
from ktpsync.outbox._database import used_by_nobody
from ktpsync.outbox._failures import TranslatedErrors
from ktpsync.outbox._migrate import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.clock import Clock


def set_tables_aside(address: str, folder: Path, clock: Clock) -> Path | None:
    """Copy the outbox's tables into a file of their own and drop them, if some of them are missing; leave all others alone.

    Args:
        address: The database, as :func:`~ktpsync.outbox.database_address` gives it.
        folder: Where the copy goes.
        clock: The clock to ask.

    Returns:
        The copy; ``None`` if nothing was to be done, or the database is a server's.

    Raises:
        OutboxInUseError: A process works with the outbox; nothing was changed.
        OutboxDamagedError: The database is damaged.
    """
    if not address.startswith("sqlite:///"):
        return None
    database = Path(address.removeprefix("sqlite:///"))
    if not database.exists():
        return None
    with (
        used_by_nobody(database),
        contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection,
        TranslatedErrors(),
    ):
        tables = _found(connection)
        if len(tables) in {0, len(TABLES)}:
            return None
        stamp = utc_from_ms(clock.now_ms()).strftime("%Y%m%dT%H%M%SZ")
        copy = folder / f"outbox-tables-{stamp}.db"
        copy.touch(mode=0o600, exist_ok=False)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("ATTACH ? AS aside", (str(copy),))
        # Two transactions: together they would be durable in an order that nobody knows.
        with _transaction(connection):
            for table in tables:
                connection.execute(f"CREATE TABLE aside.{table} AS SELECT * FROM main.{table}")
        fsync_folder(folder)
        with _transaction(connection):
            for table in tables:
                connection.execute(f"DROP TABLE main.{table}")
        return copy


def _found(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return sorted({name for (name,) in rows} & {f"ktpsync_{table}" for table in TABLES})


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
