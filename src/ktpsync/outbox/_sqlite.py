"""Transactions on the outbox's own SQLite file, with what of SQLAlchemy's interface the outbox uses.

To import SQLAlchemy takes a short command longer than everything else it does, and its way to the driver costs more
than SQLite itself. PostgreSQL, migrations and an application's own connections go through SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import json
import operator
import sqlite3
import weakref
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from ktpsync.files import is_read_only
from ktpsync.outbox._failures import TranslatedErrors, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

LOCK_TIMEOUT: Final = 60.0
"""Seconds that a writer waits for the others."""

_KEPT: Final = 8
"""Connections that are kept open for the next use."""

_kept: Final[list[SqliteConnection]] = []
"""The parent's connections: they must not be closed in a child, not even by the garbage collector."""

_row_types: Final[dict[tuple[str, ...], Callable[[tuple[Any, ...]], Any]]] = {}


def row_type(cursor: sqlite3.Cursor) -> Callable[[tuple[Any, ...]], Any]:
    """Return what makes a row, with its columns as attributes, of the values that a cursor yields."""
    names = tuple(column[0] for column in cursor.description or ())
    found = _row_types.get(names)
    if found is None:
        # Not `namedtuple`, which compiles source text: a short command would wait for that longer than for SQLite.
        columns = {name: property(operator.itemgetter(at)) for at, name in enumerate(names)}
        found = _row_types[names] = type("Row", (tuple,), {"__slots__": (), "_fields": names, **columns})
    return found


class Rows:
    """What a statement returns: rows with their columns as attributes.

    Args:
        cursor: Where it was executed.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._row = row_type(cursor)

    @property
    def rowcount(self) -> int:
        """How many rows were changed, over all values."""
        return self._cursor.rowcount

    def __iter__(self) -> Iterator[Any]:
        return map(self._row, self._cursor)

    def all(self) -> list[Any]:
        """Return all rows."""
        return [self._row(values) for values in self._cursor.fetchall()]

    def first(self) -> Any:
        """Return the first row, or ``None``."""
        values = self._cursor.fetchone()
        self._cursor.close()
        return None if values is None else self._row(values)

    def one(self) -> Any:
        """Return the only row."""
        (row,) = self.all()
        return row

    def scalar(self) -> Any:
        """Return the first value of the first row, or ``None``."""
        row = self.first()
        return None if row is None else row[0]

    def scalar_one(self) -> Any:
        """Return the first value of the only row."""
        return self.one()[0]

    def scalars(self) -> Rows:
        """Return the first value of each row instead of the row."""
        self._row = operator.itemgetter(0)
        return self


class SqliteConnection:
    """A connection that one thread at a time uses.

    Nothing but the transaction that uses it holds it: should an interruption, such as Ctrl+C, come between two steps, it
    is closed as soon as nobody has it, which undoes what was not committed.
    """

    driver: sqlite3.Connection
    for_looking: bool = False
    """Whether the file's disk could only be read when it was opened: it is used once, as that may change."""

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never opened
            self.driver.close()

    def rollback(self) -> None:
        """End the transaction without its changes."""
        self.driver.rollback()

    def execute(self, statement: Any, values: Any = None, /) -> Rows:
        """Execute a statement, with a list of values once for each. A value that is a list goes as JSON."""
        if values is None:
            return Rows(self.driver.execute(statement))
        if not isinstance(values, Mapping):
            return Rows(self.driver.executemany(statement, values))
        listed = {name: json.dumps(value) for name, value in values.items() if isinstance(value, list)}
        return Rows(self.driver.execute(statement, {**values, **listed} if listed else values))

    def exec_driver_sql(self, statement: str, /) -> Rows:
        """Execute the text of a statement."""
        return self.execute(statement)


class SqliteFile:
    """Lends connections to a file, and keeps some of them open.

    Args:
        path: The file, with its whole path. The first connection makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mode = "mode=rwc"
        self._idle: deque[SqliteConnection] = deque()
        self._open: weakref.WeakSet[SqliteConnection] = weakref.WeakSet()

    def take(self) -> SqliteConnection:
        """Return a connection that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            connection = SqliteConnection()
            # Before it is opened: a fork meanwhile is to know of it.
            self._open.add(connection)
            connection.for_looking = self.read_only
            connection.driver = self._connect(for_looking=connection.for_looking)
            return connection

    def give_back(self, connection: SqliteConnection, error: BaseException | None = None) -> None:
        """Take a connection back and undo what it has not committed.

        Args:
            connection: It.
            error: What its user met. After the database's own, such as those of a disk that was taken away, neither this
                connection is used again nor those that lie idle: what they have open may lead nowhere.
        """
        driver = connection.driver
        failed = isinstance(error, sqlite3.Error)
        if driver.in_transaction:
            try:
                driver.rollback()
            except sqlite3.Error:
                failed = True  # to close it undoes it too
        if failed:
            self.close()
        if not failed and len(self._idle) < _KEPT and not connection.for_looking:
            self._idle.append(connection)
        else:
            self._close(connection)

    def write(self) -> SqliteTransaction:
        """Return a transaction that holds the write lock from its start."""
        # A deferred transaction that reads and then writes fails at once when another wrote in between.
        return SqliteTransaction(self, "BEGIN IMMEDIATE")

    def read(self) -> SqliteTransaction:
        """Return a transaction that sees one state, and waits for nobody."""
        return SqliteTransaction(self, "BEGIN")

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with contextlib.suppress(IndexError):
            while True:
                self._close(self._idle.pop())

    def abandon(self) -> bool:
        """Forget all connections, in a forked child: they are the parent's.

        Returns:
            Whether a thread of the parent was working with one, or opening one.
        """
        used = list(self._open)
        _kept.extend(used)
        self._idle, self._open = deque(), weakref.WeakSet()
        return bool(used)

    def _close(self, connection: SqliteConnection) -> None:
        connection.driver.close()
        # Not before: a fork meanwhile is to know of it.
        self._open.discard(connection)

    @property
    def read_only(self) -> bool:
        """Whether its disk can only be read, such as one that the system took for failing."""
        return is_read_only(self.path.parent)

    def _connect(self, *, for_looking: bool) -> sqlite3.Connection:
        # None: the driver opens no transactions of its own.
        driver = sqlite3.connect(
            f"{self.path.as_uri()}?{self._to_read() if for_looking else self._mode}",
            timeout=LOCK_TIMEOUT,
            check_same_thread=False,
            isolation_level=None,
            uri=True,
        )
        try:
            for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                driver.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            driver.close()
            raise
        # From now on: where its disk was taken away, an empty file would be made below it.
        self._mode = "mode=rw"
        return driver

    def _to_read(self) -> str:
        """Return how to open the file for looking only."""
        log = self.path.with_name(f"{self.path.name}-wal")
        # Without a log all is in the file, and nobody changes it there: SQLite, which cannot make its index, need not.
        whole = not log.exists() or not log.stat().st_size
        return "immutable=1" if whole else "mode=ro"


class SqliteTransaction:
    """A transaction; committed where the block ends well, or undone after an error.

    Args:
        file: Where its connection comes from.
        begin: How it begins.
    """

    # A class: a generator would take as long as a statement.

    __slots__ = ("_begin", "_connection", "_file")

    def __init__(self, file: SqliteFile, begin: Literal["BEGIN", "BEGIN IMMEDIATE"]) -> None:
        self._file = file
        self._begin = begin

    def __enter__(self) -> SqliteConnection:
        with TranslatedErrors():
            self._connection = connection = self._file.take()
        try:
            connection.driver.execute(self._begin)
        except BaseException as error:
            self._file.give_back(connection, error)
            translate(error)
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        met = error
        try:
            if error is None:
                self._connection.driver.commit()
        except sqlite3.Error as failure:
            met = failure
            translate(failure)
            raise
        finally:
            self._file.give_back(self._connection, met)
        if error is not None:
            translate(error)
