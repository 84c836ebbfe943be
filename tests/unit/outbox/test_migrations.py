"""Databases of earlier releases, with data in them, on both stores."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from ktpsync.outbox import DeliveryState, DestinationSpec, Outbox, _migrate
from ktpsync.outbox._borrowed import borrowed_connection
from ktpsync.outbox._database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.testing import ManualClock

SCHEMAS = Path(__file__).with_name("schemas")
"""One dump per earlier schema, made by the release that wrote it. None of them may ever be changed."""

EARLIER = sorted(path.stem for path in SCHEMAS.glob("*.sql"))


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(Path(_migrate.__file__).with_name("migrations")))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def load(database: Path | str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a database as the release with this schema left it."""
    dump = (SCHEMAS / f"{schema}.sql").read_text(encoding="utf-8")
    if isinstance(database, Path):
        with sqlite3.connect(database) as connection:
            connection.executescript(dump)
        connection.close()
        return
    with monkeypatch.context() as patch:
        patch.setattr(_migrate, "HEAD", schema)
        store = Database(database)
        _migrate.migrate(store)
        store.close()
    engine = sa.create_engine(sa.make_url(database).set(drivername="postgresql+psycopg"))
    rows = re.findall(r"^INSERT INTO.*$", dump, flags=re.MULTILINE)
    # A packet's row comes before what refers to it.
    rows.sort(key=lambda row: '"ktpsync_packet"' not in row)
    with engine.begin() as connection:
        for table in ("ktpsync_chain", "ktpsync_version"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - two names from here
        for row in rows:
            connection.exec_driver_sql(re.sub(r"X'([0-9a-fA-F]*)'", r"decode('\1', 'hex')", row))
        for table in ("audit", "delivery", "status"):
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('ktpsync_{table}', 'id'), 100)")
    engine.dispose()


@pytest.mark.parametrize("schema", EARLIER)
def test_earlier_schemas_are_upgraded_with_their_data(
    new_database: Callable[[], Path | str],
    manual_clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schema: str,
) -> None:
    """Packets, deliveries, leases, statuses, copies and the trail are all there, and work goes on."""
    database = new_database()
    load(database, schema, monkeypatch)
    manual_clock.ms += 10_000
    with Outbox.open(
        database,
        tmp_path / "spool",
        destinations=[DestinationSpec(name="central"), DestinationSpec(name="usb", required=False)],
        clock=manual_clock,
    ) as outbox:
        assert "018bcfe5-6800-7000-8000-00000000feed" == outbox.outbox_id
        views = list(outbox.packets())
        assert [f"app-{number}" for number in range(5)] == [view.reference for view in views]
        central = [outbox.status(view.packet_id).deliveries[0] for view in views]
        assert [
            DeliveryState.REJECTED,
            DeliveryState.PENDING,
            DeliveryState.LEASED,
            DeliveryState.PENDING,
            DeliveryState.DELIVERED,
        ] == [delivery.state for delivery in central]
        assert central[4].receipt is not None
        assert views[4].sha256 == central[4].receipt.sha256
        assert [views[1]] == outbox.find(person=bytes([101]) * 32)
        assert {"PRINT_READY_RECORD": 1} == outbox.registration_statuses()
        assert datetime(2023, 11, 15, tzinfo=UTC) == views[4].status_at
        assert "7" == outbox.destination("central").cursor
        assert 4 == len(list(outbox.uncopied("r1")))
        assert () == outbox.audit.verify().problems
        assert [views[3].packet_id] == [lease.packet.packet_id for lease in outbox.claim("central", 5, 60)]
        manual_clock.advance(60)
        assert 3 == len(outbox.claim("central", 5, 60))
        assert 14 == outbox.sequence()
    with Outbox.open(database, tmp_path / "spool") as again:
        assert views == list(again.packets())


def test_every_earlier_schema_has_its_dump() -> None:
    """Whoever adds a revision adds the data of the one before it."""
    assert [*EARLIER, _migrate.HEAD] == revisions()


def test_a_new_file_is_what_the_revisions_make(tmp_path: Path) -> None:
    """A new SQLite file is made from one text, without the revisions; whoever adds a revision writes that text anew."""
    dumps = []
    for name in ("revised", "new"):
        store = Database(tmp_path / name)
        if name == "revised":
            with store.write() as connection, borrowed_connection(connection.driver) as borrowed:
                _migrate.upgrade(store, borrowed, None)
        _migrate.migrate(store)
        store.close()
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as connection:
            dumps.append([" ".join(statement.split()) for statement in connection.iterdump()])
    assert dumps[0] == dumps[1]
