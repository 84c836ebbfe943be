from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import sqlalchemy as sa

from ktpsync.errors import (
    ConfigError,
    OutboxDamagedError,
    OutboxError,
    OutboxUnavailableError,
    SchemaVersionError,
    StationFullError,
    UnknownDestinationError,
    UnknownPacketError,
    WrongStateError,
)
from ktpsync.outbox import DeliveryState, DestinationSpec, Limits, Outbox, state_diagram
from ktpsync.outbox._deliveries import _CLAIM
from ktpsync.outbox._sqlite import SqliteConnection
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Holding, HoldingState, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable


def test_newer_schema_is_refused(station: Any) -> None:
    """A database that a newer release has upgraded is left alone."""
    with station.outbox._database.write() as connection:
        connection.exec_driver_sql("UPDATE ktpsync_version SET version_num = '9999'")
    with pytest.raises(SchemaVersionError, match="9999"):
        station.reopen()


def test_something_else_than_a_database_is_refused(tmp_path: Path) -> None:
    """A damaged file is named and left as it is."""
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is not a database " * 100)
    with pytest.raises(OutboxDamagedError, match="doctor --rebuild"):
        Outbox.open(path, tmp_path / "spool")
    assert path.read_bytes() == b"this is not a database " * 100


def test_other_kinds_of_databases_are_refused(tmp_path: Path) -> None:
    """Only SQLite and PostgreSQL keep what the outbox promises."""
    with pytest.raises(ConfigError, match="mssql"):
        Outbox.open("mssql+nothing://host/db", tmp_path)


def test_processes_that_open_a_new_outbox_at_once_agree(
    new_database: Callable[[], Path | str], tmp_path: Path
) -> None:
    """Several first openings at one moment make one outbox."""
    database = new_database()
    found: list[str] = []

    def open_it() -> None:
        with Outbox.open(database, tmp_path / "spool", destinations=[DestinationSpec(name="a")]) as outbox:
            found.append(outbox.outbox_id)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (6, 1) == (len(found), len(set(found)))


def test_opening_waits_for_others_in_a_file_that_has_no_write_ahead_log_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself does not wait where the log's mode is changed, so two first openings could fail."""
    path = tmp_path / "app.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE app (x)")
    writer.execute("BEGIN IMMEDIATE")
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        writer.close()

    monkeypatch.setattr(time, "sleep", sleep)
    with Outbox.open(path, tmp_path / "spool") as outbox:
        assert outbox.outbox_id
    assert 1 == len(waited)


def test_migrations_of_different_databases_in_one_process_do_not_mix(
    new_database: Callable[[], Path | str], tmp_path: Path
) -> None:
    """Alembic keeps its state in globals; several outboxes made by threads at once are all whole."""
    databases = [new_database() for _ in range(4)]
    found: list[str] = []

    def open_it(number: int) -> None:
        with Outbox.open(databases[number], tmp_path / str(number)) as outbox:
            found.append(outbox.outbox_id)

    threads = [threading.Thread(target=open_it, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 == len(set(found))


def test_an_own_schema_in_the_applications_database(
    new_postgresql: Callable[[], str], tmp_path: Path
) -> None:
    """On PostgreSQL the tables can live in a schema of their own, also for transactional submits."""
    url = sa.make_url(new_postgresql()).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA outbox"))
    address = url.render_as_string(hide_password=False)
    with Outbox.open(
        address, tmp_path / "spool", destinations=[DestinationSpec(name="a")], schema="outbox"
    ) as outbox:
        with engine.begin() as connection:
            outbox.submit(
                b"x",
                packet_id="01890a5d-ac96-774b-bcce-b302099a8057",
                sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
                connection=connection,
            )
        assert 1 == len(outbox.claim("a", 5, 60))
        assert () == outbox.audit.verify().problems
    engine.dispose()


def test_unknown_names_have_their_errors(station: Any) -> None:
    """What does not exist is named in the error."""
    packet_id = "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001"
    with pytest.raises(UnknownPacketError, match=packet_id):
        station.outbox.status(packet_id)
    with pytest.raises(UnknownPacketError, match=packet_id):
        station.outbox.requeue(packet_id, "central", who="a", why="b")
    with pytest.raises(UnknownDestinationError, match="mars"):
        station.outbox.destination("mars")


def test_people_can_requeue_cancel_and_handle_with_who_and_why(station: Any) -> None:
    """Each decision changes the delivery and is told with its author and reason."""
    packet_id = station.submit().packet.packet_id
    outbox = station.outbox
    for act, state in (
        (outbox.cancel, DeliveryState.CANCELLED),
        (outbox.requeue, DeliveryState.PENDING),
        (outbox.handled, DeliveryState.HANDLED),
    ):
        act(packet_id, "central", who="siti", why="because")
        assert state is outbox.status(packet_id).deliveries[0].state
    told = [
        (item.event, item.who, json.loads(item.detail)["why"])
        for item in outbox.status(packet_id).history[1:]
    ]
    assert [(event, "siti", "because") for event in ("cancelled", "requeued", "handled")] == told


def test_decisions_that_the_state_does_not_allow_change_nothing(station: Any) -> None:
    """A delivered packet is neither cancelled nor handled, one under way is not requeued, and nobody decides nameless."""
    outbox = station.outbox
    delivered, under_way = (station.submit().packet.packet_id for _ in range(2))
    first, _second = station.claim(limit=2)
    outbox.settle(first, station.receipt(first.packet))
    for act in (outbox.cancel, outbox.handled):
        with pytest.raises(WrongStateError, match="is delivered at central"):
            act(delivered, "central", who="siti", why="because")
    with pytest.raises(WrongStateError, match="is leased at central"):
        outbox.requeue(under_way, "central", who="siti", why="because")
    for who, why in (("", "because"), ("siti", " ")):
        with pytest.raises(ConfigError, match="who decides this and why"):
            outbox.cancel(under_way, "central", who=who, why=why)
    states = [outbox.status(one).deliveries[0].state for one in (delivered, under_way)]
    assert [DeliveryState.DELIVERED, DeliveryState.LEASED] == states
    station.clock.advance(61)
    outbox.requeue(under_way, "central", who="siti", why="the courier's machine is off")
    outbox.cancel(under_way, "central", who="siti", why="NIK 3171011708900001 was recorded twice")
    (told,) = [item.detail for item in outbox.status(under_way).history if item.event == "cancelled"]
    assert "NIK [16 digits] was recorded twice" == json.loads(told)["why"]


def test_a_new_destination_gets_what_is_in_the_spool_and_a_retired_one_nothing_more(station: Any) -> None:
    """Destinations come and go while packets wait."""
    first = station.submit().packet.packet_id
    other = station.reopen("central", "usb", "archive")
    second = station.submit().packet.packet_id
    assert [first, second] == [lease.packet.packet_id for lease in other.claim("archive", 5, 60)]
    assert 2 == other.retire("archive", who="siti", why="sold")
    third = station.submit().packet.packet_id
    assert ["central", "usb"] == [item.destination for item in other.status(third).deliveries]
    assert ["central", "usb"] == [item.state.name for item in other.summary()]
    assert () == other.audit.verify().problems


def test_a_packet_of_a_clock_that_ran_ahead_goes_to_a_new_destination_at_once(station: Any) -> None:
    """The time at which it was recorded orders the stock; it never makes a packet wait."""
    station.clock.advance(3600)
    packet_id = station.submit().packet.packet_id
    station.clock.advance(-3600)
    other = station.reopen("central", "usb", "archive")
    assert [packet_id] == [lease.packet.packet_id for lease in other.claim("archive", 5, 60)]


def test_summary_counts_each_state(station: Any) -> None:
    """Pending, leased, rejected, delivered, bytes and the oldest are told per destination."""
    for _ in range(5):
        station.submit(b"12345")
        station.clock.advance(1)
    leases = station.claim(limit=3)
    station.outbox.settle(leases[0], station.receipt(leases[0].packet))
    station.outbox.reject(leases[1], code="x", reason="y")
    central, usb = station.outbox.summary()
    assert (2, 1, 1, 1, 15) == (
        central.pending,
        central.leased,
        central.rejected,
        central.delivered,
        central.open_bytes,
    )
    assert (5, 0, 0, 0, 25) == (usb.pending, usb.leased, usb.rejected, usb.delivered, usb.open_bytes)
    assert datetime.fromtimestamp(1_700_000_000, tz=UTC) == usb.oldest_at


def test_state_travels_to_a_new_machine(
    station: Any, new_database: Callable[[], Path | str], tmp_path: Path
) -> None:
    """Export in two parts and import: receipts, statuses and history are kept, leases are not."""
    done = station.submit(b"done", reference="a", fingerprint=b"f", person=b"p").packet
    (lease,) = station.claim()
    station.outbox.settle(lease, station.receipt(done))
    records = list(station.outbox.export())
    sequence = station.outbox.sequence()
    waiting = station.submit(b"waiting").packet
    assert 1 == len(station.claim())
    say = StatusChange(packet_id=done.packet_id, status="PROCESSING", changed_at=datetime.now(UTC))
    station.outbox.apply_statuses("central", StatusPage(changes=[say], cursor="7", more=False))
    delta = list(station.outbox.export(sequence))
    assert {"packet": 2} == {
        kind: count for kind in ("packet",) if (count := sum(record["kind"] == kind for record in delta))
    }
    records = json.loads(json.dumps(records + delta))
    with Outbox.open(
        new_database(),
        tmp_path / "spool",
        destinations=[DestinationSpec(name="central"), DestinationSpec(name="usb")],
        clock=station.clock,
        recovering=True,
    ) as restored:
        assert 2 == restored.import_state(records)
        before, after = station.outbox.status(done.packet_id), restored.status(done.packet_id)
        assert (before.packet, before.deliveries, before.statuses) == (
            after.packet,
            after.deliveries,
            after.statuses,
        )
        assert before.history == after.history
        assert [waiting] == [item.packet for item in restored.claim("central", 5, 60)]
        assert ("7", 1) == ((state := restored.destination("central")).cursor, state.delivered)
        assert () == restored.audit.verify().problems
        with pytest.raises(OutboxError, match="not empty"):
            restored.import_state(records)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "outbox", "format": 99},
        {"kind": "surprise"},
        {"kind": "packet", "packet": []},
        {"kind": "packet", "packet": {"packet_id": "x"}, "deliveries": {}},
    ],
)
def test_a_damaged_or_newer_state_is_refused_whole(station: Any, record: dict[str, object]) -> None:
    """Nothing of a state is taken if a part of it cannot be read."""
    before = list(station.outbox.audit.entries())
    good = {"kind": "audit", "audit": {"seq": 1, "at_ms": 1, "event": "x"}}
    good["audit"] |= {"packet_id": None, "dest": None, "who": "", "detail": "", "hash": ""}  # type: ignore[operator]
    with pytest.raises((OutboxError, KeyError)):
        station.outbox.import_state([good, record])
    assert before == list(station.outbox.audit.entries())


def test_a_repository_follows_what_is_new(station: Any) -> None:
    """Each repository lacks what it was not given yet, also what is committed late."""
    outbox = station.outbox
    first = station.submit().packet
    outbox.register_copy_target("r1")
    second = station.submit(urgent=True).packet
    outbox.register_copy_target("r2")
    assert {first, second} == set(outbox.uncopied("r1"))
    outbox.mark_copied("r1", {first.packet_id: first.sha256, second.packet_id: second.sha256}, "s1")
    third = station.submit().packet
    assert [third] == list(outbox.uncopied("r1"))
    assert {first, second, third} == set(outbox.uncopied("r2"))
    assert (1, third.size) == outbox.lacking("r1")
    assert (3, first.size + second.size + third.size) == outbox.lacking("r2")
    assert (0, 0) == outbox.lacking("never seen")
    assert ["central", "usb"] == [item.destination for item in outbox.status(first.packet_id).deliveries]


def test_statuses_are_taken_once_and_kept_in_order(station: Any) -> None:
    """A page that is asked for again changes nothing; an old change does not replace a newer one; unknown ones stay."""
    packet_id = station.submit().packet.packet_id
    outbox = station.outbox

    def change(status: str, day: int, who: str = packet_id) -> StatusChange:
        return StatusChange(packet_id=who, status=status, changed_at=datetime(2026, 1, day, tzinfo=UTC))

    page = StatusPage(
        changes=[change("PROCESSING", 1), change("SOMETHING_NEW", 3), change("X", 1, "unknown")],
        cursor="c1",
        more=False,
    )
    applied = outbox.apply_statuses("central", page)
    assert [None, "PROCESSING"] == [previous for _change, previous in applied.changes]
    assert ["unknown"] == list(applied.unknown)
    assert () == outbox.apply_statuses("central", page).changes
    late = outbox.apply_statuses("central", StatusPage(changes=[change("OLD", 2)], cursor="c2", more=False))
    assert 1 == len(late.changes)
    status = outbox.status(packet_id)
    assert "SOMETHING_NEW" == status.registration_status
    assert ["PROCESSING", "OLD", "SOMETHING_NEW"] == [item.status for item in status.statuses]
    assert "c2" == outbox.destination("central").cursor


def test_reconciling_makes_deliveries_agree_with_the_destination(station: Any) -> None:
    """Held is delivered, missing is sent again, other bytes need a person, an unproven claim is no receipt."""
    packets = [station.submit(b"%d" % n).packet for n in range(4)]
    (lease,) = station.claim()
    station.outbox.settle(lease, station.receipt(lease.packet))
    lost, held, conflict, liar = packets
    applied = station.outbox.apply_holdings(
        "central",
        [
            Holding(packet_id=lost.packet_id, state=HoldingState.MISSING),
            Holding(packet_id=held.packet_id, state=HoldingState.HELD, receipt=station.receipt(held)),
            Holding(packet_id=conflict.packet_id, state=HoldingState.CONFLICT),
            Holding(
                packet_id=liar.packet_id,
                state=HoldingState.HELD,
                receipt=station.receipt(liar, sha256="0" * 64),
            ),
            Holding(packet_id="somebody else's", state=HoldingState.MISSING),
        ],
    )
    assert [lost.packet_id] == list(applied.requeued)
    assert [held.packet_id] == list(applied.delivered)
    assert {conflict.packet_id, liar.packet_id} == set(applied.conflicts)
    assert packets == list(station.outbox.to_reconcile("central"))
    assert 1 == station.outbox.destination("central").delivered
    assert () == station.outbox.audit.verify().problems


def test_one_prober_wins(station: Any) -> None:
    """Of many who want to probe an unreachable destination at one moment, one does."""
    from ktpsync.outbox import Returned

    for _ in range(5):
        station.submit()
    leases = station.claim(limit=5)
    station.outbox.apply(
        "central", [Returned(lease=lease, unavailable=True, reason="down") for lease in leases]
    )
    assert "open" == station.outbox.destination("central").breaker
    station.clock.advance(31)
    wins: list[bool] = []
    others = [station.reopen() for _ in range(6)]
    threads = [
        threading.Thread(target=lambda one=one: wins.append(one.start_probe("central"))) for one in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [False] * 5 + [True] == sorted(wins)


def test_a_full_station_refuses_before_anything_is_written(station: Any, tmp_path: Path) -> None:
    """The reserve on the disk and the limit of the backlog are kept; a drained backlog makes room again."""

    def opened(limits: Limits) -> Outbox:
        outbox = Outbox.open(
            station.database,
            tmp_path / "spool",
            destinations=[DestinationSpec(name="central"), DestinationSpec(name="usb", required=False)],
            limits=limits,
            clock=station.clock,
        )
        station.others.append(outbox)
        return outbox

    station.outbox = opened(Limits(reserve=1 << 60))
    with pytest.raises(StationFullError, match="reserve"):
        station.submit()
    station.outbox = opened(Limits(reserve=0, max_backlog=100))
    for _ in range(3):
        station.submit(bytes(30))
    with pytest.raises(StationFullError, match="wait to be delivered"):
        station.submit(bytes(30))
    (lease,) = station.claim()
    station.clock.advance(11)
    station.outbox.settle(lease, station.receipt(lease.packet))
    station.submit(bytes(30))
    assert 4 == len(list(station.outbox.packets()))
    with pytest.raises(StationFullError, match="wait to be delivered"):
        station.submit(bytes(30))
    station.outbox = opened(Limits(reserve=0, max_age_days=30))
    station.submit(bytes(30))
    station.clock.advance(31 * 86_400)
    with pytest.raises(StationFullError, match="31 days and 30 are allowed"):
        station.submit(bytes(30))
    for lease in station.claim(limit=10):
        station.outbox.settle(lease, station.receipt(lease.packet))
    station.outbox.storage()
    assert station.submit(bytes(30)).created


def test_storage_forecasts_and_warns(station: Any) -> None:
    """The days left follow the pace of the last week; an old backlog is named."""
    assert station.outbox.storage().days_left is None
    station.submit(bytes(10_000))
    view = station.outbox.storage()
    assert 10_000 == view.per_day
    assert view.days_left is not None
    assert view.days_left > 1000
    station.clock.advance(40 * 86_400)
    assert "40 days" in " ".join(station.outbox.storage().warnings)


def test_the_diagram_in_the_documentation_is_the_codes_own() -> None:
    """The states in the documentation are generated from the code."""
    page = Path(__file__).parents[3] / "docs" / "explanation" / "outbox.md"
    assert state_diagram() in page.read_text(encoding="utf-8")


def test_a_claim_reads_only_what_it_takes(tmp_path: Path) -> None:
    """On SQLite, however many packets there are and wherever the due ones stand, no claim looks through them all."""
    with Outbox.open(tmp_path / "outbox.db", tmp_path / "spool") as outbox:
        claim = _CLAIM.format(now=":now", lock="")
        bound = {"dest": "central", "now": 0, "count": 1, "owner": "x", "lease": 1}
        with outbox._database.read() as connection:
            plan = connection.execute(outbox._database.sql(f"EXPLAIN QUERY PLAN {claim}"), bound).all()
    steps = [row.detail for row in plan if "ktpsync_" in row.detail or row.detail.endswith(" p")]
    assert 4 == len(steps)
    assert [] == [step for step in steps if not step.startswith("SEARCH")]


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_pages_hold_each_row_once(station: Any, count: int) -> None:
    """Rows read page by page come once each and in order, also where a page ends between equal first keys."""
    packet_ids = [station.submit().packet.packet_id for _ in range(count)]
    statement = (
        "SELECT packet_id, due_ms, id FROM ktpsync_delivery WHERE dest = 'usb' AND (due_ms, id) > (:due, :id) "
        "ORDER BY due_ms, id"
    )
    rows = station.outbox._database.paged(statement, {"due": -1, "id": -1}, page=2, due="due_ms", id="id")
    assert packet_ids == [row.packet_id for row in rows]


def test_a_transaction_is_written_whole_or_not_at_all(station: Any) -> None:
    """A failure in the middle leaves nothing behind and holds nobody up; the next one is written."""
    database = station.outbox._database
    read = "SELECT seq, id AS number FROM ktpsync_chain WHERE id = :id"
    write = "UPDATE ktpsync_chain SET seq = seq + :count WHERE id = 1"

    def add(count: int) -> int:
        with database.write() as transaction:
            assert 1 == database.change(transaction, write, {"count": count})
            if count > 5:
                raise OutboxError("on purpose")
            return int(database.rows(transaction, read, {"id": 1})[0].seq)

    before = add(0)
    with pytest.raises(OutboxError, match="on purpose"):
        add(100)
    assert before + 3 == add(3)
    with database.write() as connection:
        found = database.rows(connection, read, {"id": 1})
        assert [] == list(database.rows(connection, read, {"id": 2}))
    assert [(before + 3, 1)] == [(row.seq, row.number) for row in found]
    with database.write() as transaction, pytest.raises((sqlite3.Error, sa.exc.DBAPIError)):
        database.change(transaction, "UPDATE ktpsync_nowhere SET x = :count", {"count": 1})


def test_a_closed_outbox_holds_no_file_open(tmp_path: Path) -> None:
    """Connections that small transactions keep for the next one are closed with the outbox."""

    def held() -> list[str]:
        return sorted(
            {Path(file.path).name for file in psutil.Process().open_files() if str(tmp_path) in file.path}
        )

    outbox = Outbox.open(
        tmp_path / "outbox.db", tmp_path / "spool", destinations=[DestinationSpec(name="central")]
    )
    with ThreadPoolExecutor(4) as pool:
        assert [[]] * 20 == list(pool.map(lambda _: outbox.claim("central", 1, 60), range(20)))
    assert "outbox.db" in held()
    outbox.close()
    assert [] == held()


def test_a_lock_that_does_not_come_is_told_and_harms_nobody(tmp_path: Path) -> None:
    """A small transaction that could not begin has an error of its own, and the next one goes on as if nothing was."""
    database = tmp_path / "outbox.db"
    with Outbox.open(database, tmp_path / "spool", destinations=[DestinationSpec(name="central")]) as outbox:
        with outbox._database.write() as transaction:
            assert isinstance(transaction, SqliteConnection)
            transaction.execute("PRAGMA busy_timeout = 10")
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutboxUnavailableError):
                outbox.claim("central", 1, 60)
            other.execute("ROLLBACK")
        assert [] == outbox.claim("central", 1, 60)


@pytest.mark.skipif(sys.platform == "win32", reason="the system knows no limit for the size of files")
def test_a_database_whose_disk_fails_is_told_and_undone(tmp_path: Path) -> None:
    """A disk that takes no more bytes of the database is an error with advice, and what was undone can be repeated."""
    import resource

    with Outbox.open(tmp_path / "outbox.db", tmp_path / "spool") as outbox:
        data = b"sealed"
        packet_id, digest = new_packet_id(), hashlib.sha256(data).hexdigest()
        _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "outbox.db-wal").stat().st_size, hard))
        try:
            with pytest.raises(OutboxUnavailableError, match="disk I/O error"):
                outbox.submit(data, packet_id=packet_id, sha256=digest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [] == list(outbox.packets())
        assert outbox.submit(data, packet_id=packet_id, sha256=digest).created


def test_a_database_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A read-only database and one whose folder is gone are errors with advice, not those of SQLite."""
    with Outbox.open(tmp_path / "at" / "outbox.db", tmp_path / "spool") as outbox:
        with outbox._database.write() as transaction:
            assert isinstance(transaction, SqliteConnection)
        transaction.execute("PRAGMA query_only = ON")
        with pytest.raises(OutboxUnavailableError, match="readonly"):
            outbox.submit(b"sealed", packet_id=new_packet_id(), sha256=hashlib.sha256(b"sealed").hexdigest())
        outbox._database._forks.let_go()
        shutil.move(tmp_path / "at", tmp_path / "away")
        with pytest.raises(OutboxUnavailableError, match="unable to open"):
            list(outbox.packets())


@pytest.mark.parametrize("kind", ["write", "read"])
def test_an_interruption_at_any_step_leaves_nobody_locked_out(kind: str, tmp_path: Path) -> None:
    """Ctrl+C, or a time limit that a signal tells of, in the middle of a transaction: the next one is not in its way."""
    program = Path(__file__).with_name("interrupted.py")
    ended = subprocess.run(
        [sys.executable, str(program), kind, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (0, "interruptions") == (ended.returncode, ended.stdout[-13:]), ended.stderr


def test_a_full_database_is_told_and_undone(tmp_path: Path) -> None:
    """A small transaction for which there is no room leaves nothing, and the next one that has room is written."""
    with Outbox.open(
        tmp_path / "outbox.db", tmp_path / "spool", destinations=[DestinationSpec(name="central")]
    ) as outbox:
        data = b"sealed" * 100
        digest = hashlib.sha256(data).hexdigest()
        with outbox._database.write() as transaction:
            assert isinstance(transaction, SqliteConnection)
            most = int(transaction.execute("PRAGMA max_page_count").scalar())
            transaction.execute("PRAGMA max_page_count = 1")  # as many as there are
        before = outbox.sequence()
        stored: list[object] = []

        def record() -> None:
            while len(stored) < 1000:
                stored.append(outbox.submit(data, packet_id=new_packet_id(), sha256=digest))

        with pytest.raises(StationFullError, match="database is full"):
            record()
        assert before + len(stored) == outbox.sequence()
        with outbox._database.write() as transaction:
            assert isinstance(transaction, SqliteConnection)
            transaction.execute(f"PRAGMA max_page_count = {most}")
        outbox.submit(data, packet_id=new_packet_id(), sha256=digest)
        assert before + len(stored) + 1 == outbox.sequence()
        assert () == outbox.audit.verify().problems
