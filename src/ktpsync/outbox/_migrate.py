"""Bring a database to the newest schema, or refuse it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ktpsync.errors import OutboxDamagedError, OutboxUnavailableError, SchemaVersionError
from ktpsync.files import locked
from ktpsync.outbox._borrowed import borrowed_connection
from ktpsync.outbox._schema import HEAD
from ktpsync.outbox._sqlite import SqliteConnection, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database

_ADVISORY_LOCK = 5_227_100_148
"""PostgreSQL's number for "the outbox is being migrated"; any constant will do."""

TABLES = ("packet", "delivery", "destination", "status", "audit", "chain", "outbox", "version")
"""The tables of the schema, without what all of their names begin with."""

_MISSING = {
    "sqlite": "SELECT t.name FROM ({all}) t WHERE t.name NOT IN (SELECT name FROM sqlite_master WHERE type = 'table')",
    "postgresql": "SELECT t.name FROM ({all}) t WHERE to_regclass(t.name) IS NULL",
}

_alembic = threading.Lock()
"""Alembic keeps the migration that runs in globals of its modules: one at a time in a process."""


NEWEST = Path(__file__).with_name("migrations") / "sqlite.sql"
"""What all revisions together leave in an empty SQLite file."""


def migrate(database: Database) -> None:
    """Upgrade the database to :data:`~ktpsync.outbox._schema.HEAD`, with its data; create the tables in an empty one.

    Raises:
        SchemaVersionError: The schema is newer than this release.
        OutboxDamagedError: The file is damaged, or not a database.
    """
    database.ensure_wal()
    with database.read() as connection:
        version = _version(database, connection)
        if version == HEAD:
            _check_tables(database, connection)
            return
    if not database.can_write():
        raise OutboxUnavailableError(
            f"The outbox's tables in {database.address} are to be made or upgraded, and its disk can only be read. Look whether the "
            "disk is whole. Nothing was changed."
        )
    with _alone(database), database.write() as connection:
        if database.kind == "postgresql":
            statement = database.sql("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(statement, {"key": _ADVISORY_LOCK})
        version = _version(database, connection)
        if version in {None, HEAD}:
            _check_tables(database, connection)
        if not isinstance(connection, SqliteConnection):
            upgrade(database, cast("sa.Connection", connection), version)
        elif version is None:
            _create(connection)
        else:
            with borrowed_connection(connection.driver) as borrowed:
                upgrade(database, borrowed, version)


def _version(database: Database, connection: Connection) -> str | None:
    there = "SELECT 1 FROM sqlite_master WHERE name = 'ktpsync_version'"
    if database.kind == "postgresql":
        # In the outbox's own schema where it has one.
        there = "SELECT 1 WHERE to_regclass('ktpsync_version') IS NOT NULL"
    if not database.rows(connection, there, {}):
        return None
    found = database.rows(connection, "SELECT version_num FROM ktpsync_version", {})
    return str(found[0].version_num) if found else None


def _check_tables(database: Database, connection: Connection) -> None:
    """Refuse a database that has some of the tables and not the others.

    Raises:
        OutboxDamagedError: It is one.
    """
    every = " UNION ALL ".join(f"SELECT 'ktpsync_{table}' AS name" for table in TABLES)
    rows = database.rows(connection, _MISSING[database.kind].replace("{all}", every), {})
    if len(rows) in {0, len(TABLES)}:
        return
    missing = ", ".join(sorted(row.name for row in rows))
    if database.own:
        raise OutboxDamagedError(
            f"Tables of the outbox in {database.address} are missing: {missing}. Nothing was changed. Stop the service; "
            "`ktpsync doctor --rebuild` makes the database anew from the sealed packets and what is left of it."
        )
    raise OutboxDamagedError(
        f"Tables of the outbox in {database.address} are missing: {missing}. Nothing was changed. Put them back from a backup of the "
        "database. If there is none, `ktpsync doctor --recover` sets the outbox's other tables aside, if this is an application's SQLite "
        "file, and makes all of them anew from the sealed packets."
    )


def _create(connection: Connection) -> None:
    # A restore and the first start of an office would wait for Alembic longer than for anything else.
    for statement in NEWEST.read_text(encoding="utf-8").split(";\n"):
        if statement:
            connection.exec_driver_sql(statement)


def refuse_newer(address: Path | str, version: str | None) -> None:
    """Refuse a database whose schema is none that this release knows.

    Args:
        address: Which.
        version: The revision of its schema; ``None`` if it has none yet.

    Raises:
        SchemaVersionError: It is newer than this release.
    """
    known = {path.name[1:].partition("_")[0] for path in NEWEST.parent.glob("versions/r[0-9]*_*.py")}
    if version is not None and version not in known:
        raise SchemaVersionError(
            f"The outbox in {address} has schema {version}, this release knows {HEAD} at most. "
            "Nothing was changed; install the newer ktpsync again."
        )


def upgrade(database: Database, connection: sa.Connection, version: str | None) -> None:
    """Run the revisions that come after a version, in the caller's transaction.

    Raises:
        SchemaVersionError: The version is newer than this release.
    """
    # Alembic takes 0.2 s to import and is needed a few times in a database's life.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(NEWEST.parent).replace("%", "%%"))
    refuse_newer(database.address, version)
    config.attributes["connection"] = connection
    config.attributes["schema"] = database.schema
    with _alembic:
        command.upgrade(config, HEAD)


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Let one process at a time migrate a SQLite file; PostgreSQL has advisory locks."""
    if isinstance(database.engine, SqliteFile):
        with locked(Path(f"{database.engine.path}.migrate.lock")):
            yield
    else:
        yield
