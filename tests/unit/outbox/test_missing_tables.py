"""Tables of the outbox that somebody has dropped: told in one way wherever it is met, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from ktpsync.errors import OutboxDamagedError
from ktpsync.outbox import DestinationSpec, FolderSpool, Outbox, rebuild

TABLES = ("packet", "delivery", "destination", "status", "audit", "chain", "outbox", "version")

SEALED = b"age-encryption.org/v1\n-> X25519 x\nbody\n--- " + b"A" * 43 + b"\n" + bytes(40)


def drop(station: Any, *tables: str) -> None:
    """Drop tables, as an application's migration does that does not know them."""
    with station.outbox._database.write() as connection:
        if station.outbox._database.kind == "sqlite":
            connection.rollback()
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        cascade = "" if station.outbox._database.kind == "sqlite" else " CASCADE"
        for table in tables:
            connection.exec_driver_sql(f"DROP TABLE ktpsync_{table}{cascade}")


@pytest.mark.parametrize("table", TABLES)
def test_an_outbox_that_lacks_a_table_is_not_opened(station: Any, table: str) -> None:
    """The message names the table, and no other table is made or changed."""
    station.submit(SEALED)
    drop(station, table)
    station.outbox.close()
    with pytest.raises(OutboxDamagedError, match=rf"are missing: ktpsync_{table}\. .*ktpsync doctor --re"):
        station.reopen()


def test_a_table_that_goes_while_the_outbox_is_open_is_said(station: Any) -> None:
    """Without a statement of SQL, whatever is asked for."""
    packet = station.submit(SEALED).packet
    drop(station, "delivery")
    for work in (
        lambda: station.submit(SEALED),
        lambda: station.outbox.submit_many([]) or station.submit(SEALED),
        lambda: station.outbox.status(packet.packet_id),
        station.claim,
        station.outbox.summary,
    ):
        with pytest.raises(OutboxDamagedError, match="A table of the outbox is missing") as failed:
            work()
        assert "ktpsync_delivery" in str(failed.value)
        assert "SELECT" not in str(failed.value)
        assert "INSERT" not in str(failed.value)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "tables", [(table,) for table in TABLES] + [TABLES], ids=lambda tables: "-".join(tables[:2])
)
def test_the_outboxs_own_file_is_made_anew(station: Any, tables: tuple[str, ...]) -> None:
    """What the message says to do works, whichever table it is, or all of them."""
    packets = {station.submit(SEALED).packet_id for _ in range(3)}
    drop(station, *tables)
    station.outbox.close()
    with pytest.raises(OutboxDamagedError, match="doctor --rebuild"):
        station.reopen()
    rebuild(
        station.database,
        FolderSpool(station.spool),
        destinations=[DestinationSpec(name="central")],
        clock=station.clock,
    )
    with Outbox.open(station.database, station.spool, clock=station.clock) as outbox:
        assert packets == {view.packet_id for view in outbox.packets()}
        assert () == outbox.examine(read=True).problems
