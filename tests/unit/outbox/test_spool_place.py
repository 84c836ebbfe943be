"""A spool's folder that is not the outbox's own: the empty mount point of a disk that is away, or another outbox's."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from ktpsync.errors import ConfigError, OutboxError, SpoolUnavailableError
from ktpsync.outbox import FolderSpool, Outbox, Submission, _folder_spool, rebuild
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "spool-owner.json"


@pytest.fixture
def new_database(tmp_path: Path, sqlite_template: Path) -> Any:
    """Returns what makes a database: which kind it is makes no difference here."""
    return lambda: shutil.copy(sqlite_template, tmp_path / "outbox.db")


def unmounted(spool: Path) -> Path:
    """Put an empty folder in the place of a spool, as when its disk is away; return where the spool is."""
    away = spool.rename(spool.with_name("away"))
    spool.mkdir()
    return away


def mounted(spool: Path, away: Path) -> None:
    """Put the spool back; nothing may be below it."""
    spool.rmdir()
    away.rename(spool)


def many(*data: bytes) -> list[Submission]:
    """Return packets to submit together."""
    return [
        Submission(sealed=one, packet_id=new_packet_id(), sha256=hashlib.sha256(one).hexdigest())
        for one in data
    ]


def test_an_outbox_opened_over_an_empty_mount_point_waits_for_its_spool(station: Any) -> None:
    """Everything says why, nothing goes below the mount point, and it goes on when the disk is there."""
    packet = station.submit().packet
    away = unmounted(station.spool)
    station.outbox = station.reopen()
    with pytest.raises(
        SpoolUnavailableError, match=r"does not hold.*Nothing was stored.*mounted.*--new-spool"
    ):
        station.submit()
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.outbox.submit_many(many(b"one", b"two"))
    with pytest.raises(SpoolUnavailableError, match="mounted"), station.outbox.spool.at_hand(packet):
        pass
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.outbox.collect_orphans()
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.outbox.rewrap(lambda sealed: sealed, to="others", who="budi")
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        list(station.outbox.suspects())
    view, found = station.outbox.storage(), station.outbox.examine(read=True)
    assert (True, None, 1) == (view.away, view.free, len(view.warnings))
    assert (view.warnings, (), 1) == (found.problems, found.notices, found.packets)
    mounted(station.spool, away)
    station.submit()
    assert (False, ()) == (station.outbox.storage().away, station.outbox.examine(read=True).problems)


def test_a_disk_pulled_out_while_a_packet_is_written_records_nothing(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went below the mount point is not acknowledged, singly and in a batch."""
    station.submit()
    for name in ("write_atomic", "write_many_atomic"):
        real = getattr(_folder_spool, name)

        def write(*arguments: Any, real: Any = real, **options: Any) -> None:
            unmounted(station.spool)
            for place in [arguments[0]] if isinstance(arguments[0], os.PathLike) else arguments[0]:
                place.parent.mkdir(exist_ok=True)
            real(*arguments, **options)

        monkeypatch.setattr(_folder_spool, name, write)
        with pytest.raises(SpoolUnavailableError, match="Nothing was stored"):
            station.submit() if name == "write_atomic" else station.outbox.submit_many(many(b"a", b"b"))
        monkeypatch.undo()
        shutil.rmtree(station.spool)
        station.spool.with_name("away").rename(station.spool)
    assert 1 == len(list(station.outbox.packets()))
    station.submit()
    assert () == station.outbox.examine(read=True).problems


def test_a_disk_pulled_out_while_a_packet_is_read_damages_nothing(station: Any) -> None:
    """A packet that cannot be read to its end is damaged only if its disk is still there."""
    packet = station.submit().packet

    def open_and_pull_out() -> BytesIO:
        unmounted(station.spool)
        return BytesIO(b"seal")

    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.outbox.spool.verify(evolve(packet, opener=open_and_pull_out))


@pytest.mark.parametrize("newest_is_there", [True, False])
def test_a_spool_from_before_there_were_notes_is_taken(station: Any, *, newest_is_there: bool) -> None:
    """Nobody has to do anything; one packet of the newest ones is enough, for one may be lost."""
    kept, newest = station.submit(b"kept").packet, station.submit(b"newest").packet
    (station.spool / OWNER).unlink()
    if not newest_is_there:
        station.outbox.spool.path(newest.packet_id).unlink()
    station.outbox = station.reopen()
    assert {"outbox_id": station.outbox.outbox_id} == json.loads((station.spool / OWNER).read_bytes())
    station.submit()
    with station.outbox.spool.at_hand(kept) as here, here.open() as file:
        assert b"kept" == file.read()


def test_an_outbox_without_packets_takes_its_folder_at_once(station: Any) -> None:
    """So a disk that is away at the first submission is noticed."""
    unmounted(station.spool)
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.submit()
    assert [] == list(station.spool.iterdir())


def test_a_spool_that_has_become_empty_stays_the_spool(station: Any) -> None:
    """It is the note that counts, not how many packets there are."""
    packet = station.submit().packet
    shutil.rmtree(station.outbox.spool.path(packet.packet_id).parent)
    station.outbox = station.reopen()
    assert ["not in the spool" in problem for problem in station.outbox.examine().problems] == [True]
    for _ in range(3):
        station.submit()
    assert 4 == len(list(station.outbox.packets()))


def test_the_spool_of_another_outbox_is_refused(station: Any, tmp_path: Path) -> None:
    """Two disks exchanged, or two databases by mistake: packets of two outboxes never mix."""
    station.submit()
    with Outbox.open(tmp_path / "other.db", tmp_path / "other"):
        pass
    with Outbox.open(tmp_path / "other.db", station.spool) as other:
        with pytest.raises(SpoolUnavailableError, match="belongs to another outbox"):
            other.submit_many(many(b"x"))
        with pytest.raises(SpoolUnavailableError, match="belongs to another outbox"):
            other.adopt_spool(who="budi", why="the disk is lost")
        assert [] == list(other.packets())


def test_disks_made_alike_that_took_turns_are_told_apart(station: Any) -> None:
    """In one place a system gives them one device number, and their notes can have one inode; not one moment."""
    station.submit()
    owner = station.spool / OWNER
    before = owner.stat()
    owner.write_text('{"outbox_id": "of the other disk"}')
    assert (before.st_dev, before.st_ino) == (owner.stat().st_dev, owner.stat().st_ino)
    os.utime(owner, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    with pytest.raises(SpoolUnavailableError, match="belongs to another outbox"):
        station.submit()
    assert 1 == len(list(station.outbox.packets()))


def test_a_note_that_cannot_be_read_makes_no_two_outboxes_one(station: Any, tmp_path: Path) -> None:
    """A database that is made anew gets an id of its own then, and not one that others get as well."""
    station.submit()
    (station.spool / OWNER).write_text("garbled")
    ids = set()
    for number in range(2):
        made = tmp_path / f"new-{number}.db"
        with Outbox.open(made, station.spool, recovering=True) as outbox:
            ids.add(outbox.outbox_id)
    assert 2 == len(ids)
    with pytest.raises(SpoolUnavailableError, match="belongs to another outbox"):
        station.reopen().spool.check()


def test_a_full_disk_does_not_keep_older_packets_from_their_destinations(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the note cannot be written the packets that are there show whose the folder is."""
    station.submit()
    (station.spool / OWNER).unlink()

    def full(*_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_folder_spool, "write_atomic", full)
    station.outbox = station.reopen()
    station.outbox.spool.check()
    assert not (station.spool / OWNER).exists()
    unmounted(station.spool)
    with pytest.raises(SpoolUnavailableError, match="mounted"):
        station.outbox.spool.check()


def test_a_person_can_say_that_the_spool_is_lost(station: Any) -> None:
    """A new folder takes the place of the lost one; who said so is in the trail, once."""
    packet = station.submit(b"lost").packet
    unmounted(station.spool)
    with pytest.raises(ConfigError):
        station.outbox.adopt_spool(who="budi", why="")
    for _ in range(2):
        station.outbox.adopt_spool(who="budi", why="the disk is broken")
    told = [entry for entry in station.outbox.audit.entries() if entry.event == "spool-replaced"]
    assert [("budi", '{"why":"the disk is broken"}')] == [(entry.who, entry.detail) for entry in told]
    assert [(packet.packet_id, "missing")] == [(one.packet_id, one.why) for one in station.outbox.suspects()]
    station.outbox.put_back(packet.packet_id, b"lost", source="usb-a", who="budi", why="the disk is broken")
    assert () == station.outbox.examine(read=True).problems


def test_no_database_is_made_anew_from_an_empty_mount_point(station: Any) -> None:
    """The damaged one stays, unless a person says that the packets are lost."""
    station.submit()
    station.outbox.close()
    away = unmounted(station.spool)
    with pytest.raises(SpoolUnavailableError, match=r"Nothing was changed.*mounted.*--new-spool"):
        rebuild(station.database, FolderSpool(station.spool), destinations=[], clock=station.clock)
    mounted(station.spool, away)
    assert (
        1
        == rebuild(station.database, FolderSpool(station.spool), destinations=[], clock=station.clock).packets
    )
    station.outbox = station.reopen()
    station.submit()
    station.outbox.close()
    unmounted(station.spool)
    made = rebuild(
        station.database, FolderSpool(station.spool), destinations=[], clock=station.clock, new_spool=True
    )
    assert 0 == made.from_spool


def test_what_a_disk_has_at_its_top_is_nothing_of_the_spool(station: Any) -> None:
    """Folders that a system makes, and does not let everybody look into, are left alone."""
    station.submit()
    for name in ("lost+found", "System Volume Information"):
        (station.spool / name).mkdir()
        (station.spool / name / "something").write_bytes(b"x")
    assert ((), ()) == ((found := station.outbox.examine(read=True)).problems, found.notices)
    assert 0 == station.outbox.collect_orphans()


def test_a_folder_of_the_spool_that_somebody_removed_is_made_again(station: Any) -> None:
    """The next submission needs it."""
    packet_id = station.submit(packet_id="01890a5d-ac96-774b-bcce-b302099a8000").packet_id
    station.outbox.spool.path(packet_id).parent.rename(station.spool.with_name("elsewhere"))
    again = station.submit(packet_id="01890a5d-ac96-774b-bcce-b302099a8100").packet
    station.outbox.spool.verify(again)
    assert station.outbox.spool.path(again.packet_id).parent == station.outbox.spool.path(packet_id).parent


def test_a_purge_waits_for_the_spool(station: Any) -> None:
    """It is not a purge that leaves the bytes."""
    station.submit()
    unmounted(station.spool)
    with pytest.raises(OutboxError, match="mounted"):
        station.outbox.purge(timedelta(0), who="nightly", prove=lambda _: True)
