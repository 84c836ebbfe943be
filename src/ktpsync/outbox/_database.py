"""Connections to the outbox's database and what differs between SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url

from ktpsync.errors import ClosedError, ConfigError
from ktpsync.files import UseLock, locked
from ktpsync.outbox._direct import DirectConnections, DirectTransaction
from ktpsync.outbox._failures import TranslatedErrors
from ktpsync.outbox._forks import ForkedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, CursorResult
    from sqlalchemy.pool import ConnectionPoolEntry

    Values = Mapping[str, object]
    Transaction = Connection | sqlite3.Connection
    """What the statements that are run for every packet are executed in; see :meth:`Database.direct`."""

LOCK_TIMEOUT = 60.0
"""Seconds that a SQLite writer waits for the others."""

_BIND = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_TABLE = re.compile(r"\bktpsync_(?=[a-z])")

_DATABASE_NOW = "COALESCE(CAST(:now AS BIGINT), CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT))"


class Database:
    """The outbox's database.

    Args:
        address: A path for SQLite, or a SQLAlchemy URL (``sqlite:///...``, ``postgresql://...``).
        schema: PostgreSQL schema of the outbox's tables. It must exist.

    Raises:
        ConfigError: Neither SQLite nor PostgreSQL.
    """

    def __init__(self, address: Path | str, *, schema: str | None = None) -> None:
        url = URL.create("sqlite", database=str(address)) if isinstance(address, Path) else make_url(address)
        self.kind = url.get_backend_name()
        self.schema = schema
        if schema is not None and (
            self.kind != "postgresql" or not re.fullmatch(r"[a-z_][a-z0-9_]*", schema)
        ):
            raise ConfigError(
                f"The outbox cannot live in the schema {schema!r}: PostgreSQL only, plain name."
            )
        self._use: UseLock | None = None
        if self.kind == "sqlite":
            self.engine = _sqlite_engine(url)
            if url.database and url.database != ":memory:":
                self._use = UseLock(use_lock(Path(url.database)))
        elif self.kind == "postgresql":
            self.engine = _postgresql_engine(url.set(drivername="postgresql+psycopg"))
        else:
            raise ConfigError(
                f"The outbox cannot live in {self.kind}: give a SQLite path or a PostgreSQL URL."
            )
        # A name from another system may be no text that a URL can hold.
        self.address = str(address) if isinstance(address, Path) else url.render_as_string(hide_password=True)
        self._direct = DirectConnections(self.engine)
        self._forks = ForkedEngine(self.engine, self.address, self._direct)
        self.check: Callable[[], None] = self._forks.check
        """Refuses to work in a process that was forked at the wrong moment, and after :meth:`close`."""
        self.check()
        self._statements: dict[str, sa.TextClause] = {}
        self._driver_statements: dict[str, str] = {}
        self._named: dict[str, Callable[[Iterable[Any]], Any]] = {}

    def sql(self, statement: str) -> sa.TextClause:
        """Return a statement for this database, parsed once.

        ``{now}`` stands for the time: of the database server where machines share it. ``{lock}``
        locks the selected rows for this transaction and skips those that others hold.
        """
        found = self._statements.get(statement)
        if found is None:
            found = self._statements[statement] = sa.text(self._text(statement))
        return found

    def among(self, statement: str, *names: str) -> sa.TextClause:
        """Return a statement as :meth:`sql` does, in which ``IN :name`` takes a list of texts."""
        if self.kind == "sqlite":
            return self.sql(statement).bindparams(*(sa.bindparam(name, expanding=True) for name in names))
        # One value: a thousand of them keep the threads of this process waiting.
        for name in names:
            statement = statement.replace(f"IN :{name}", f"= ANY(CAST(:{name} AS TEXT[]))")
        return self.sql(statement)

    def rows(self, transaction: Transaction, statement: str, values: Values) -> Sequence[Any]:
        """Execute a statement that is run for every packet, and return its rows, their columns as attributes.

        On the outbox's own connections it goes to the driver as it is: SQLAlchemy's way from ``:name`` to the
        driver costs more than SQLite itself.

        Args:
            transaction: The outbox's own, or the application's.
            statement: As for :meth:`sql`, without a per cent sign.
            values: Values by name.
        """
        if not isinstance(transaction, sqlite3.Connection):
            return self._run(transaction, statement, values).all()
        text = self._driver_statements.get(statement) or self._driver_text(statement)
        cursor = transaction.execute(text, values)
        found = cursor.fetchall()
        if not found:
            return found
        named = self._named.get(statement)
        if named is None:
            columns = [column[0] for column in cursor.description]
            row_class = namedtuple("Row", columns)  # type: ignore[misc]  # noqa: PYI024 - columns known here first
            named = self._named[statement] = row_class._make
        return [named(row) for row in found]

    def change(self, transaction: Transaction, statement: str, values: Values | list[dict[str, Any]]) -> int:
        """Execute a statement that is run for every packet and returns no rows; see :meth:`rows`.

        Args:
            transaction: The outbox's own, or the application's.
            statement: As for :meth:`sql`, without a per cent sign.
            values: Values by name; a list of them runs the statement once for each.

        Returns:
            How many rows were changed, over all values.
        """
        if not isinstance(transaction, sqlite3.Connection):
            return self._run(transaction, statement, values).rowcount
        text = self._driver_statements.get(statement) or self._driver_text(statement)
        if not isinstance(values, list):
            return transaction.execute(text, values).rowcount
        # Most transactions write one.
        if len(values) == 1:
            return transaction.execute(text, values[0]).rowcount
        return transaction.executemany(text, values).rowcount

    def _run(
        self, connection: Connection, statement: str, values: Values | list[dict[str, Any]]
    ) -> CursorResult[Any]:
        if connection.engine is not self.engine:
            return connection.execute(self.sql(statement), values)
        return connection.exec_driver_sql(self._driver_text(statement), values)

    def _driver_text(self, statement: str) -> str:
        found = self._driver_statements.get(statement)
        if found is None:
            found = self._text(statement)
            if self.kind == "postgresql":
                found = _BIND.sub(r"%(\1)s", found)
            self._driver_statements[statement] = found
        return found

    def _text(self, statement: str) -> str:
        now, lock = (_DATABASE_NOW, "FOR UPDATE SKIP LOCKED") if self.kind == "postgresql" else (":now", "")
        text = statement.replace("{now}", now).replace("{lock}", lock)
        return text if self.schema is None else _TABLE.sub(f"{self.schema}.ktpsync_", text)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that holds SQLite's write lock from its start, and commit it.

        Raises:
            StationFullError: The database's disk has no room; nothing was changed.
            OutboxDamagedError: The database is damaged.
        """
        self.check()
        with TranslatedErrors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def direct(self) -> contextlib.AbstractContextManager[Transaction]:
        """Run a transaction as :meth:`write` does, for :meth:`rows` and :meth:`change` alone.

        On SQLite it goes past SQLAlchemy, whose own work for one small transaction costs more than SQLite's.

        Raises:
            StationFullError: The database's disk has no room; nothing was changed.
            OutboxDamagedError: The database is damaged.
        """
        if self.kind != "sqlite":
            return self.write()
        self.check()
        return DirectTransaction(self._direct)

    @contextlib.contextmanager
    def read(self, *, consistent: bool = False) -> Iterator[Connection]:
        """Run a transaction that only reads and never waits for writers.

        Args:
            consistent: Whether all statements must see one and the same state.

        Raises:
            OutboxDamagedError: The database is damaged.
        """
        self.check()
        with TranslatedErrors(), self.engine.connect() as connection:
            if self.kind == "sqlite":
                reading = connection.execution_options(ktpsync_begin="BEGIN")
            elif consistent:
                reading = connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                reading = connection
            with reading.begin():
                yield reading

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Keep every other process from work of the same name, until the block or this process ends.

        On a database server they may be on other machines.

        Raises:
            TimeoutError: Another one is at it.
        """
        self.check()
        if self.kind == "sqlite":
            with locked(Path(str(self.engine.url.database) + ".alone"), wait=False):
                yield
            return
        bound = {"name": name}
        with TranslatedErrors(), self.engine.connect() as connection:
            own = connection.execution_options(isolation_level="AUTOCOMMIT")
            taken = "SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"
            if not own.execute(sa.text(taken), bound).scalar_one():
                raise TimeoutError(name)
            try:
                yield
            finally:
                own.execute(sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), bound)

    def paged(
        self, statement: str, values: Mapping[str, object], *, page: int = 1000, **after: str
    ) -> Iterator[sa.Row[Any]]:
        """Yield the rows of a query in constant memory; no transaction is open while the caller works on them.

        Args:
            statement: As for :meth:`sql`, with an order and without a limit. It selects what comes behind the
                values that ``after`` names.
            values: Values by name, those where to start among them.
            page: Rows that are read at a time.
            after: The column that a name among the values goes on with, of the last row that was read.
        """
        limited = self.sql(f"{statement} LIMIT {page}")
        bound = dict(values)
        while True:
            with self.read() as connection:
                rows = connection.execute(limited, bound).all()
            yield from rows
            if len(rows) < page:
                return
            bound |= {name: getattr(rows[-1], column) for name, column in after.items()}

    def ensure_wal(self) -> None:
        """Bring a SQLite file into write-ahead mode, in which it stays, if it is not; elsewhere do nothing.

        Changing the mode reads first and writes then, and for that step SQLite fails at once instead of
        waiting while another connection is in the file: so the waiting is done here.

        Raises:
            ConfigError: The file's disk cannot hold a database in this mode.
        """
        if self.kind != "sqlite":
            return
        with TranslatedErrors(), self.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            mode = _wal(driver)
        if mode != "wal":
            raise ConfigError(
                f"The outbox cannot live in {self.address}: SQLite keeps no write-ahead log there. "
                "Give a file on a disk of this machine."
            )

    def close(self) -> None:
        """Close all connections, for good: whoever rebuilds the database believes to be alone from now on."""
        self.check = self._refuse
        self._direct.let_go()
        self.engine.dispose()
        if self._use is not None:
            self._use.release()

    def _refuse(self) -> None:
        raise ClosedError(
            f"The outbox in {self.address} was closed. Nothing was stored. Keep it open for as long as it is used, or "
            "open it again."
        )


def use_lock(database: Path) -> Path:
    """Return the file that every opened outbox on a SQLite file holds a lock on."""
    return database.with_name(f"{database.name}.in-use")


def _wal(driver: sqlite3.Connection) -> str:
    give_up = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            # Past SQLAlchemy, which would open a transaction, where the mode cannot be changed.
            return str(driver.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.005)


def _sqlite_engine(url: URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        # None: the driver opens no transactions of its own; the event below says BEGIN.
        connect_args={"timeout": LOCK_TIMEOUT, "check_same_thread": False, "isolation_level": None},
        poolclass=sa.QueuePool,
        pool_size=8,
        max_overflow=-1,
        pool_reset_on_return=None,
        # Errors are logged, and what they would name besides the statement are an office's values.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "checkin")
    def _given_back(connection: sqlite3.Connection | None, _record: ConnectionPoolEntry) -> None:
        # Only where an interruption kept whoever had it from doing so.
        if connection is not None and connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another wrote in between.
        begin = connection.get_execution_options().get("ktpsync_begin", "BEGIN IMMEDIATE")
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(begin).close()

    return engine


def _postgresql_engine(url: URL) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=8,
        max_overflow=-1,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )
