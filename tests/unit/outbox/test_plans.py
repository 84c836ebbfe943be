"""How SQLite carries out the store's statements: a stock of hundreds of thousands of packets slows nothing down."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.outbox import DestinationSpec, Limits, Outbox, Submission
from ktpsync.outbox._sqlite import SqliteFile
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Receipt, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ktpsync.testing import ManualClock

_LARGE = re.compile(r"SCAN (?:ktpsync_)?(?:packet|delivery|audit|status|[pdca])\b(?!.*COVERING INDEX)")
"""A whole table of packets, deliveries, statuses or entries is read; the other tables are small."""


@pytest.fixture
def watched(
    tmp_path: Path, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Outbox, set[str]]]:
    """An outbox whose limits are set, and the statements that SQLite runs for it, with their values."""
    outbox = Outbox.open(
        tmp_path / "outbox.db",
        tmp_path / "spool",
        destinations=[DestinationSpec(name="central"), DestinationSpec(name="usb")],
        limits=Limits(reserve=0, max_backlog=1 << 40, max_age_days=1000),
        clock=manual_clock,
    )
    ran: set[str] = set()

    file = outbox._database.engine
    assert isinstance(file, SqliteFile)
    file.close()
    connect = file._connect

    def traced(**options: bool) -> sqlite3.Connection:
        connection = connect(**options)
        connection.set_trace_callback(ran.add)
        return connection

    monkeypatch.setattr(file, "_connect", traced)

    yield outbox, ran
    outbox.close()


def scans(outbox: Outbox, ran: set[str]) -> list[str]:
    """Return the steps of these statements that read a whole large table; forget the statements."""
    found = []
    statements = {one for one in ran if one.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}}
    assert statements
    with contextlib.closing(sqlite3.connect(str(outbox._database.engine.path))) as connection:
        for statement in statements:
            steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            found += [f"{step[3]}: {statement}" for step in steps if _LARGE.search(step[3])]
    ran.clear()
    return found


def test_the_watch_notices_a_scan(watched: Any) -> None:
    """Reading a whole table is seen, through an alias too; the count of an index is not meant."""
    outbox, ran = watched
    ran.clear()
    with outbox._database.read() as connection:
        connection.execute(outbox._database.sql("SELECT * FROM ktpsync_delivery d WHERE size = 3"))
        connection.execute(outbox._database.sql("SELECT COUNT(*) FROM ktpsync_packet WHERE reference > ''"))
    assert 1 == len(scans(outbox, ran))


def submission(data: bytes, **more: Any) -> Submission:
    """Return bytes on their way in, under a new id."""
    return Submission(sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest(), **more)


def test_nothing_that_is_done_often_reads_a_whole_table(watched: Any) -> None:
    """Submit, claim, settle, status, summary, statuses, copies and purge find what they need by an index."""
    outbox, ran = watched
    ran.clear()
    for number in range(3):
        outbox.submit_many(
            [submission(b"%d" % number, reference=f"r{number}", fingerprint=b"f", person=b"p")]
        )
    outbox.submit_many([submission(b"0", reference="r0", fingerprint=b"f")])
    assert [] == scans(outbox, ran)

    leases = outbox.claim("central", 2, 60)
    outbox.renew(leases, 60)
    packet = leases[0].packet
    stored_at = datetime(2020, 1, 1, tzinfo=UTC)
    receipt = Receipt.of(packet, sha256=packet.sha256, stored_at=stored_at)
    outbox.settle(leases[0], receipt)
    outbox.fail(leases[1], code="x", reason="y")
    outbox.next_due_ms("central")
    assert [] == scans(outbox, ran)

    packet_id = packet.packet_id
    outbox.status(packet_id)
    outbox.find(reference="r1")
    outbox.find(person=b"p")
    outbox.summary()
    outbox.storage()
    outbox.registration_statuses()
    assert [] == scans(outbox, ran)

    said = StatusChange(packet_id=packet_id, status="CARD_ISSUED", changed_at=stored_at)
    outbox.apply_statuses("central", StatusPage(changes=[said], cursor="1", more=False))
    outbox.register_copy_target("r")
    ran.clear()  # that one happens once, and is for the whole stock
    outbox.lacking("r")
    list(outbox.uncopied("r"))
    outbox.mark_copied("r", {packet_id: packet.sha256}, "s", verified_ms=1)
    outbox.purge(timedelta(days=1), who="nightly", prove=lambda _: True)
    outbox.offload(1, who="siti", prove=lambda _: True)
    list(outbox.export(outbox.sequence() - 1))
    assert [] == scans(outbox, ran)


def test_which_destinations_there_are_is_told_without_counting(watched: Any) -> None:
    """Asking for the destinations reads nothing of packets and deliveries."""
    outbox, ran = watched
    ran.clear()
    assert ["central", "usb"] == [state.name for state in outbox.destinations()]
    assert ran
    assert [] == [one for one in ran if "ktpsync_delivery" in one or "ktpsync_packet" in one]
