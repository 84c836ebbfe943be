"""The databases' failures as errors that say what to do."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING

from ktpsync.errors import OutboxDamagedError, OutboxUnavailableError, StationFullError

if TYPE_CHECKING:
    from types import TracebackType

_NOT_NOW = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        # A disk that fails, was taken away, or that the system made read-only because it fails.
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def translate(error: BaseException) -> None:
    """Turn the database's words for a full disk, for damage and for no answer into ours; do nothing with others.

    Raises:
        StationFullError: The database's disk has no room.
        OutboxDamagedError: The database is damaged.
        OutboxUnavailableError: The database is not to be had now.
    """
    driver_error = driver_error_of(error)
    if driver_error is None:
        return
    code = getattr(driver_error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(driver_error, "sqlstate", None) == "53100":
        raise StationFullError(
            "The disk of the outbox's database is full. Nothing was stored; free some room and submit again."
        ) from error
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        raise OutboxDamagedError(
            f"The outbox's database is damaged ({driver_error}). It was left as it is, and the sealed packets are "
            "files beside it. Stop the service; `ktpsync doctor --rebuild` sets the database aside and makes it "
            "anew from them and from a backup."
        ) from error
    if is_no_such_table(error):
        raise OutboxDamagedError(
            f"A table of the outbox is missing ({str(driver_error).strip().splitlines()[0]}). Nothing was changed; `ktpsync doctor` says "
            "what to do."
        ) from error
    if code in _NOT_NOW or _no_answer(error, driver_error):
        raise OutboxUnavailableError(
            f"The outbox's database is not to be had now ({str(driver_error).strip()}). Try again; under the same "
            "reference nothing is stored twice. If it stays so, look whether a program keeps a transaction open, "
            "whether its disk is whole and can be written to, and whether the database server runs."
        ) from error


def is_deadlock(error: OutboxUnavailableError) -> bool:
    """Return whether the server ended a transaction because two waited for each other: its repetition is not in the way."""
    return error.__cause__ is not None and _sqlstate(error.__cause__) == "40P01"


def is_lock_timeout(error: Exception) -> bool:
    """Return whether the server gave up waiting for a lock, as ``lock_timeout`` told it to."""
    return _sqlstate(error) == "55P03"


def is_no_such_table(error: BaseException) -> bool:
    """Return whether a statement names a table that is not there, also of an error that :func:`translate` made of it."""
    if isinstance(error, OutboxDamagedError) and error.__cause__ is not None:
        error = error.__cause__
    return "no such table" in str(driver_error_of(error)) or _sqlstate(error) == "42P01"


def driver_error_of(error: BaseException) -> BaseException | None:
    """Return the driver's own error, also where SQLAlchemy has wrapped it; ``None`` if it is no error of a database."""
    if isinstance(error, sqlite3.Error):
        return error
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - it is imported

    return error.orig if isinstance(error, DBAPIError) else None


def _sqlstate(error: BaseException) -> str | None:
    return getattr(driver_error_of(error), "sqlstate", None)


class TranslatedErrors:
    """A block whose errors are translated; see :func:`translate`."""

    # A class: a generator would take as long as a statement.

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            translate(error)


def _no_answer(error: BaseException, driver_error: BaseException) -> bool:
    """Whether PostgreSQL cannot be reached, takes no connection, went away, or gave up on a transaction.

    These are the classes 08, 57P and 40 (deadlock, serialization), and 53300.
    """
    if isinstance(error, sqlite3.Error):
        return False
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415 - it is imported

    if not isinstance(error, OperationalError):
        return False
    state = getattr(driver_error, "sqlstate", "not of PostgreSQL")
    return state is None or state.startswith(("08", "57P", "40", "53300"))
