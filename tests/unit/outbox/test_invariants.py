"""The invariants of the outbox that need no courier; those of the couriers stand with their tests."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from attrs import evolve

from ktpsync import files
from ktpsync.errors import (
    ClosedError,
    ConfigError,
    LeaseLostError,
    OutboxDamagedError,
    StationFullError,
    UnavailableError,
    WrongStateError,
)
from ktpsync.outbox import Delivered, DeliveryState, Outbox, Submission
from ktpsync.outbox._audit import chain_hash
from ktpsync.packet import new_packet_id
from ktpsync.plugins import StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable


def app_engine(station: Any) -> sa.Engine:
    """Return an engine as an application makes it, on the outbox's own database."""
    if isinstance(station.database, Path):
        return sa.create_engine(f"sqlite:///{station.database}")
    return sa.create_engine(sa.make_url(station.database).set(drivername="postgresql+psycopg"))


def submission(data: bytes) -> Submission:
    """Return something to submit."""
    return Submission(sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest())


def files_in(folder: Path) -> set[str]:
    """Return the names of all files in the spool, its marks aside."""
    marks = {".trail.json", "spool-owner.json"}
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name not in marks}


def test_invariant_01_bytes_are_durable_before_the_row(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, then named, then its folder is synced, and only then is there a row."""
    other = station.reopen()
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, files._rename_new

    def fsync(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"  # noqa: PTH112 - of a descriptor
        steps.append(f"{kind} synced, {len(list(other.packets()))} rows")
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        steps.append(f"named, {len(list(other.packets()))} rows")
        real_rename(source, target)

    station.submit(b"the first one makes the folder", packet_id="01890a5d-ac96-774b-bcce-b302099a8000")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_rename_new", rename)
    station.submit(packet_id="01890a5d-ac96-774b-bcce-b302099a8100")
    assert ["file synced, 1 rows", "named, 1 rows", "folder synced, 1 rows"] == steps
    assert 2 == len(list(other.packets()))


def test_invariant_01_a_file_found_there_is_made_durable_before_the_row(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who wrote it may not have synced its folder yet."""
    first = station.submit(b"rolled back", packet_id="01890a5d-ac96-774b-bcce-b302099a8000")
    engine = app_engine(station)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ktpsync_delivery")
        connection.exec_driver_sql("DELETE FROM ktpsync_packet")
    engine.dispose()
    other = station.reopen()
    steps: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - of a descriptor
            steps.append(f"folder synced, {len(list(other.packets()))} rows")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    station.submit(b"rolled back", packet_id=first.packet.packet_id)
    assert ["folder synced, 0 rows"] == steps
    assert 1 == len(list(other.packets()))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_invariant_01_a_file_that_is_not_durable_gets_no_row(
    station: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """When the disk does not take the bytes, nothing is stored and the error says so."""

    def fsync(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    station.submit(packet_id="01890a5d-ac96-774b-bcce-b302099a8000")
    before = files_in(station.spool)
    monkeypatch.setattr(os, "fsync", fsync)
    expected = StationFullError if number == errno.ENOSPC else OSError
    with pytest.raises(expected):
        station.submit(packet_id="01890a5d-ac96-774b-bcce-b302099a8100")
    monkeypatch.undo()
    assert 1 == len(list(station.outbox.packets()))
    assert before == files_in(station.spool)


def test_invariant_01_sqlite_commits_are_synced(station: Any) -> None:
    """The embedded store waits for the disk at each commit."""
    if station.database == str(station.database):
        pytest.skip("PostgreSQL's own setting, on by default")
    with station.outbox._database.read() as connection:
        assert (2, "wal") == (
            connection.exec_driver_sql("PRAGMA synchronous").scalar(),
            connection.exec_driver_sql("PRAGMA journal_mode").scalar(),
        )


def test_invariant_02_rollback_means_never_submitted(station: Any) -> None:
    """In the caller's transaction the packet exists when the caller commits, and only then."""
    engine = app_engine(station)
    with engine.connect() as connection:
        station.submit(b"rolled back", reference="r", connection=connection)
        connection.rollback()
    assert [] == list(station.outbox.packets())
    assert [] == station.claim()
    with engine.begin() as connection:
        kept = station.submit(b"kept", reference="r", connection=connection)
    engine.dispose()
    assert [kept.packet.packet_id] == [view.packet_id for view in station.outbox.packets()]
    assert [kept.packet] == [lease.packet for lease in station.claim()]
    assert () == station.outbox.audit.verify().problems


def test_invariant_02_nothing_is_removed_because_it_has_no_row(station: Any) -> None:
    """However old it is: the row of a packet that was committed may be what an older database lacks."""
    station.submit(b"kept")
    engine = app_engine(station)
    with engine.connect() as connection:
        station.submit(b"rolled back", connection=connection)
        connection.rollback()
    engine.dispose()
    before = files_in(station.spool)
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 1000 * 86_400_000
    assert 0 == station.outbox.collect_orphans()
    assert 2 == len(before)
    assert before == files_in(station.spool)
    found = station.outbox.examine()
    assert () == found.problems
    assert any("--recover --dry-run" in notice for notice in found.notices)


def test_invariant_02_files_whose_rows_an_older_database_lacks_are_no_orphans(
    station: Any, new_database: Any
) -> None:
    """A database that was put back from an older copy lacks rows: the files of these packets are the last of them."""
    station.submit(b"before the copy")
    older = list(station.outbox.export())
    station.submit(b"after the copy")
    assert 0 == station.outbox.collect_orphans()
    station.database = new_database()
    back = Outbox.open(station.database, station.spool, clock=station.clock, recovering=True)
    station.others.append(back)
    back.import_state(older)
    before = files_in(station.spool)
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 25 * 3_600_000

    with pytest.raises(OutboxDamagedError, match="older copy"):
        back.collect_orphans()

    assert 2 == len(before)
    assert before == files_in(station.spool)
    assert any("older copy" in problem for problem in back.examine(read=False).problems)


@pytest.mark.skipif(sys.platform == "win32", reason="files are not marked there")
@pytest.mark.parametrize("way", ["submitted", "delivered", "tended"])
def test_invariant_02_a_copy_of_a_moment_ago_is_noticed(station: Any, new_database: Any, way: str) -> None:
    """However new the copy is, what was recorded since is no garbage; nor is what an application's transaction recorded."""
    older = list(station.outbox.export())
    if way == "submitted":
        station.submit(b"after the copy")
        station.outbox.submit_many([submission(b"two"), submission(b"three")])
    else:
        engine = app_engine(station)
        with engine.begin() as connection:
            station.submit(b"after the copy", connection=connection)
        engine.dispose()
    if way == "delivered":
        (lease,) = station.claim()
        with station.outbox.spool.at_hand(lease.packet):
            pass
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 25 * 3_600_000
    if way == "tended":
        station.outbox.collect_orphans()
        (station.spool / ".trail.json").unlink()
    back = Outbox.open(new_database(), station.spool, clock=station.clock, recovering=True)
    station.others.append(back)
    back.import_state(older)
    before = files_in(station.spool)

    with pytest.raises(OutboxDamagedError, match=r"older copy.* It lacks (1 packet|3 packets) recorded in"):
        back.collect_orphans()

    assert before == files_in(station.spool)
    assert any("older copy" in problem for problem in back.examine(read=False).problems)
    assert () == station.outbox.examine().problems
    assert 0 == station.outbox.collect_orphans()


def test_invariant_02_recording_beside_the_collector_is_no_sign_of_an_older_database(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet that is recorded between two looks of the collector has its row."""
    station.submit(b"first")
    real = station.outbox._views.spooled

    def spooled(packet_ids: list[str]) -> Any:
        known = real(packet_ids)
        monkeypatch.undo()
        station.submit(b"meanwhile", packet_id=meanwhile)
        return known

    meanwhile = str(new_packet_id())
    station.outbox.spool.write(meanwhile, b"meanwhile", hashlib.sha256(b"meanwhile").hexdigest())
    monkeypatch.setattr(station.outbox._views, "spooled", spooled)
    assert 0 == station.outbox.collect_orphans()
    assert 2 == len(list(station.outbox.packets()))


@pytest.mark.skipif(sys.platform == "win32", reason="files are not marked there")
def test_invariant_02_a_file_is_marked_once_its_row_is_committed(station: Any) -> None:
    """The mark is one of the permission bits; the file can be read, replaced and removed as before."""
    submitted = [station.submit(b"one").packet_id]
    submitted += [
        one.packet_id for one in station.outbox.submit_many([submission(b"two"), submission(b"three")])
    ]
    engine = app_engine(station)
    with engine.connect() as connection:
        rolled_back = station.submit(b"rolled back", connection=connection).packet_id
        connection.rollback()
    engine.dispose()
    spool = station.outbox.spool
    modes = [spool.path(packet_id).stat().st_mode & 0o777 for packet_id in (*submitted, rolled_back)]
    assert [0o600, 0o600, 0o600, 0o700] == modes
    assert spool.marks()


@pytest.mark.skipif(sys.platform == "win32", reason="files are not marked there")
def test_invariant_02_a_file_system_without_marks_gives_no_alarm(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all files have one mode, nothing follows from it."""
    station.submit(b"kept")
    left = new_packet_id()
    station.outbox.spool.write(left, b"left", hashlib.sha256(b"left").hexdigest())
    station.outbox.spool.path(left).chmod(0o600)
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 25 * 3_600_000
    monkeypatch.setattr(Path, "chmod", lambda _path, _mode: None)
    assert 0 == station.outbox.collect_orphans()
    assert () == station.outbox.examine().problems


def test_invariant_02_a_rolled_back_trail_is_noticed_though_it_has_gone_on(station: Any) -> None:
    """It is the entry itself that is compared, not how far the trail has come; what retention removed is no sign."""
    station.submit(b"lost")
    station.outbox.collect_orphans()
    engine = app_engine(station)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE ktpsync_audit SET hash = 'another history' WHERE event = 'submitted'")
        )
    for number in range(3):
        station.submit(b"%d" % number)
    with pytest.raises(OutboxDamagedError, match="older copy"):
        station.outbox.collect_orphans()

    station.clock.advance(1)
    station.submit(b"kept")
    station.outbox.audit.prune(before_ms=station.clock.now_ms(), who="budi")
    assert 0 == station.outbox.collect_orphans()
    engine.dispose()


def test_invariant_02_a_connection_to_another_database_is_refused(station: Any, tmp_path: Path) -> None:
    """Rows cannot go into a database whose spool is elsewhere."""
    empty = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with empty.connect() as connection, pytest.raises(ConfigError, match="this outbox"):
        station.submit(connection=connection)
    empty.dispose()
    with Outbox.open(tmp_path / "foreign.db", tmp_path / "foreign"):
        foreign = sa.create_engine(f"sqlite:///{tmp_path / 'foreign.db'}")
        with foreign.connect() as connection, pytest.raises(ConfigError, match="this outbox"):
            station.submit(connection=connection)
        foreign.dispose()
    assert [] == list(station.outbox.packets())


def test_invariant_04_only_the_present_lease_settles(station: Any) -> None:
    """A worker that slept past its lease cannot write anything over what happened since."""
    station.submit()
    (late,) = station.claim(lease=60)
    station.clock.advance(61)
    (present,) = station.reopen().claim("central", 1, 60)
    outbox = station.outbox
    receipt = station.receipt(late.packet)
    for write in (
        lambda: outbox.settle(late, receipt),
        lambda: outbox.fail(late, code="x", reason="x"),
        lambda: outbox.reject(late, code="x", reason="x"),
        lambda: outbox.release(late),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert [late] == outbox.renew([late], 60)
    outbox.fail(present, code="present", reason="the holder's word")
    (central, _usb) = outbox.status(late.packet.packet_id).deliveries
    assert (DeliveryState.PENDING, "present", 1) == (central.state, central.code, central.failures)


def test_invariant_04_a_lost_lease_among_others_is_left_out(station: Any) -> None:
    """Of several results written together, the late one changes nothing, is not counted and is not told in the trail."""
    late, kept = (station.submit(data).packet for data in (b"late", b"kept"))
    first, second = station.claim(limit=2, lease=1)
    station.outbox.renew([second], 60)
    station.clock.advance(2)
    (stolen,) = station.reopen().claim("central", 1, 60)
    outcomes = [Delivered(lease=one, receipt=station.receipt(one.packet)) for one in (first, second)]
    assert [first] == station.outbox.apply("central", outcomes)
    assert 1 == station.outbox.destination("central").delivered
    assert ["submitted"] == [item.event for item in station.outbox.status(late.packet_id).history]
    assert ["submitted", "delivered"] == [
        item.event for item in station.outbox.status(kept.packet_id).history
    ]
    station.outbox.settle(stolen, station.receipt(late))
    assert () == station.outbox.audit.verify().problems


def test_invariant_04_two_workers_never_hold_one_packet(station: Any) -> None:
    """What one has leased, another does not get, until the lease ends; then with a higher fence."""
    for _ in range(10):
        station.submit()
    other = station.reopen()
    first, second = station.claim(limit=6), other.claim("central", 6, 60)
    assert 10 == len({lease.packet.packet_id for lease in (*first, *second)})
    station.clock.advance(61)
    again = {lease.packet.packet_id: lease.fence for lease in other.claim("central", 10, 60)}
    assert {2} == set(again.values())
    assert 10 == len(again)


def settle_all(station: Any, destination: str) -> None:
    """Deliver everything to a destination."""
    for lease in station.claim(destination, 100):
        station.outbox.settle(lease, station.receipt(lease.packet))


def say(station: Any, status: str, day: int, packet_id: str) -> None:
    """Let the centre say something on a day."""
    change = StatusChange(
        packet_id=packet_id,
        status=status,
        changed_at=datetime(2023, 11, 15, tzinfo=UTC) + timedelta(days=day),
    )
    station.outbox.apply_statuses("central", StatusPage(changes=[change], cursor=str(day), more=False))


def test_invariant_08_bytes_are_purged_only_when_nobody_needs_them(station: Any) -> None:
    """Receipt, final status, retention and a verified backup: each missing one keeps the bytes."""
    packet = station.submit(b"precious").packet
    witness = station.submit(b"another").packet
    outbox = station.outbox
    outbox.register_copy_target("r")
    station.clock.advance(400 * 86_400)

    def purged() -> list[str]:
        return list(outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True))

    assert [] == purged()
    settle_all(station, "central")
    assert [] == purged()
    say(station, "PROCESSING", 1, packet.packet_id)
    say(station, "SENT_FOR_ENROLLMENT", 90, witness.packet_id)
    assert [] == purged()
    say(station, "PRINT_READY_RECORD", 2, packet.packet_id)
    assert [] == purged()
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "snapshot-1")
    assert [] == purged()
    outbox.mark_copied(
        "r", {packet.packet_id: packet.sha256}, "snapshot-1", verified_ms=station.clock.now_ms()
    )
    assert [packet.packet_id] == purged()
    assert {f"{witness.packet_id}.age"} == files_in(station.spool)
    assert "purged" == outbox.status(packet.packet_id).packet.location
    assert () == outbox.audit.verify().problems


def finished(station: Any, count: int) -> list[Any]:
    """Record packets that all rules let go of: delivered, with a final status, and once verified in a backup."""
    packets = verified(station, count)
    settle_all(station, "central")
    for packet in packets:
        say(station, "CARD_ISSUED", 1, packet.packet_id)
    say(station, "PROCESSING", 90, station.submit(b"another").packet.packet_id)
    station.clock.advance(400 * 86_400)
    return packets


def backup_at_hand(*, lacking: str = "", gone_at: int = 0) -> tuple[list[str], Callable[[Any], bool]]:
    """Return what a backup was asked for, and how it answers: without one packet, or gone at one of the questions."""
    asked: list[str] = []

    def prove(packet: Any) -> bool:
        asked.append(packet.packet_id)
        if len(asked) == gone_at:
            raise UnavailableError("gone")
        return bool(packet.packet_id != lacking)

    return asked, prove


def test_invariant_08_only_what_a_backup_gives_back_at_that_moment_is_purged(station: Any) -> None:
    """An old verification is not enough: each packet's copy is looked at just before, in the order of the packs."""
    packets = finished(station, 4)
    asked, prove = backup_at_hand(lacking=packets[1].packet_id)

    purged = station.outbox.purge(timedelta(days=30), who="nightly", prove=prove)

    ids = [packet.packet_id for packet in packets]
    assert sorted(ids) == asked
    assert {ids[0], ids[2], ids[3]} == set(purged)
    assert ["purged", "spool", "purged", "purged"] == [
        station.outbox.status(packet_id).packet.location for packet_id in ids
    ]
    assert station.outbox.spool.path(ids[1]).exists()
    assert () == station.outbox.audit.verify().problems


def test_invariant_08_a_disk_that_goes_away_meanwhile_ends_the_purge(station: Any) -> None:
    """What was proven before goes; the rest stays, as does all of which no backup at hand has a copy."""
    packets = finished(station, 4)
    asked, prove = backup_at_hand(gone_at=2)

    def purge(repository: str) -> Any:
        return station.outbox.purge(timedelta(days=30), who="nightly", prove=prove, repositories=[repository])

    assert ([], []) == (purge("another"), asked)
    assert [packets[0].packet_id] == purge("r")
    assert [packet.packet_id for packet in packets[1:]] == purge("r")


def test_invariant_08_bytes_that_change_after_the_proof_are_not_purged(station: Any) -> None:
    """A packet that is to be sent again, or was rewrapped, between the look at the disk and the drop stays."""
    again, rewrapped = finished(station, 2)

    def prove(packet: Any) -> bool:
        if packet == again:
            station.outbox.requeue(packet.packet_id, "central", who="siti", why="asked for")
        else:
            assert station.outbox.rewrap(lambda old: old + b"!", to="others", who="siti").rewrapped
            new = station.outbox.status(packet.packet_id).packet.sha256
            station.outbox.mark_copied("r", {packet.packet_id: new}, "s", verified_ms=2)
        return True

    assert [] == station.outbox.purge(timedelta(days=30), who="nightly", prove=prove)
    assert all(station.outbox.spool.path(packet.packet_id).exists() for packet in (again, rewrapped))


def test_invariant_08_what_is_being_sent_again_is_not_purged_meanwhile(station: Any) -> None:
    """Somebody's decision that is not committed yet, on another machine, is neither overtaken nor waited for."""
    if isinstance(station.database, Path):
        pytest.skip("SQLite has one writer at a time")
    packet = station.submit(b"precious").packet
    outbox = station.outbox
    outbox.register_copy_target("r")
    settle_all(station, "central")
    say(station, "PRINT_READY_RECORD", 1, packet.packet_id)
    say(station, "SENT_FOR_ENROLLMENT", 90, station.submit(b"another").packet.packet_id)
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=station.clock.now_ms())
    station.clock.advance(400 * 86_400)
    engine = app_engine(station)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ktpsync_delivery SET state = 'open' WHERE dest = 'central'")
        assert [] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)
        assert 0 == outbox.offload(1, who="nightly", prove=lambda _: True)
        connection.rollback()
    engine.dispose()
    assert [packet.packet_id] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)


def test_invariant_08_retention_is_counted_on_the_centres_clock(station: Any) -> None:
    """A station's clock that jumps ahead by years does not make the retention time pass."""
    packet = station.submit().packet
    outbox = station.outbox
    outbox.register_copy_target("r")
    settle_all(station, "central")
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=1)
    say(station, "CARD_ISSUED", 1, packet.packet_id)
    station.clock.advance(20 * 365 * 86_400)
    assert [] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)
    say(station, "CARD_ISSUED", 40, station.submit().packet.packet_id)
    assert [packet.packet_id] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)


def test_invariant_08_each_required_destination_counts(station: Any) -> None:
    """The receipt of a destination that is not required does not stand for a required one's."""
    packet = station.submit().packet
    outbox = station.outbox
    outbox.register_copy_target("r")
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=1)
    settle_all(station, "usb")
    say(station, "CARD_ISSUED", 1, packet.packet_id)
    say(station, "CARD_ISSUED", 400, station.submit().packet.packet_id)
    station.clock.advance(500 * 86_400)
    assert [] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)
    outbox.handled(packet.packet_id, "central", who="siti", why="by courier")
    assert [] == outbox.purge(timedelta(days=30), who="nightly", prove=lambda _: True)


def test_invariant_09_no_personal_data_in_the_database(station: Any) -> None:
    """Sealed bytes and the text of a refusal that names a person leave no trace in the database."""
    nik, spaced = "3171011708900001", "3171 0117 0890 0001"
    station.submit(f"sealed {nik}".encode(), person=b"\x01" * 32, fingerprint=b"\x02" * 32)
    (lease,) = station.claim()
    station.outbox.reject(lease, code="bad", reason=f"NIK {nik} / {spaced} is known\x00")
    said = StatusChange(
        packet_id=lease.packet.packet_id,
        status=f"SAME_AS\x00{nik}",
        changed_at=datetime.now(UTC),
        note=f"as {spaced}\ud800",
    )
    applied = station.outbox.apply_statuses("central", StatusPage(changes=[said], cursor="1", more=False))
    assert ["SAME_AS [16 digits]"] == [change.status for change, _ in applied.changes]
    station.outbox.export()
    dump = repr(list(station.outbox.export()))
    assert "[16 digits] / [16 digits] is known" in dump
    assert nik not in dump
    assert spaced not in dump
    if isinstance(station.database, Path):
        stored = b"".join(path.read_bytes() for path in station.database.parent.iterdir())
        assert nik.encode() not in stored


def test_invariant_11_offloaded_packets_make_room_and_are_fetched_back(station: Any) -> None:
    """With a verified backup the spool's bytes can go; without one they cannot."""
    packet, bare = station.submit(b"held by the backup").packet, station.submit(b"not yet").packet
    outbox = station.outbox
    outbox.register_copy_target("r")
    outbox.mark_copied("r", {packet.packet_id: packet.sha256, bare.packet_id: bare.sha256}, "s")
    assert 0 == outbox.offload(1 << 30, who="siti", prove=lambda _: True)
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=1)
    assert packet.size == outbox.offload(1 << 30, who="siti", prove=lambda _: True)
    assert {f"{bare.packet_id}.age"} == files_in(station.spool)
    backup = station.spool.parent / "backup"
    backup.write_bytes(b"held by the backup")
    outbox.spool.fetch = lambda _packet_id, _sha256: backup.open("rb")
    (lease, _bare) = station.claim(limit=2)
    with lease.packet.open() as file:
        assert b"held by the backup" == file.read()


def verified(station: Any, count: int) -> list[Any]:
    """Record packets that a backup was once found to hold whole."""
    packets = [station.submit(b"packet %d" % number).packet for number in range(count)]
    station.outbox.register_copy_target("r")
    station.outbox.mark_copied("r", {p.packet_id: p.sha256 for p in packets}, "s", verified_ms=1)
    return packets


def test_invariant_11_only_what_is_proven_at_that_moment_is_dropped(station: Any) -> None:
    """An old verification is not enough: each packet's copy is looked at just before, and no more than are needed."""
    packets = verified(station, 4)
    asked, prove = backup_at_hand(lacking=packets[1].packet_id)

    freed = station.outbox.offload(2 * packets[0].size, who="siti", prove=prove)

    assert 2 * packets[0].size == freed
    assert [packet.packet_id for packet in packets[:3]] == asked
    assert ["offloaded", "spool", "offloaded", "spool"] == [
        station.outbox.status(packet.packet_id).packet.location for packet in packets
    ]
    assert {f"{packets[1].packet_id}.age", f"{packets[3].packet_id}.age"} == files_in(station.spool)


def test_invariant_11_what_a_crash_left_goes_only_while_a_backup_has_it(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup may be lost between the crash and the next start: then these are the last bytes, and they are delivered."""
    (packet,) = verified(station, 1)

    def crash(_packet_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(station.outbox.spool, "discard", crash)
        with pytest.raises(KeyboardInterrupt):
            station.outbox.offload(1, who="siti", prove=lambda _: True)
    assert "offloaded" == station.outbox.status(packet.packet_id).packet.location
    station.outbox.lose_copies("r", [packet.packet_id], why="the disk is damaged")
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 2 * 86_400_000

    assert 0 == station.outbox.collect_orphans()

    assert [packet.packet_id] == [one.packet_id for one in station.outbox.uncopied("r")]
    station.outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=2)
    assert {f"{packet.packet_id}.age"} == files_in(station.spool)
    assert 1 == station.outbox.collect_orphans()
    assert set() == files_in(station.spool)


@pytest.mark.parametrize("repositories", [None, ["r", "s"]], ids=["of all", "of these"])
def test_invariant_11_as_many_copies_as_are_asked_for(station: Any, repositories: list[str] | None) -> None:
    """A packet stays as long as fewer backups than were asked for hold a verified copy, however they are named."""
    (packet,) = verified(station, 1)

    def offload(copies: int) -> Any:
        return station.outbox.offload(
            1 << 30, who="siti", prove=lambda _: True, repositories=repositories, copies=copies
        )

    assert 0 == offload(2)
    station.outbox.register_copy_target("s")
    station.outbox.mark_copied("s", {packet.packet_id: packet.sha256}, "s")
    assert 0 == offload(2)
    station.outbox.mark_copied("s", {packet.packet_id: packet.sha256}, "s", verified_ms=1)
    assert packet.size == offload(2)


def test_invariant_11_a_copy_that_is_away_counts_for_a_time_and_never_alone(station: Any) -> None:
    """One of the backups that hold a packet is there; the other one gave it back whole lately, not in the future."""
    (packet,) = verified(station, 1)
    station.outbox.register_copy_target("s")

    def offload(here: list[str], since_ms: int) -> Any:
        return station.outbox.offload(
            1, who="siti", prove=lambda _: True, repositories=here, away=["s"], since_ms=since_ms, copies=2
        )

    def read_back(at_ms: int) -> None:
        station.outbox.mark_copied("s", {packet.packet_id: packet.sha256}, "s", verified_ms=at_ms)

    assert 0 == offload(["r"], 0)
    read_back(station.clock.now_ms() + 1000)
    assert 0 == offload(["r"], 0)
    read_back(5)
    assert 0 == offload(["r"], 6)
    assert 0 == offload([], 5)
    assert packet.size == offload(["r"], 5)


def test_invariant_11_a_disk_that_goes_away_meanwhile_ends_it(station: Any) -> None:
    """What was proven before goes; nothing is asked afterwards."""
    packets = verified(station, 4)
    asked, prove = backup_at_hand(gone_at=2)

    assert packets[0].size == station.outbox.offload(1 << 30, who="siti", prove=prove)
    assert [packet.packet_id for packet in packets[:2]] == asked
    assert {f"{packet.packet_id}.age" for packet in packets[1:]} == files_in(station.spool)


def test_invariant_11_bytes_that_change_after_the_proof_are_not_dropped(station: Any) -> None:
    """Rewrapped between the look at the disk and the drop, a packet's new bytes are on no disk: they stay."""
    (packet,) = verified(station, 1)
    station.outbox.retire("central", who="siti", why="test")

    def prove(_packet: Any) -> bool:
        assert 1 == station.outbox.rewrap(lambda old: old + b"!", to="others", who="siti").rewrapped
        new = station.outbox.status(packet.packet_id).packet.sha256
        station.outbox.mark_copied("r", {packet.packet_id: new}, "s", verified_ms=2)
        return True

    assert 0 == station.outbox.offload(1 << 30, who="siti", prove=prove)
    assert station.outbox.spool.path(packet.packet_id).exists()


def test_invariant_11_a_backup_with_the_last_copies_is_not_forgotten(station: Any) -> None:
    """As long as one of them may have to be delivered; what another verified backup holds is not among them."""
    outbox = station.outbox
    first, second = verified(station, 2)
    outbox.register_copy_target("q")
    outbox.mark_copied("q", {second.packet_id: second.sha256}, "s", verified_ms=1)
    outbox.offload(1 << 30, who="siti", prove=lambda _: True)
    with pytest.raises(WrongStateError, match=f"alone .{first.packet_id}."):
        outbox.forget_copies("r", name="usb-a", who="siti", why="test")
    assert ("q", "r") == outbox.copy_holders(second.packet_id)
    for dest in ("central", "usb"):
        outbox.cancel(first.packet_id, dest, who="siti", why="lost")
    outbox.forget_copies("r", name="usb-a", who="siti", why="test")
    assert ((), ("q",)) == tuple(outbox.copy_holders(one.packet_id) for one in (first, second))
    with pytest.raises(WrongStateError, match=second.packet_id):
        outbox.forget_copies("q", name="usb-b", who="siti", why="test")
    with pytest.raises(ConfigError):
        outbox.forget_copies("q", name="usb-b", who="siti", why=" ")


@pytest.mark.parametrize(
    "tampering",
    [
        "SELECT 1",
        "UPDATE ktpsync_audit SET detail = '' WHERE event = 'failed'",
        "UPDATE ktpsync_audit SET who = 'nobody' WHERE event = 'cancelled'",
        "DELETE FROM ktpsync_audit WHERE event = 'failed'",
        "DELETE FROM ktpsync_audit WHERE seq = (SELECT MAX(seq) FROM ktpsync_audit)",
        "DELETE FROM ktpsync_audit WHERE seq < 3",
        "DELETE FROM ktpsync_audit",
        "UPDATE ktpsync_delivery SET state = 'delivered' WHERE dest = 'central'",
    ],
)
def test_invariant_12_every_change_is_told_and_tampering_shows(station: Any, tampering: str) -> None:
    """Changing, removing or cutting off an entry, or settling a row behind the trail's back, is detected."""
    packet = station.submit().packet
    (lease,) = station.claim()
    station.outbox.fail(lease, code="x", reason="y")
    station.outbox.cancel(packet.packet_id, "usb", who="siti", why="test")
    assert ["submitted", "failed", "cancelled"] == [
        item.event for item in station.outbox.status(packet.packet_id).history
    ]
    engine = app_engine(station)
    with engine.begin() as connection:
        connection.execute(sa.text(tampering))
    engine.dispose()
    assert (tampering == "SELECT 1") == (() == station.outbox.audit.verify().problems)


def test_invariant_12_an_entry_cannot_be_replaced_with_its_hash(station: Any) -> None:
    """Whoever changes an entry and makes its hash anew must make all later ones anew too."""
    for _ in range(3):
        station.submit()
    first, second, third = list(station.outbox.audit.entries())[-3:]
    forged = evolve(second, who="somebody else")
    with station.outbox._database.write() as connection:
        connection.execute(
            station.outbox._database.sql(
                "UPDATE ktpsync_audit SET who = :who, hash = :hash WHERE seq = :seq"
            ),
            {"who": forged.who, "hash": chain_hash(first.hash, forged), "seq": forged.seq},
        )
    (problem,) = station.outbox.audit.verify().problems
    assert f"Entry {third.seq} or the one before it was changed." == problem


def test_invariant_12_a_trail_cut_off_at_its_end_shows(station: Any) -> None:
    """The last entry is missed, also one that no row bears witness to."""
    station.submit()
    station.outbox.pause("central", reason="inspection", who="siti")
    last = station.outbox.sequence()
    with station.outbox._database.write() as connection:
        delete = station.outbox._database.sql("DELETE FROM ktpsync_audit WHERE seq = :seq")
        connection.execute(delete, {"seq": last})
    assert (f"Entries {last} to {last} are missing at the end.",) == station.outbox.audit.verify().problems


def test_invariant_12_a_rewritten_chain_differs_from_its_anchor(station: Any) -> None:
    """Whoever rewrites the whole chain cannot match a number and hash kept elsewhere."""
    station.submit()
    report = station.outbox.audit.verify()
    station.submit()
    assert () == station.outbox.audit.verify({report.seq: report.head}).problems
    assert station.outbox.audit.verify({report.seq: "0" * 64}).problems
    assert station.outbox.audit.verify({report.seq + 100: report.head}).problems


def test_invariant_12_pruning_keeps_the_chain_provable(station: Any) -> None:
    """Entries removed by retention leave a chain that still verifies, and whose missing start is explained."""
    station.submit()
    station.clock.advance(86_400)
    middle = station.clock.now_ms()
    station.submit()
    audit = station.outbox.audit
    before = audit.verify().entries
    removed = audit.prune(before_ms=middle, who="nightly")
    report = audit.verify()
    assert ((), before - removed + 1) == (report.problems, report.entries)
    assert removed > 0
    engine = app_engine(station)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM ktpsync_audit WHERE event = 'audit-pruned'"))
    engine.dispose()
    assert audit.verify().problems


def test_a_closed_outbox_does_nothing_more(station: Any) -> None:
    """Whoever makes the database anew believes to be alone: no call opens it again, and no file is left of a submission."""
    packet = station.submit().packet
    (lease,) = station.claim()
    outbox = station.outbox
    engine = app_engine(station)
    outbox.close()
    outbox.close()
    before = sorted(station.spool.rglob("*"))
    with engine.connect() as connection:
        for use in (
            lambda: station.submit(b"late"),
            lambda: station.submit(b"late", connection=connection),
            lambda: outbox.submit_many([submission(b"x")]),
            station.claim,
            lambda: outbox.settle(lease, station.receipt(packet)),
            lambda: outbox.renew([lease], 60),
            lambda: outbox.status(packet.packet_id),
            lambda: list(outbox.packets()),
            outbox.storage,
            outbox.summary,
            outbox.examine,
            outbox.collect_orphans,
            lambda: outbox.purge(timedelta(0), who="w", prove=lambda _: True),
            lambda: outbox.rewrap(lambda sealed: sealed, to="x", who="w"),
            lambda: list(outbox.export()),
            lambda: outbox.put_back(packet.packet_id, b"sealed", source="x", who="w", why="w"),
            lambda: outbox.pause("central", reason="x"),
            outbox.audit.verify,
        ):
            with pytest.raises(ClosedError, match="was closed"):
                use()
    engine.dispose()
    assert before == sorted(station.spool.rglob("*"))
