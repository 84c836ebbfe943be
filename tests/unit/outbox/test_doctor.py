"""Damage: what an examination finds, and how an outbox is made anew without losing a packet."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.errors import (
    DigestError,
    OutboxDamagedError,
    OutboxInUseError,
    SchemaVersionError,
    SpoolError,
)
from ktpsync.outbox import DeliveryState, DestinationSpec, FolderSpool, Outbox, is_sound, rebuild
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ktpsync.outbox import Found, Rebuilt

DESTINATIONS = [DestinationSpec(name="central"), DestinationSpec(name="usb", required=False)]


on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
"""A damaged database server is restored from its own backup."""


def sealed(text: bytes) -> bytes:
    """Return bytes that look sealed from outside."""
    return (
        b"age-encryption.org/v1\n-> X25519 x\nbody\n--- " + b"A" * 43 + b"\n" + bytes(16) + text + bytes(16)
    )


@pytest.fixture
def sqlite_station(station: Any) -> Iterator[Any]:
    """A station whose database is a file; the packets of a day are in it."""
    for number in range(40):
        station.submit(
            sealed(b"packet %d" % number),
            reference=f"app-{number}",
            fingerprint=b"f",
            person=bytes([number]) * 32,
            urgent=number == 7,
        )
    return station


def overwrite(path: Path, start: int, count: int) -> None:
    """Damage a file, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(count))


def make_anew(station: Any) -> Rebuilt:
    """Close the station and make its outbox anew."""
    station.outbox.close()
    return rebuild(
        station.database, FolderSpool(station.spool), destinations=DESTINATIONS, clock=station.clock
    )


def packets_of(station: Any) -> dict[str, str]:
    """Return digests by packet id, from the files themselves."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in station.spool.glob("*/*.age")
    }


def test_a_healthy_outbox_has_no_problems(station: Any) -> None:
    """Rows, files and trail agree."""
    for _ in range(3):
        station.submit()
    found = station.outbox.examine(read=True)
    assert (3, (), ()) == (found.packets, found.problems, found.notices)


def test_an_examination_names_each_damage(station: Any) -> None:
    """A missing file, one cut short, one changed, an orphan, a stranger and a broken trail are told."""
    missing, short, changed = (station.submit(b"some bytes").packet.packet_id for _ in range(3))
    path = station.outbox.spool.path
    path(missing).unlink()
    path(short).write_bytes(b"some")
    path(changed).write_bytes(b"some Bytes")
    (station.spool / "note.txt").write_text("remember the milk")
    orphan = path("01890a5d-ac96-774b-bcce-b302099a8057")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    quick = station.outbox.examine()
    assert [missing, short] == [one for one in (missing, short, changed) if one in " ".join(quick.problems)]
    with station.outbox._database.write() as connection:
        connection.exec_driver_sql("UPDATE ktpsync_audit SET who = 'nobody' WHERE seq = 3")
    found = station.outbox.examine(read=True)
    told = " ".join(found.problems)
    assert all(one in told for one in (missing, short, changed, "Entry 3"))
    assert 2 == len(found.notices)
    assert "note.txt" in " ".join(found.notices)


def test_an_examination_changes_no_file(station: Any) -> None:
    """Not even what a writer that died left a year ago: the service clears it away."""
    station.submit()
    orphan = station.outbox.spool.path("01890a5d-ac96-774b-bcce-b302099a8057")
    half_written = orphan.with_name(".01890a5d-ac96-774b-bcce-b302099a8157.age.17.part")
    orphan.parent.mkdir(exist_ok=True)
    for file in (orphan, half_written):
        file.write_bytes(b"x")
        file.chmod(0o700)  # its row was never committed
        os.utime(file, (0, 0))

    def files() -> dict[Path, tuple[int, bytes]]:
        return {
            file: (file.stat().st_mtime_ns, file.read_bytes())
            for file in station.spool.rglob("*")
            if file.is_file()
        }

    before = files()
    for read in (False, True):
        station.outbox.examine(read=read)

    assert before == files()
    station.outbox.collect_orphans()
    assert orphan.exists()
    assert not half_written.exists()


@on_sqlite
def test_a_damaged_database_is_told_wherever_it_is_met(sqlite_station: Any) -> None:
    """Reading a damaged page is not a driver's error but ours, which says what to do."""
    station = sqlite_station
    station.outbox.close()
    overwrite(station.database, 4096, station.database.stat().st_size - 4096)
    with pytest.raises(OutboxDamagedError, match="doctor --rebuild"), station.reopen() as outbox:
        list(outbox.packets())


@on_sqlite
@pytest.mark.parametrize("damage", ["no database at all", "header", "everything", "some pages", "a lost log"])
def test_no_packet_is_lost_with_the_database(sqlite_station: Any, damage: str) -> None:
    """Whatever is left of the database, every sealed file has a row afterwards and goes to each destination."""
    station = sqlite_station
    (lease,) = station.claim()
    station.outbox.settle(lease, station.receipt(lease.packet))
    station.outbox.close()
    before = packets_of(station)
    size = station.database.stat().st_size
    if damage == "no database at all":
        station.database.unlink()
    elif damage == "header":
        overwrite(station.database, 0, 100)
    elif damage == "everything":
        overwrite(station.database, 0, size)
    elif damage == "some pages":
        overwrite(station.database, size // 2, size // 4)
    else:
        station.database.write_bytes(station.database.read_bytes()[: 4096 * 3])
    spoilt = station.database.read_bytes() if station.database.exists() else None

    rebuilt = make_anew(station)

    assert (40, 40, ()) == (rebuilt.packets, rebuilt.from_spool, rebuilt.quarantined)
    if spoilt is None:
        assert rebuilt.aside is None
    else:
        assert rebuilt.aside is not None
        assert spoilt == (rebuilt.aside / station.database.name).read_bytes()
    with station.reopen() as outbox:
        assert before == {view.packet_id: view.sha256 for view in outbox.packets()}
        waiting = {lease.packet.packet_id for lease in outbox.claim("central", 100, 60)}
        assert before.keys() - waiting <= {lease.packet.packet_id}
        assert 40 == len(outbox.claim("usb", 100, 60))
        assert () == outbox.examine(read=True).problems


@on_sqlite
def test_what_can_still_be_read_is_kept(sqlite_station: Any) -> None:
    """References, keyed hashes, urgency, receipts and decisions survive where their pages did."""
    station = sqlite_station
    leases = station.claim(limit=3)
    station.outbox.settle(leases[1], station.receipt(leases[1].packet))
    station.outbox.reject(leases[2], code="bad", reason="unreadable")
    delivered, rejected = leases[1].packet.packet_id, leases[2].packet.packet_id
    cancelled = leases[0].packet.packet_id
    station.outbox.cancel(cancelled, "usb", who="siti", why="wrong")
    before = {view.packet_id: view for view in station.outbox.packets()}

    rebuilt = make_anew(station)

    assert (40, 3) == (rebuilt.recognised, rebuilt.receipts)
    with station.reopen() as outbox:
        assert before == {view.packet_id: view for view in outbox.packets()}
        states = {
            (view.packet_id, delivery.destination): delivery.state
            for view in outbox.packets()
            for delivery in outbox.status(view.packet_id).deliveries
        }
        assert {
            (delivered, "central"): DeliveryState.DELIVERED,
            (rejected, "central"): DeliveryState.REJECTED,
            (cancelled, "usb"): DeliveryState.CANCELLED,
        } == {key: state for key, state in states.items() if state is not DeliveryState.PENDING}
        assert 80 == len(states)
        assert 1 == outbox.destination("central").delivered
        assert () == outbox.audit.verify().problems


@on_sqlite
def test_a_receipt_for_other_bytes_is_not_believed(sqlite_station: Any) -> None:
    """A row that a damaged page has mixed up does not make a packet count as delivered."""
    station = sqlite_station
    (lease,) = station.claim()
    station.outbox.settle(lease, station.receipt(lease.packet))
    station.outbox.close()
    with sqlite3.connect(station.database) as connection:
        connection.execute(
            "UPDATE ktpsync_delivery SET receipt = replace(receipt, 'sha256\":\"', 'sha256\":\"0')"
        )
    connection.close()
    assert 0 == make_anew(station).receipts
    with station.reopen() as outbox:
        assert 40 == len(outbox.claim("central", 100, 60))


@on_sqlite
def test_files_that_cannot_be_packets_are_quarantined_with_a_reason(sqlite_station: Any) -> None:
    """Their bytes are kept, the reason stands beside them, and the others go on."""
    station = sqlite_station
    empty, text, cut, changed = [view.packet_id for view in station.outbox.packets()][:4]
    path = station.outbox.spool.path
    path(empty).write_bytes(b"")
    path(text).write_bytes(b"this is not a sealed packet, it is some text")
    path(cut).write_bytes(path(cut).read_bytes()[:60])
    path(changed).write_bytes(sealed(b"other bytes under this name"))
    (station.spool / "aa").mkdir(exist_ok=True)
    (station.spool / "aa" / "holiday.jpg").write_bytes(b"a photo")

    rebuilt = make_anew(station)

    reasons = dict(rebuilt.quarantined)
    assert {f"{one}.age" for one in (empty, text, cut, changed)} | {"holiday.jpg"} == reasons.keys()
    assert "empty" in reasons[f"{empty}.age"]
    assert "cut short" in reasons[f"{cut}.age"]
    assert "differ" in reasons[f"{changed}.age"]
    assert b"a photo" == (rebuilt.quarantine / "holiday.jpg").read_bytes()
    told = json.loads((rebuilt.quarantine / f"{text}.age.reason.json").read_text())
    assert "does not start" in told["reason"]
    assert 36 == rebuilt.packets
    with station.reopen() as outbox:
        assert () == outbox.examine(read=True).problems


@on_sqlite
def test_packets_whose_bytes_are_elsewhere_keep_their_rows(sqlite_station: Any) -> None:
    """What was offloaded is still to be delivered, from the backup."""
    station = sqlite_station
    outbox = station.outbox
    view = next(outbox.packets())
    outbox.register_copy_target("r")
    outbox.mark_copied("r", {view.packet_id: view.sha256}, "s", verified_ms=1)
    assert 0 < outbox.offload(1, who="siti", prove=lambda _: True)
    rebuilt = make_anew(station)
    assert (40, 39) == (rebuilt.packets, rebuilt.from_spool)
    with station.reopen() as again:
        assert "offloaded" == again.status(view.packet_id).packet.location
        assert view.packet_id in {lease.packet.packet_id for lease in again.claim("central", 100, 60)}


@on_sqlite
def test_an_outbox_in_use_is_not_made_anew(sqlite_station: Any) -> None:
    """While a service or an application works with it, nothing is touched."""
    station = sqlite_station
    with pytest.raises(OutboxInUseError, match="Stop the service"):
        rebuild(station.database, FolderSpool(station.spool), destinations=DESTINATIONS, clock=station.clock)
    assert () == station.outbox.examine(read=True).problems


@on_sqlite
def test_nobody_else_reads_what_a_rebuild_writes(sqlite_station: Any) -> None:
    """Neither the new database, nor the records on their way into it: references and hashes are in both."""
    modes: dict[str, int] = {}

    def look(outbox: Outbox, found: Found) -> None:
        outbox.import_state(found.records())
        folder = sqlite_station.database.parent
        modes.update({path.name: path.stat().st_mode & 0o777 for path in folder.glob("*.rebuilding*")})

    sqlite_station.outbox.close()
    before = os.umask(0o022)
    try:
        rebuild(
            sqlite_station.database,
            FolderSpool(sqlite_station.spool),
            destinations=DESTINATIONS,
            clock=sqlite_station.clock,
            fill=look,
        )
    finally:
        os.umask(before)

    assert any(name.endswith(".records") for name in modes)
    assert {0o600} == set(modes.values())
    assert 0o600 == sqlite_station.database.stat().st_mode & 0o777


@on_sqlite
def test_an_interrupted_rebuild_leaves_the_old_database_and_can_be_done_again(sqlite_station: Any) -> None:
    """The new database takes the old one's place as the last step."""
    station = sqlite_station
    station.outbox.close()
    overwrite(station.database, 0, 100)
    spoilt = station.database.read_bytes()

    def fill(outbox: Outbox, found: Found) -> None:
        outbox.import_state(found.records())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(
            station.database,
            FolderSpool(station.spool),
            destinations=DESTINATIONS,
            clock=station.clock,
            fill=fill,
        )
    assert spoilt == station.database.read_bytes()
    assert {"1.db", "1.db.in-use"} == {path.name for path in station.database.parent.iterdir()}
    assert 40 == make_anew(station).packets


def test_a_new_database_on_a_spool_with_packets_is_refused(station: Any, tmp_path: Path) -> None:
    """Without the database that knew them, packets would be taken for garbage of rolled back transactions."""
    station.submit()
    with pytest.raises(OutboxDamagedError, match="missing"):
        Outbox.open(tmp_path / "other.db", station.spool)
    with pytest.raises(OutboxDamagedError, match="missing"):
        Outbox.open(tmp_path / "other.db", station.spool)
    assert 1 == len(packets_of(station))


# --- mending, on both stores ---


def test_good_bytes_take_the_place_of_damaged_ones(station: Any) -> None:
    """The damaged ones are kept in quarantine, the trail says who and where from; once more nothing happens."""
    outbox = station.outbox
    packet = station.submit(b"good bytes").packet
    path = outbox.spool.path(packet.packet_id)
    path.write_bytes(b"bad bytes!")
    (suspect,) = outbox.suspects(read=True)
    assert (packet.packet_id, packet.sha256, "damaged") == (suspect.packet_id, suspect.sha256, suspect.why)
    assert [] == list(outbox.suspects())

    for _ in range(2):
        outbox.put_back(packet.packet_id, b"good bytes", source="usb-a", who="siti", why="test")

    assert b"good bytes" == path.read_bytes()
    (apart,) = (station.spool.parent / "spool.quarantine").glob("*.age")
    assert b"bad bytes!" == apart.read_bytes()
    told = [entry for entry in outbox.status(packet.packet_id).history if entry.event == "mended"]
    assert ["siti"] == [entry.who for entry in told]
    assert [] == list(outbox.suspects(read=True))
    assert () == outbox.examine(read=True).problems


def test_other_bytes_are_not_put_back(station: Any) -> None:
    """Bytes with another digest, and those of a packet that is not to be in the spool, change nothing."""
    outbox = station.outbox
    packet = station.submit(b"good bytes").packet
    path = outbox.spool.path(packet.packet_id)
    path.write_bytes(b"bad bytes!")
    with pytest.raises(DigestError):
        outbox.put_back(packet.packet_id, b"others", source="usb-a", who="siti", why="test")
    assert b"bad bytes!" == path.read_bytes()
    outbox.register_copy_target("r")
    outbox.mark_copied("r", {packet.packet_id: packet.sha256}, "s", verified_ms=1)
    outbox.offload(1, who="siti", prove=lambda _: True)
    with pytest.raises(SpoolError, match="offloaded"):
        outbox.put_back(packet.packet_id, b"good bytes", source="usb-a", who="siti", why="test")
    assert not path.exists()


def test_a_mending_that_was_killed_goes_on(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the quarantine and the new file the packet is missing; the next run sees that and mends it."""
    outbox = station.outbox
    packet = station.submit(b"good bytes").packet
    outbox.spool.path(packet.packet_id).write_bytes(b"bad bytes!")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outbox.spool, "write", die)
        with pytest.raises(KeyboardInterrupt):
            outbox.put_back(packet.packet_id, b"good bytes", source="usb-a", who="siti", why="test")
    (suspect,) = outbox.suspects()
    assert "missing" == suspect.why
    outbox.put_back(packet.packet_id, b"good bytes", source="usb-a", who="siti", why="test")
    assert () == outbox.examine(read=True).problems


def test_whole_bytes_in_quarantine_are_found(station: Any) -> None:
    """A file that was set apart by mistake is as good as a backup's copy."""
    outbox = station.outbox
    packet = station.submit(b"good bytes").packet
    apart = station.spool.parent / "spool.quarantine"
    apart.mkdir()
    outbox.spool.path(packet.packet_id).rename(apart / f"{packet.packet_id}.age.1")
    assert b"good bytes" == outbox.from_quarantine(packet.packet_id, packet.sha256)
    assert None is outbox.from_quarantine(packet.packet_id, "0" * 64)


def test_reading_every_file_goes_to_the_medium(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cache does not answer for a disk that has lost what was written to it."""
    packet = station.submit(b"good bytes").packet
    dropped = []
    monkeypatch.setattr("ktpsync.outbox._examine.drop_page_cache", lambda file: dropped.append(file.name))
    station.outbox.examine()
    assert [] == dropped
    station.outbox.examine(read=True)
    assert [str(station.outbox.spool.path(packet.packet_id))] == [str(name) for name in dropped]


@on_sqlite
def test_what_people_decided_outlives_the_database(sqlite_station: Any) -> None:
    """A pause and a setting hold on, the trail says who decided what and why, and begins where the former one ended."""
    station = sqlite_station
    outbox = station.outbox
    view = next(outbox.packets())
    outbox.cancel(view.packet_id, "usb", who="siti", why="wrong person")
    outbox.pause("central", reason="office hours", who="wati")
    outbox.set_settings("central", {"rate": "64 kbit/s"}, who="budi")
    seq, head = outbox.audit.head()

    make_anew(station)

    with station.reopen() as again:
        state = again.destination("central")
        assert ("office hours", {"rate": "64 kbit/s"}) == (state.paused, state.settings)
        told = list(again.audit.entries())
        assert ("rebuilt", {"seq": seq, "hash": head}) == (told[0].event, json.loads(told[0].detail))
        decided = [(item.event, item.who, item.destination) for item in told if item.who]
        assert {
            ("cancelled", "siti", "usb"),
            ("destination-paused", "wati", "central"),
            ("destination-settings", "budi", "central"),
        } == set(decided)
        assert 3 == len(decided)
        assert any("wrong person" in item.detail for item in again.audit.entries(packet_id=view.packet_id))
        report = again.audit.verify()
        assert ((), (seq,)) == (report.problems, report.former)


@on_sqlite
def test_a_database_of_a_newer_release_is_not_made_anew(sqlite_station: Any) -> None:
    """This release would know less of it; it stays as it is."""
    station = sqlite_station
    station.outbox.close()
    with sqlite3.connect(station.database) as connection:
        connection.execute("UPDATE ktpsync_version SET version_num = '0099'")
    connection.close()
    before = station.database.read_bytes()
    with pytest.raises(SchemaVersionError, match="0099"):
        make_anew(station)
    assert before == station.database.read_bytes()


@on_sqlite
def test_only_a_database_that_agrees_with_its_spool_is_sound(sqlite_station: Any, tmp_path: Path) -> None:
    """An older copy is not, nor one that is damaged, missing or lacks a file."""
    station = sqlite_station
    spool = FolderSpool(station.spool)

    def sound() -> bool:
        return is_sound(station.database, spool, clock=station.clock)

    station.outbox.close()
    older = tmp_path / "older.db"
    older.write_bytes(station.database.read_bytes())
    assert sound()
    with station.reopen() as outbox:
        station.outbox = outbox
        packet_id = station.submit(sealed(b"later")).packet.packet_id
    newer = station.database.read_bytes()
    station.database.write_bytes(older.read_bytes())
    assert not sound()
    station.database.write_bytes(newer)
    assert sound()
    path = spool.path(packet_id)
    path.rename(tmp_path / "away")
    assert not sound()
    (tmp_path / "away").rename(path)
    overwrite(station.database, 0, 100)
    assert not sound()
    station.database.unlink()
    assert not sound()


@on_sqlite
@pytest.mark.skipif(sys.platform == "win32", reason="files are not marked there")
def test_a_rebuild_leaves_what_was_rolled_back_long_ago(sqlite_station: Any) -> None:
    """It would be delivered otherwise. What is a day old at most is taken: it may have been committed a moment before."""
    station = sqlite_station
    station.clock.ms = round(datetime.now(UTC).timestamp() * 1000) + 3_600_000
    known = {view.packet_id for view in station.outbox.packets()}
    young = new_packet_id()
    old = str(uuid.UUID(int=uuid.UUID(young).int - (2 * 86_400_000 << 80)))
    for packet_id in (old, young):
        station.outbox.spool.write(packet_id, sealed(b"x"), hashlib.sha256(sealed(b"x")).hexdigest())
    station.outbox.close()
    overwrite(station.database, 0, station.database.stat().st_size)

    rebuilt = rebuild(
        station.database,
        FolderSpool(station.spool),
        destinations=[DestinationSpec(name="central")],
        clock=station.clock,
    )

    assert (41, 1) == (rebuilt.packets, rebuilt.left)
    with station.reopen() as outbox:
        assert {*known, young} == {view.packet_id for view in outbox.packets()}
        assert [old] == [one.packet_id for one in outbox.unrecorded(since_ms=0)]
