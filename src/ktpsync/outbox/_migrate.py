"""Bring a database to the newest schema, or refuse it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ktpsync.errors import SchemaVersionError
from ktpsync.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from ktpsync.outbox._database import Database

HEAD = "0002"
"""The newest revision of the schema, which this release reads and writes."""

_ADVISORY_LOCK = 5_227_100_148
"""PostgreSQL's number for "the outbox is being migrated"; any constant will do."""

_alembic = threading.Lock()
"""Alembic keeps the migration that runs in globals of its modules: one at a time in a process."""


NEWEST = Path(__file__).with_name("migrations") / "sqlite.sql"
"""What all revisions together leave in an empty SQLite file."""


def migrate(database: Database) -> None:
    """Upgrade the database to :data:`HEAD`, with its data; create the tables in an empty one.

    Raises:
        SchemaVersionError: The schema is newer than this release.
        OutboxDamagedError: The file is damaged, or not a database.
    """
    database.ensure_wal()
    with database.read() as connection:
        version = _version(database, connection)
    if version == HEAD:
        return
    with _alone(database), database.write() as connection:
        if database.kind == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        version = _version(database, connection)
        if version is None and database.kind == "sqlite":
            _create(connection)
        else:
            upgrade(database, connection, version)


def _version(database: Database, connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("ktpsync_version", schema=database.schema):
        return None
    version: str | None = connection.execute(
        database.sql("SELECT version_num FROM ktpsync_version")
    ).scalar_one_or_none()
    return version


def _create(connection: Connection) -> None:
    # A restore and the first start of an office would wait for Alembic longer than for anything else.
    for statement in NEWEST.read_text(encoding="utf-8").split(";\n"):
        if statement:
            connection.exec_driver_sql(statement)


def upgrade(database: Database, connection: Connection, version: str | None) -> None:
    """Run the revisions that come after a version, in the caller's transaction.

    Raises:
        SchemaVersionError: The version is newer than this release.
    """
    # Alembic takes 0.2 s to import and is needed a few times in a database's life.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(NEWEST.parent).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise SchemaVersionError(
            f"The outbox in {database.address} has schema {version}, this release knows {HEAD} at most. "
            "Nothing was changed; install the newer ktpsync again."
        )
    config.attributes["connection"] = connection
    config.attributes["schema"] = database.schema
    with _alembic:
        command.upgrade(config, HEAD)


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Let one process at a time migrate a SQLite file; PostgreSQL has advisory locks."""
    path = database.engine.url.database
    if database.kind == "sqlite" and path:
        with locked(Path(f"{path}.migrate.lock")):
            yield
    else:
        yield
