"""A new destination or backup gets the packets that are there already, in parts, while others go on recording."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ktpsync.errors import OutboxError, OutboxUnavailableError
from ktpsync.outbox import DestinationSpec, Submission, _backfill
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Iterator


def fill(station: Any, count: int) -> set[str]:
    """Record packets."""
    digest = hashlib.sha256(b"sealed").hexdigest()
    batch = [Submission(sealed=b"sealed", packet_id=new_packet_id(), sha256=digest) for _ in range(count)]
    station.outbox.submit_many(batch)
    return {item.packet_id for item in batch}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of three packets."""
    monkeypatch.setattr(_backfill, "_AT_ONCE", 3)


@pytest.mark.usefixtures("small_parts")
def test_every_packet_is_given_once(station: Any) -> None:
    """Whatever the number of parts; and again nothing happens."""
    ids = fill(station, 10)
    for _ in range(2):
        station.outbox.register_copy_target("r")

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@pytest.mark.usefixtures("small_parts")
def test_what_is_recorded_meanwhile_is_given_too(station: Any) -> None:
    """Packets that come between two parts are not left out."""
    ids = fill(station, 60)
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            ids.update(fill(station, 1))

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        station.outbox.register_copy_target("r")
    finally:
        stop.set()
        recorder.join()

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_beginning_is_finished_by_the_next(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two parts the destination is not served yet, gets what is new, and is filled again."""
    ids = fill(station, 10)
    database = station.outbox._destinations._database
    writes = iter(range(3))
    write = database.write

    def die() -> Any:
        if next(writes, None) is None:
            raise KeyboardInterrupt
        return write()

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", die)
        with pytest.raises(KeyboardInterrupt):
            station.outbox.register_copy_target("r")
    ids |= fill(station, 2)
    assert () == station.outbox.copy_holders(min(ids))
    station.outbox.register_copy_target("r")

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


on_postgresql = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
"""SQLite has one writer at a time: a part of 250 packets is what others wait for."""


@on_postgresql
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_with_a_state_from_before_does_not_pass_a_destination_by(
    station: Any, isolation: str
) -> None:
    """An application's transaction that cannot see the new destination is to begin anew, or is waited for."""
    outbox = station.outbox
    engine = outbox._database.engine
    with engine.connect().execution_options(isolation_level=isolation) as app:
        app.execute(sa.text("SELECT COUNT(*) FROM ktpsync_packet"))
        outbox.register_copy_target("early")
        with pytest.raises(OutboxUnavailableError, match="Try again"):
            station.submit(b"1", connection=app)
        app.rollback()

        packet_id = station.submit(b"2", connection=app).packet.packet_id
        with ThreadPoolExecutor(1) as pool:
            registering = pool.submit(outbox.register_copy_target, "late")
            with engine.connect() as looking:
                waits = sa.text("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
                while not looking.execute(waits).scalar_one():
                    looking.rollback()
            app.commit()
            registering.result()
    for repository in ("early", "late"):
        assert [packet_id] == [packet.packet_id for packet in outbox.uncopied(repository)]


@on_postgresql
def test_nobody_waits_for_a_part(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submissions are recorded while the transaction of a part is still open, and the destination gets them."""
    ids = fill(station, 10)
    outbox = station.outbox
    database = outbox._destinations._database
    in_part, go_on = threading.Event(), threading.Event()
    real = database.write
    writes = itertools.count(1)

    @contextlib.contextmanager
    def write() -> Iterator[Any]:
        with real() as connection:
            yield connection
            if next(writes) == 2:  # the first says that the destination is new
                in_part.set()
                assert go_on.wait(60)

    monkeypatch.setattr(database, "write", write)
    filling = threading.Thread(target=outbox.register_copy_target, args=("r",))
    filling.start()
    try:
        assert in_part.wait(60)
        with station.reopen() as other:
            station.outbox = other
            ids |= fill(station, 3)
            (lease,) = station.claim()
            other.settle(lease, station.receipt(lease.packet))
    finally:
        station.outbox = outbox
        go_on.set()
        filling.join()

    assert sorted(ids) == sorted(packet.packet_id for packet in outbox.uncopied("r"))


@on_postgresql
def test_a_packet_that_is_being_changed_is_not_waited_for_and_not_left_out(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part comes back to it; neither is in the other's way, so no deadlock can be."""
    ids = fill(station, 5)
    database = station.outbox._destinations._database
    held = database.engine.connect()
    change = held.begin()
    held.execute(
        database.sql("UPDATE ktpsync_packet SET urgent = urgent WHERE packet_id = :id"), {"id": min(ids)}
    )
    waited = []

    def sleep(_clock: Any, _seconds: float) -> None:
        waited.append(1)
        if len(waited) == 3:
            change.commit()

    # The change is one of a packet: it is not for the transactions of submissions that the wait is.
    monkeypatch.setattr(_backfill, "_wait_for_writers", lambda *_: None)
    monkeypatch.setattr(type(station.clock), "sleep", sleep)
    station.outbox.register_copy_target("r")
    held.close()

    assert 3 == len(waited)
    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@on_postgresql
def test_a_submission_that_began_before_is_waited_for(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction saw the destinations of before; what it commits is given to the new one as well."""
    ids = fill(station, 2)
    engine = station.outbox._destinations._database.engine
    application = engine.connect()
    transaction = application.begin()
    digest = hashlib.sha256(b"sealed").hexdigest()
    late = new_packet_id()
    station.outbox.submit(b"sealed", packet_id=late, sha256=digest, connection=application)
    waited = []

    def sleep(_clock: Any, _seconds: float) -> None:
        waited.append(1)
        if len(waited) == 3:
            transaction.commit()

    monkeypatch.setattr(type(station.clock), "sleep", sleep)
    station.outbox.register_copy_target("r")
    application.close()

    assert 3 == len(waited)
    assert sorted({*ids, late}) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@on_postgresql
def test_a_transaction_that_never_ends_is_not_waited_for_for_ever(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the message says what to end; nothing is lost, and the next opening fills the destination."""
    monkeypatch.setattr(_backfill, "_WAIT_SECONDS", 1.0)
    engine = station.outbox._destinations._database.engine
    digest = hashlib.sha256(b"sealed").hexdigest()
    with engine.connect() as application, application.begin():
        late = new_packet_id()
        station.outbox.submit(b"sealed", packet_id=late, sha256=digest, connection=application)
        with pytest.raises(OutboxError, match="archive is new"):
            station.outbox._destinations.register(DestinationSpec(name="archive"))

    with station.reopen("central", "usb", "archive") as other:
        assert [late] == [lease.packet.packet_id for lease in other.claim("archive", 10, 60)]


@pytest.mark.slow
@on_postgresql
def test_submissions_go_on_while_a_large_stock_is_given_to_a_new_backup(station: Any) -> None:
    """They do not wait for the 100,000 packets that are there already; one that did would be the only one."""
    database = station.outbox._destinations._database
    with database.write() as connection:
        connection.execute(
            database.sql(
                "INSERT INTO ktpsync_packet (packet_id, sha256, size, urgent, created_ms, location) "
                "SELECT '01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), repeat('0', 64), 1, 0, n, 'spool' "
                "FROM generate_series(1, 100000) n"
            )
        )
    filling = threading.Thread(target=station.outbox.register_copy_target, args=("r",))
    filling.start()
    submitted = 0
    while filling.is_alive():
        fill(station, 1)
        submitted += 1
    filling.join()

    assert submitted > 10
    with database.read() as connection:
        count = "SELECT COUNT(*) FROM ktpsync_delivery WHERE dest = 'repository:r' AND state = 'open'"
        assert 100_000 + submitted == connection.execute(database.sql(count)).scalar_one()


def test_what_a_new_destination_does_not_get_is_said(station: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Packets that were purged before it came: a line in the log, a fact in the trail, and no second time."""
    purged, *_ = sorted(fill(station, 3))
    with station.outbox._database.write() as connection:
        query = "UPDATE ktpsync_packet SET location = 'purged' WHERE packet_id = :packet_id"
        connection.execute(station.outbox._database.sql(query), {"packet_id": purged})
    for _ in range(2):
        station.outbox._destinations.register(DestinationSpec(name="late"))

    assert ["1 packet does not go to late, which is new: the bytes were purged before."] == caplog.messages
    (told,) = [one for one in station.outbox.audit.entries() if one.destination == "late"]
    assert '"purged_before":1' in told.detail
    (line,) = station.outbox.summary("late")
    assert 2 == line.pending
