"""Connections to the outbox's database and what differs between SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ktpsync.errors import ClosedError, ConfigError, OutboxInUseError, OutboxUnavailableError
from ktpsync.files import UseLock, locked
from ktpsync.outbox._failures import TranslatedErrors
from ktpsync.outbox._forks import ForkedEngine
from ktpsync.outbox._sqlite import LOCK_TIMEOUT, SqliteConnection, SqliteFile, row_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import sqlalchemy as sa
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import IsolationLevel

    from ktpsync.outbox._connection import Connection, Result

    Parsed = str | sa.TextClause
    Values = Mapping[str, object]

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
        url = None if isinstance(address, Path) else _parsed(address)
        self.kind = "sqlite" if url is None else url.get_backend_name()
        self.schema = schema
        self.own = url is None
        """Whether it is a file of the outbox's own: nobody else's tables are in it, and it can be made anew."""
        if schema is not None and (
            self.kind != "postgresql" or not re.fullmatch(r"[a-z_][a-z0-9_]*", schema)
        ):
            raise ConfigError(
                f"The outbox cannot live in the schema {schema!r}: PostgreSQL only, plain name."
            )
        self._use: UseLock | None = None
        self.engine: sa.Engine | SqliteFile
        if self.kind == "sqlite" and (url is None or url.database not in {None, "", ":memory:"}):
            # Connections are opened again later, when the program may be in another folder.
            path = Path(address if url is None else str(url.database)).absolute()
            self.engine = SqliteFile(path)
            # A name from another system may be no text that a URL can hold.
            self.address = str(path) if url is None else url.render_as_string(hide_password=True)
        elif url is not None and self.kind == "postgresql":
            self.engine = _postgresql_engine(url.set(drivername="postgresql+psycopg"))
            self.address = url.render_as_string(hide_password=True)
        else:
            raise ConfigError(
                f"The outbox cannot live in {self.kind}: give a SQLite path or a PostgreSQL URL."
            )
        self._forks = ForkedEngine(self.engine, self.address)
        self.check: Callable[[], None] = self._forks.check
        """Refuses to work in a process that was forked at the wrong moment, and after :meth:`close`."""
        self.check()
        if isinstance(self.engine, SqliteFile):
            self._use = _in_use(self.engine.path)
        self._parsed: dict[str, sa.TextClause] = {}
        self._driver_statements: dict[str, str] = {}
        self._named: dict[str, Callable[[tuple[Any, ...]], Any]] = {}

    def sql(self, statement: str) -> Parsed:
        """Return a statement for this database, parsed once.

        ``{now}`` stands for the time: of the database server where machines share it. ``{lock}``
        locks the selected rows for this transaction and skips those that others hold.
        """
        return self._driver_text(statement) if self.kind == "sqlite" else self._parsed_statement(statement)

    def among(self, statement: str, *names: str) -> Parsed:
        """Return a statement as :meth:`sql` does, in which ``IN :name`` takes a list of texts as one value."""
        values = (
            "IN (SELECT value FROM json_each(:{}))" if self.kind == "sqlite" else "= ANY(CAST(:{} AS TEXT[]))"
        )
        for name in names:
            statement = statement.replace(f"IN :{name}", values.format(name))
        return self.sql(statement)

    def rows(self, transaction: Connection, statement: str, values: Values) -> Sequence[Any]:
        """Execute a statement that is run for every packet, and return its rows, their columns as attributes.

        On the outbox's own connections it goes to the driver as it is.

        Args:
            transaction: The outbox's own, or the application's.
            statement: As for :meth:`sql`, without a per cent sign.
            values: Values by name.
        """
        if not isinstance(transaction, SqliteConnection):
            return self._run(transaction, statement, values).all()
        text = self._driver_statements.get(statement) or self._driver_text(statement)
        cursor = transaction.driver.execute(text, values)
        found = cursor.fetchall()
        if not found:
            return found
        named = self._named.get(statement)
        if named is None:
            named = self._named[statement] = row_type(cursor)
        return [named(row) for row in found]

    def change(self, transaction: Connection, statement: str, values: Values | list[dict[str, Any]]) -> int:
        """Execute a statement that is run for every packet and returns no rows; see :meth:`rows`.

        Args:
            transaction: The outbox's own, or the application's.
            statement: As for :meth:`sql`, without a per cent sign.
            values: Values by name; a list of them runs the statement once for each.

        Returns:
            How many rows were changed, over all values.
        """
        if not isinstance(transaction, SqliteConnection):
            return self._run(transaction, statement, values).rowcount
        text = self._driver_statements.get(statement) or self._driver_text(statement)
        if not isinstance(values, list):
            return transaction.driver.execute(text, values).rowcount
        # Most transactions write one.
        if len(values) == 1:
            return transaction.driver.execute(text, values[0]).rowcount
        return transaction.driver.executemany(text, values).rowcount

    def _run(self, connection: Connection, statement: str, values: Values | list[dict[str, Any]]) -> Result:
        given = cast("sa.Connection", connection)
        if given.engine is self.engine:
            # SQLAlchemy's way from `:name` to the driver costs more than the statement.
            return given.exec_driver_sql(self._driver_text(statement), values)
        return given.execute(self._parsed_statement(statement), values)

    def _parsed_statement(self, statement: str) -> sa.TextClause:
        found = self._parsed.get(statement)
        if found is None:
            import sqlalchemy as sa  # noqa: PLC0415 - the outbox's own SQLite file does without

            found = self._parsed[statement] = sa.text(self._text(statement))
        return found

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

    def write(self) -> contextlib.AbstractContextManager[Connection]:
        """Return a transaction that holds SQLite's write lock from its start; it is committed where its block ends well.

        Raises:
            StationFullError: The database's disk has no room; nothing was changed.
            OutboxDamagedError: The database is damaged.
        """
        self.check()
        return self.engine.write() if isinstance(self.engine, SqliteFile) else _served(self.engine)

    def read(self, *, consistent: bool = False) -> contextlib.AbstractContextManager[Connection]:
        """Return a transaction that only reads and never waits for writers.

        Args:
            consistent: Whether all statements must see one and the same state.

        Raises:
            OutboxDamagedError: The database is damaged.
        """
        self.check()
        if isinstance(self.engine, SqliteFile):
            return self.engine.read()
        return _served(self.engine, "REPEATABLE READ" if consistent else None)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Keep every other process from work of the same name, until the block or this process ends.

        On a database server they may be on other machines.

        Raises:
            TimeoutError: Another one is at it.
        """
        self.check()
        if isinstance(self.engine, SqliteFile):
            with locked(Path(f"{self.engine.path}.alone"), wait=False):
                yield
            return
        bound = {"name": name}
        with TranslatedErrors(), self.engine.connect() as connection:
            own = connection.execution_options(isolation_level="AUTOCOMMIT")
            taken = self._parsed_statement("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            if not own.execute(taken, bound).scalar_one():
                raise TimeoutError(name)
            try:
                yield
            finally:
                own.execute(
                    self._parsed_statement("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), bound
                )

    def paged(
        self, statement: str, values: Mapping[str, object], *, page: int = 1000, **after: str
    ) -> Iterator[Any]:
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
        if not isinstance(self.engine, SqliteFile) or self.engine.read_only:
            return
        with TranslatedErrors():
            connection = self.engine.take()
            mode = _wal(connection.driver)
            self.engine.give_back(connection)
        if mode != "wal":
            raise ConfigError(
                f"The outbox cannot live in {self.address}: SQLite keeps no write-ahead log there. "
                "Give a file on a disk of this machine."
            )

    def can_write(self) -> bool:
        """Return whether the database can be written to, as far as is seen without trying."""
        return not (isinstance(self.engine, SqliteFile) and self.engine.read_only)

    def close(self) -> None:
        """Close all connections, for good: whoever rebuilds the database believes to be alone from now on."""
        self.check = self._refuse
        self._forks.let_go()
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


@contextlib.contextmanager
def used_by_nobody(database: Path) -> Iterator[None]:
    """Keep an outbox on a SQLite file from being opened while the block runs.

    Raises:
        OutboxInUseError: It is open.
    """
    try:
        lock = UseLock(use_lock(database), alone=True, wait=False)
    except TimeoutError:
        raise OutboxInUseError(
            f"Another process works with the outbox in {database}. Stop the service and the application, then try again."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _in_use(database: Path) -> UseLock:
    try:
        return UseLock(use_lock(database))
    except FileNotFoundError as error:
        raise OutboxUnavailableError(
            f"The folder of the outbox's database, {database.parent}, is not there. Make it, or look whether its disk is connected."
        ) from error
    except OSError as error:
        raise OutboxUnavailableError(
            f"The outbox's database {database} cannot be used, for its folder cannot be written to: {error.strerror}. Look "
            "whether its disk is whole, and whether this user may write there. Nothing was changed."
        ) from error


def _wal(driver: sqlite3.Connection) -> str:
    give_up = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return str(driver.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.005)


def _parsed(address: str) -> URL:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - a path does without

    return make_url(address)


@contextlib.contextmanager
def _served(engine: sa.Engine, isolation_level: IsolationLevel | None = None) -> Iterator[sa.Connection]:
    """Run a transaction on a database server."""
    with TranslatedErrors(), engine.connect() as connection:
        if isolation_level is not None:
            connection.execution_options(isolation_level=isolation_level)
        with connection.begin():
            yield connection


def _postgresql_engine(url: URL) -> sa.Engine:
    import sqlalchemy as sa  # noqa: PLC0415 - SQLite does without

    return sa.create_engine(
        url,
        pool_size=8,
        max_overflow=-1,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        # Errors are logged, and what they would name besides the statement are an office's values.
        hide_parameters=True,
    )
