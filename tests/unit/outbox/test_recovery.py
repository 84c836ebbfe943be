"""Packets that are in the spool and that the database does not know: told, and given rows again if a person says so."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ktpsync.errors import ConfigError, OutboxDamagedError
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
"""Where an older copy of the database can be put back by copying a file."""

on_server = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
"""What storage is for."""

DAY_MS = 86_400_000


@pytest.fixture
def spool_kind() -> str:
    """The spool is in storage."""
    return "storage"


@pytest.fixture
def now(station: Any) -> Any:
    """A station whose clock shows tomorrow: what is stored in this test is a day old."""
    station.clock.ms = round(datetime.now(UTC).timestamp() * 1000) + DAY_MS + 3_600_000
    return station


def sealed(text: str) -> bytes:
    """Return bytes that look sealed from outside."""
    head = b"age-encryption.org/v1\n-> X25519 x\nbody\n--- " + b"A" * 43 + b"\n"
    return head + bytes(16) + text.encode() + bytes(16)


def other_header(sealed_bytes: bytes) -> bytes:
    """Stand for a rewrap."""
    return sealed_bytes.replace(b"X25519 x", b"X25519 another")


def put_back_older(station: Any, copy: Path) -> Outbox:
    """Let an older copy of the database take the place of the present one, and open it."""
    for one in (station.outbox, *station.others):
        one.close()
    for part in ("-wal", "-shm"):
        Path(f"{station.database}{part}").unlink(missing_ok=True)
    shutil.copy(copy, station.database)
    outbox: Outbox = station.reopen()
    return outbox


def copied(station: Any) -> Path:
    """Copy the database as it is now, and open it again."""
    station.outbox.close()
    copy = Path(f"{station.database}.copy")
    shutil.copy(station.database, copy)
    station.outbox = station.reopen()
    return copy


def recover_all(outbox: Outbox) -> list[str]:
    """Recover what there is; return the ids of what was taken."""
    taken = [
        one.packet_id for one in outbox.unrecorded() if outbox.recover(one, who="budi", why="older copy")
    ]
    outbox.end_recovery(who="budi", why="older copy")
    return taken


def contents(outbox: Outbox) -> dict[str, bytes]:
    """Return the bytes of all packets, as couriers get them."""
    found = {}
    for view in outbox.packets():
        with outbox.spool.packet(view.packet_id, view.sha256, view.size).open() as file:
            found[view.packet_id] = file.read()
    return found


@on_sqlite
def test_an_older_database_is_noticed_and_its_packets_recovered(now: Any) -> None:
    """Nothing is removed from the spool, not even what was purged; a person's step gives the packets their rows again."""
    before = now.submit(sealed("before")).packet
    copy = copied(now)
    after = [now.submit(sealed(f"after {number}")).packet for number in range(3)]
    now.outbox.collect_orphans()

    outbox = put_back_older(now, copy)

    with pytest.raises(OutboxDamagedError, match=r"older copy.*Nothing was removed.*doctor --recover"):
        outbox.collect_orphans()
    assert any("older copy" in problem for problem in outbox.examine().problems)
    assert sorted(packet.packet_id for packet in after) == sorted(recover_all(outbox))
    assert {before.packet_id, *(packet.packet_id for packet in after)} == contents(outbox).keys()
    assert () == outbox.examine(read=True).problems
    assert 0 == outbox.collect_orphans()
    assert 4 == len(outbox.claim("central", 10, 60))
    told = [entry for entry in outbox.audit.entries() if entry.event == "recovered"]
    assert {("budi", packet.packet_id) for packet in after} == {
        (entry.who, entry.packet_id) for entry in told
    }
    assert [] == recover_all(outbox)


@on_sqlite
def test_packets_that_were_rewrapped_since_are_recovered(now: Any) -> None:
    """The older copy names former bytes, which are gone: it names those that are there afterwards."""
    packet = now.submit(sealed("enrollment")).packet
    untouched = now.submit(sealed("another")).packet
    copy = copied(now)
    now.outbox.rewrap(
        lambda data: None if data == sealed("another") else other_header(data), to="new", who="budi"
    )

    outbox = put_back_older(now, copy)

    assert 1 == len(outbox.examine(read=True).problems)
    (found,) = outbox.unrecorded()
    assert (packet.packet_id, True) == (found.packet_id, found.known)
    assert [packet.packet_id] == recover_all(outbox)
    assert {
        packet.packet_id: other_header(sealed("enrollment")),
        untouched.packet_id: sealed("another"),
    } == contents(outbox)
    assert () == outbox.examine(read=True).problems
    (lease,) = [one for one in outbox.claim("central", 2, 60) if one.packet.packet_id == packet.packet_id]
    assert hashlib.sha256(other_header(sealed("enrollment"))).hexdigest() == lease.packet.sha256


@on_server
def test_nothing_is_ever_removed_because_it_has_no_row(now: Any, caplog: pytest.LogCaptureFixture) -> None:
    """However old it is: nothing in storage shows whether it was a rollback's, or its row is lost."""
    unknown = new_packet_id()
    now.outbox.spool.write(unknown, sealed("x"), hashlib.sha256(sealed("x")).hexdigest())
    now.clock.ms += 1000 * DAY_MS
    assert 0 == now.outbox.collect_orphans()
    assert "the spool has 1 packet that the database does not know" in caplog.text
    assert [] == now.outbox.spool.lacking([unknown])
    assert any("--recover --dry-run" in notice for notice in now.outbox.examine().notices)
    assert [unknown] == [one.packet_id for one in now.outbox.unrecorded()]


@on_server
def test_what_was_just_stored_is_left_alone(station: Any) -> None:
    """Somebody may be between the bytes and the row."""
    station.clock.ms = round(datetime.now(UTC).timestamp() * 1000)
    packet_id = new_packet_id()
    station.outbox.spool.write(packet_id, sealed("x"), hashlib.sha256(sealed("x")).hexdigest())
    assert [] == list(station.outbox.unrecorded())
    station.clock.ms += 3_600_000
    assert [packet_id] == [one.packet_id for one in station.outbox.unrecorded()]


@on_server
def test_a_packet_whose_transaction_is_open_is_left_to_it(now: Any) -> None:
    """The application has submitted it and not committed: its reference would be lost otherwise."""
    other = now.reopen()
    with other._database.engine.connect() as connection, connection.begin():
        data = sealed("in a transaction")
        stored = other.submit(
            data,
            packet_id=new_packet_id(),
            sha256=hashlib.sha256(data).hexdigest(),
            reference="app-1",
            connection=connection,
        )
        (found,) = now.outbox.unrecorded()
        assert not now.outbox.recover(found, who="budi", why="test")
    assert [stored.packet.packet_id] == [view.packet_id for view in now.outbox.find(reference="app-1")]
    assert [] == list(now.outbox.unrecorded())


@on_server
def test_what_cannot_be_a_packet_is_named_and_left(now: Any) -> None:
    """Bytes that are cut short, strange, or not those that their key says get no row."""
    objects = now.outbox.spool.objects
    strange, cut, damaged = (new_packet_id() for _ in range(3))
    for key, data in (
        (f"spool/{strange[-2:]}/{strange}.age", b"remember the milk"),
        (f"spool/{cut[-2:]}/{cut}.age", sealed("x")[:40]),
        (f"spool/{damaged[-2:]}/{damaged}.{'0' * 64}.age", sealed("x")),
    ):
        objects.put(key, data)
    found = {one.packet_id: one.problem for one in now.outbox.unrecorded()}
    assert {
        strange: "it does not start as a sealed packet does",
        cut: "it is cut short",
        damaged: "its bytes are not those that its name says",
    } == found
    assert [] == recover_all(now.outbox)
    assert [] == list(now.outbox.packets())
    assert 3 == len(list(objects.listed("spool/")))


@on_server
def test_nobody_recovers_without_a_name_and_a_reason(now: Any) -> None:
    """Both are kept in the audit trail."""
    packet_id = new_packet_id()
    now.outbox.spool.write(packet_id, sealed("x"), hashlib.sha256(sealed("x")).hexdigest())
    (found,) = now.outbox.unrecorded()
    with pytest.raises(ConfigError, match="Say who decides"):
        now.outbox.recover(found, who="", why="x")
    with pytest.raises(ConfigError, match="Say who decides"):
        now.outbox.end_recovery(who="budi", why=" ")
    assert [] == list(now.outbox.packets())


@on_server
def test_a_new_database_beside_the_spool(now: Any, new_database: Any) -> None:
    """Refused as ever; recovering, it becomes that of the outbox to which the storage belongs."""
    packets = {now.submit(sealed(f"packet {number}")).packet.packet_id for number in range(3)}
    now.outbox.rewrap(other_header, to="new", who="budi")
    outbox_id = now.outbox.outbox_id
    lost = new_database.migrated()
    destinations = [DestinationSpec(name="central")]
    with pytest.raises(OutboxDamagedError, match="is new, but the spool"):
        Outbox.open(lost, now.open_spool(), destinations=destinations, clock=now.clock)
    with Outbox.open(
        lost, now.open_spool(), destinations=destinations, clock=now.clock, recovering=True
    ) as outbox:
        assert outbox_id == outbox.outbox_id
        assert packets == set(recover_all(outbox))
    with Outbox.open(lost, now.open_spool(), destinations=destinations, clock=now.clock) as outbox:
        assert packets == contents(outbox).keys()
        assert {other_header(sealed(f"packet {number}")) for number in range(3)} == set(
            contents(outbox).values()
        )
        assert 3 == len(outbox.claim("central", 10, 60))
        outbox.collect_orphans()
        assert () == outbox.examine(read=True).problems
        assert 3 == len(list(outbox.spool.objects.listed("spool/")))  # type: ignore[attr-defined]


@pytest.mark.parametrize("spool_kind", ["folder"])
@on_sqlite
def test_in_a_folder_a_rollback_is_told_from_a_lost_row(now: Any) -> None:
    """There a mark tells: only packets whose rows were committed once are recovered."""
    copy = copied(now)
    lost = now.submit(sealed("lost")).packet
    rolled_back = new_packet_id()
    data = sealed("rolled back")
    now.outbox.spool.write(rolled_back, data, hashlib.sha256(data).hexdigest())

    outbox = put_back_older(now, copy)

    assert [lost.packet_id] == recover_all(outbox)
    assert {lost.packet_id} == contents(outbox).keys()
