"""The application's own database connection, as transactional submits need it, where the application has no SQLAlchemy.

Django and others hand out the driver's connection. It is wrapped here, and nothing but statements passes through:
the transaction stays the application's, which commits, rolls back and closes as it always does.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from ktpsync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Dialect

    DriverConnection = object


def _leave(_driver_connection: object) -> None:
    """Do nothing: ending the transaction and the connection is the application's business."""


@contextlib.contextmanager
def borrowed_connection(driver_connection: DriverConnection) -> Iterator[Connection]:
    """Lend a driver's connection to a transactional submit.

    Args:
        driver_connection: A ``sqlite3.Connection`` or a ``psycopg.Connection``, in a transaction that the
            application has begun, such as Django's ``connection.connection`` inside ``atomic()``.

    Yields:
        It as a SQLAlchemy connection, for ``connection=``. It is good until the block ends.

    Raises:
        ConfigError: It is a connection of another driver.
    """
    import sqlalchemy as sa  # noqa: PLC0415 - the outbox's own SQLite file does without

    dialect = _dialect(driver_connection)
    for ending in ("do_commit", "do_rollback", "do_close", "do_terminate"):
        setattr(dialect, ending, _leave)
    # An engine made by hand: `create_engine` would change the connection's settings and functions at first use.
    pool = sa.NullPool(lambda: driver_connection, reset_on_return=None, dialect=dialect)  # type: ignore[arg-type]
    with sa.Engine(pool, dialect, sa.make_url(f"{dialect.name}://")).connect() as connection:
        yield connection


def _dialect(driver_connection: Any) -> Dialect:
    if isinstance(driver_connection, sqlite3.Connection):
        from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite  # noqa: PLC0415 - only one is needed

        return SQLiteDialect_pysqlite(dbapi=sqlite3)
    with contextlib.suppress(ImportError):
        import psycopg  # noqa: PLC0415 - only there with the extra `postgres`

        if isinstance(driver_connection, psycopg.Connection):
            from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg  # noqa: PLC0415 - see above

            return PGDialect_psycopg(dbapi=psycopg)  # type: ignore[no-untyped-call]
    raise ConfigError(
        f"A transactional submit needs a connection of sqlite3 or psycopg 3, and {type(driver_connection).__module__}."
        f"{type(driver_connection).__qualname__} is neither. Nothing was submitted."
    )
