"""A newer release upgrades the database while an older one has it open, as in a rolling deployment: nobody writes past the other."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import sqlalchemy as sa

from ktpsync.errors import SchemaVersionError
from ktpsync.outbox import Submission
from ktpsync.packet import new_packet_id


def upgrade(station: Any) -> None:
    """Stand for a newer release that upgrades the tables."""
    with station.outbox._database.write() as connection:
        connection.exec_driver_sql("UPDATE ktpsync_version SET version_num = '9999'")


def rows(station: Any) -> list[list[Any]]:
    """Return what is in the tables."""
    with station.outbox._database.read() as connection:
        return [
            [tuple(row) for row in connection.exec_driver_sql(statement)]
            for statement in (
                "SELECT packet_id FROM ktpsync_packet ORDER BY 1",
                "SELECT id, state, receipt FROM ktpsync_delivery ORDER BY 1",
                "SELECT id, event FROM ktpsync_audit ORDER BY 1",
                "SELECT seq FROM ktpsync_chain",
                "SELECT dest, paused FROM ktpsync_destination ORDER BY 1",
            )
        ]


def test_nothing_is_written_into_tables_that_are_newer(station: Any) -> None:
    """Recording, settling and a person's decisions are refused, and the message says what to do."""
    station.submit(b"first")
    (lease,) = station.claim()
    upgrade(station)
    before = rows(station)
    for work in (
        lambda: station.submit(b"second"),
        lambda: station.outbox.settle(lease, station.receipt(lease.packet)),
        lambda: station.outbox.submit_many(
            [Submission(sealed=b"x", packet_id=new_packet_id(), sha256=hashlib.sha256(b"x").hexdigest())]
        ),
        lambda: station.outbox.pause("central", reason="x", who="budi"),
    ):
        with pytest.raises(
            SchemaVersionError, match=r"upgraded to schema 9999 while .* start the program again"
        ):
            work()
    assert before == rows(station)


def test_an_applications_transaction_gets_no_rows_of_an_older_release(station: Any) -> None:
    """Also where the application commits it in spite of the error."""
    upgrade(station)
    before = rows(station)
    if station.outbox._database.kind == "sqlite":
        engine = sa.create_engine(f"sqlite:///{station.database}")
    else:
        engine = sa.create_engine(sa.make_url(station.database).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection, pytest.raises(SchemaVersionError, match="Nothing was stored"):
        station.submit(b"in a transaction", connection=connection)
    engine.dispose()
    assert before == rows(station)
