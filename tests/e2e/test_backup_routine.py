"""Backups that make, check and thin out themselves, and what a person is told; real offices on real folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from attrs import define
from click.testing import CliRunner

import ktpsync
from command_line import BAD_INPUT, DAMAGED, DONE, FAILED, PERSON, WAITING, invoke
from ktpsync.backup import PacketFinder, Retention, Selection, damage_found, no_backup_runs
from ktpsync.central import CentralSettings, running
from ktpsync.cli import main
from ktpsync.clock import SystemClock
from ktpsync.errors import (
    RestoreError,
    SpoolError,
    StationFullError,
    UnavailableError,
    UnknownDestinationError,
)
from ktpsync.keys import StationPublicKey
from ktpsync.office._backup_watch import BackupWatch
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ktpsync.office import Office

HOUR, DAY = 3600.0, 86400.0
IDENTITY = ktpsync.age.generate_identity("x25519")


@define
class ShiftedClock(SystemClock):
    """The system's clock, with time that the test lets pass."""

    seconds: float = 0.0

    def now_ms(self) -> int:
        """The wall clock."""
        return super().now_ms() + round(self.seconds * 1000)

    def monotonic(self) -> float:
        """The clock that never runs backwards."""
        return super().monotonic() + self.seconds


class Place:
    """An office with one disk or two, and what a test does to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ShiftedClock()
        self.told: list[tuple[str, str]] = []
        self.made: list[str] = []

    def set_up(self, settings: dict[str, str], *, office: str = "", more: str = "") -> Office:
        """Set the office up with a backup for each name, and open it."""
        places = ""
        for name, lines in settings.items():
            ktpsync.init_disk(self.folder / name, label=name)
            places += f"[backups.{name}]\nbackend = \"disk\"\npath = '{self.folder / name}'\nreserve = 0\n{lines}\n\n"
        self.config = ktpsync.init_office(
            self.folder / "office", recipients=[str(IDENTITY.recipient)], places=places + more
        )
        text = self.config.read_text().replace("[office]\n", f"[office]\n{office}\n")
        self.config.write_text(text)
        self.office = self.open()
        return self.office

    def open(self) -> Office:
        """Open the office once more."""
        return ktpsync.Office.open(self.config, clock=self.clock)

    def reopen(self) -> None:
        """Close the office and open it again, with what its configuration says now."""
        self.office.close()
        self.office = self.open()

    def record(self, count: int = 1, *, first: int = 0) -> list[str]:
        """Record enrolments."""
        return [
            self.office.submit(make_enrollment(seed, size=3000)).packet_id
            for seed in range(first, first + count)
        ]

    def watch(self) -> BackupWatch:
        """Return what the service runs."""
        return BackupWatch(
            self.office._backups,
            clock=self.clock,
            finished=lambda name, _report: self.made.append(name),
            overdue=lambda name, reason: self.told.append((name, reason)),
        )

    def unplug(self, name: str) -> None:
        """Take a disk away: its mount point stays, empty."""
        (self.folder / name).rename(self.folder / f"{name}.away")
        (self.folder / name).mkdir()

    def plug_in(self, name: str) -> None:
        """Bring it back."""
        (self.folder / name).rmdir()
        (self.folder / f"{name}.away").rename(self.folder / name)

    def run(self, *arguments: object) -> Any:
        """Run a command in this process."""
        return invoke(*arguments, "--config", self.config)

    def flip(self, name: str, packet_id: str) -> Path:
        """Flip a byte of a packet in its pack on a disk."""
        for pack in (self.folder / name / "packs").glob("*.tar"):
            index = json.loads(pack.with_suffix(".index.json").read_text())
            for entry in index["packets"]:
                if entry["packet_id"] == packet_id:
                    data = bytearray(pack.read_bytes())
                    data[entry["offset"] + 40] ^= 1
                    pack.write_bytes(data)
                    return pack
        raise AssertionError(packet_id)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An office that is not set up yet."""
    place = Place(tmp_path)
    yield place
    if hasattr(place, "office"):
        place.office.close()


# --- the schedule ---


def test_a_missed_backup_is_made_when_the_disk_is_plugged_in(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Away: it waits and says so once. Back: it is made at the next look."""
    place.set_up({"usb-a": 'every = "1h"'})
    place.record()
    watch = place.watch()
    assert watch.look("usb-a") is not None
    place.unplug("usb-a")
    place.clock.seconds += 2 * HOUR
    place.record(first=1)

    with caplog.at_level(logging.INFO, logger="ktpsync.backup"):
        looks = [watch.look("usb-a") for _ in range(3)]
    assert [None] * 3 == looks
    assert 1 == len([line for line in caplog.messages if "waits" in line])
    assert [] == list((place.folder / "usb-a").iterdir())

    place.plug_in("usb-a")
    caught_up = watch.look("usb-a")
    assert caught_up is not None
    assert 1 == caught_up.packets
    assert watch.look("usb-a") is None
    assert ["usb-a", "usb-a"] == place.made


def test_a_backup_that_is_too_old_is_told_everywhere(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Exit code and words of status, the log, and the hook, which is called once a day."""
    place.set_up({"usb-a": 'every = "1h"\nmax_age = "2d"'})
    place.record()
    watch = place.watch()
    watch.look("usb-a")
    watch.tell_overdue()
    assert ([], DONE) == (place.told, place.run("status").exit_code)

    place.clock.seconds += 3 * DAY
    for _ in range(3):
        watch.tell_overdue()
    place.clock.seconds += DAY
    watch.tell_overdue()

    assert ["usb-a", "usb-a"] == [name for name, _ in place.told]
    assert "Plug in usb-a" in place.told[0][1]
    assert 2 == len([line for line in caplog.messages if "too long ago" in line])
    assert [place.told[1][1]] == [line for state in place.office.backup_states() for line in state.warnings]


def test_status_ends_with_a_code_for_an_overdue_backup(place: Place) -> None:
    """A program that only looks at the exit code notices too."""
    place.set_up({"usb-a": 'max_age = "30d"'})
    place.record()

    status = place.run("status", "--json")

    assert PERSON == status.exit_code
    assert "There is no backup on usb-a yet." in json.loads(status.stdout)["backups"][0]["warnings"][0]


def test_the_service_makes_what_is_due_and_tells_plugins(place: Place) -> None:
    """Through the real service: a backup by itself, and the hook for an overdue one."""
    place.set_up({"usb-a": 'every = "1h"', "usb-b": 'max_age = "1h"'})
    place.record()
    told: list[str] = []
    stop = threading.Event()

    class Listener:
        """Counts what plugins are told."""

        def ktpsync_backup_overdue(self, backup: str, reason: str) -> None:
            told.append(backup if reason else "")
            stop.set()

    from ktpsync.plugins import hookimpl

    Listener.ktpsync_backup_overdue = hookimpl(Listener.ktpsync_backup_overdue)  # type: ignore[method-assign]
    place.office._registry._manager.register(Listener())
    place.office.run(stop)

    assert ["usb-b"] == told
    assert place.office.backup_states()[0].last_backup_ms is not None


# --- disks in turn ---


def test_two_disks_take_turns(place: Place) -> None:
    """Whichever is there is used; with both there, the older one; and a person is told when to swap."""
    lines = 'every = "1h"\nrotate = "usb"\nswap_after = "7d"'
    place.set_up({"usb-a": lines, "usb-b": lines})
    place.record()
    watch = place.watch()
    for _ in range(3):
        watch.look("usb")
        place.clock.seconds += 2 * HOUR
    assert ["usb-a", "usb-b", "usb-a"] == place.made

    place.unplug("usb-b")
    watch.look("usb")
    place.clock.seconds += 8 * DAY
    watch.look("usb")
    warnings = [line for state in place.office.backup_states() for line in state.warnings]
    assert ["It is time to change disks: put usb-a into the cupboard and plug in usb-b."] == warnings

    place.plug_in("usb-b")
    place.unplug("usb-a")
    place.office.backup("usb")
    assert [] == [line for state in place.office.backup_states() for line in state.warnings]


def test_none_of_the_disks_that_take_turns_is_there(place: Place) -> None:
    """The message names both, and when they were used last."""
    place.set_up({"usb-a": 'rotate = "usb"', "usb-b": 'rotate = "usb"'})
    place.record()
    place.office.backup("usb")
    place.unplug("usb-a")
    place.unplug("usb-b")

    with pytest.raises(UnavailableError, match=r"usb-b \(last backup never\)[\s\S]*usb-a \(last backup 2"):
        place.office.backup("usb")
    with pytest.raises(UnknownDestinationError, match="there are: usb-a, usb-b, usb"):
        place.office.backup("usb-c")


def test_where_the_disk_whose_turn_it_is_fails_the_other_one_is_used(place: Place) -> None:
    """Full or read-only, it is named with the reason, and the backup goes to the one that is plugged in besides."""
    rotate = 'rotate = "usb"\nevery = "1h"\nmax_age = "1d"'
    place.set_up({"usb-a": rotate, "usb-b": rotate})
    place.record()
    place.office.backup("usb-b")
    text = place.config.read_text()
    place.config.write_text(text.replace("reserve = 0", 'reserve = "900 TB"', 1))
    place.reopen()
    place.clock.seconds += 2 * HOUR

    by_hand = place.run("backup", "usb")

    assert DONE == by_hand.exit_code
    assert "usb-a: the disk" in by_hand.stderr
    assert "is full" in by_hand.stderr
    assert "The backup went to usb-b instead." in by_hand.stderr
    place.watch().look("usb")
    assert ["usb-b"] == place.made


def test_where_the_disk_whose_turn_it_is_is_damaged_the_other_one_is_used(place: Place) -> None:
    """And a person is told of the damage; with both damaged, of both."""
    place.set_up(dict.fromkeys(("usb-a", "usb-b"), 'rotate = "usb"'))
    place.record()
    place.office.backup("usb")
    place.office.backup("usb")
    (place.folder / "usb-a/ktpsync-repository.json").write_text("?")
    place.record(first=1)

    answer = place.run("backup", "usb")

    assert DAMAGED == answer.exit_code
    assert "usb-a: ktpsync-repository.json is not readable JSON" in answer.stderr
    assert "The backup went to usb-b instead." in answer.stderr
    assert 2 == len([*(place.folder / "usb-b/packs").glob("*.tar")])
    (place.folder / "usb-b/ktpsync-repository.json").write_text("?")
    both = place.run("backup", "usb")
    assert DAMAGED == both.exit_code
    assert {"usb-a: ktpsync", "usb-b: ktpsync"} <= {
        line[:14] for line in both.stderr.replace("ktpsync: ", "").split("\n")
    }


def test_why_the_last_try_failed_is_told_with_the_overdue_backup(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is plugged in and full is not asked to be plugged in alone: the reason stands beside it."""
    place.set_up({"usb-a": 'every = "1h"\nmax_age = "1d"'})
    place.record()
    place.office.backup("usb-a")
    text = place.config.read_text()
    place.config.write_text(text.replace("reserve = 0", 'reserve = "900 TB"'))
    place.reopen()
    place.record(first=5)
    place.clock.seconds += 2 * DAY

    place.watch().look("usb-a")

    (warned,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "the backup to usb-a is due and waits: usb-a: the disk" in warned
    (state,) = place.office.backup_states()
    (warning,) = state.warnings
    assert "too long ago. The last try on usb-a failed at" in warning
    assert "is full" in warning
    place.config.write_text(text)
    place.reopen()
    place.watch().look("usb-a")
    place.clock.seconds += 2 * DAY
    assert "The last try" not in place.office.backup_states()[0].warnings[0]


@pytest.mark.parametrize(
    ("office", "backed_up", "told"),
    [
        ("offload_copies = 2", 1, "names 1 backup and offload_copies = 2 asks for more"),
        ("", 0, "Run `ktpsync backup usb-a`, then `ktpsync verify usb-a`"),
    ],
)
def test_what_keeps_packets_on_a_full_disk_is_told(
    place: Place, office: str, backed_up: int, told: str
) -> None:
    """Not in the service's log alone; and not where nothing keeps them."""
    place.set_up({"usb-a": ""}, office=f'offload_below = "900 TB"\n{office}')
    place.record(2)
    if backed_up:
        place.office.backup("usb-a")
        place.office.verify("usb-a")

    assert told in place.run("status").stderr

    place.config.write_text(place.config.read_text().replace("offload_copies = 2", ""))
    place.reopen()
    place.office.backup("usb-a")
    place.office.verify("usb-a")
    assert not [line for line in place.office.attention() if "runs low" in line]


def test_a_full_disk_is_told_with_what_it_lacks(place: Place) -> None:
    """How much there is, how much is needed, how much is kept: the three add up for whoever reads them."""
    place.set_up({"usb-a": ""}, office='reserve = "900 TB"')
    with pytest.raises(StationFullError) as caught:
        place.record()
    assert "free; this needs " in str(caught.value)
    assert "900.0 TB of it are kept in reserve" in str(caught.value)
    assert "offload packets" not in str(caught.value)


def test_a_configuration_that_is_hardly_meant_so_is_told(place: Place) -> None:
    """Two backups in one place are a mistake; a turn of one, and copies that cannot be, are said."""
    place.set_up({"usb-a": 'rotate = "usb"'}, office='offload_below = "1 GB"\noffload_copies = 2')
    answer = place.run("config", "check")
    assert DONE == answer.exit_code
    assert "asks for more backups than there are (1)" in answer.stdout
    assert "takes turns as 'usb' with no other backup" in answer.stdout

    text = place.config.read_text()
    place.config.write_text(text + text[text.index("[backups.usb-a]") :].replace("usb-a]", "usb-b]", 1))
    answer = place.run("config", "check")
    assert BAD_INPUT == answer.exit_code
    assert "[backups.usb-b] is the same place as [backups.usb-a]" in answer.stdout
    place.config.write_text(place.config.read_text() + 'disk = "8e5b59e5-a63f-472a-a152-a2b1f27b8b6c"\n')
    assert DONE == place.run("config", "check").exit_code


def test_a_backup_of_disks_in_turn_says_which_one_it_was(place: Place) -> None:
    """In words and for programs; where there is nothing to choose, no more is said. A disk is named once."""
    place.set_up({"usb-a": 'rotate = "usb"', "usb-b": 'rotate = "usb"', "usb-c": ""})
    place.record()
    place.office.backup("usb-a")

    told = place.run("backup", "usb")

    assert "The disk whose turn it is, usb-b, has it." in told.stdout
    assert "usb-a" == json.loads(place.run("backup", "usb", "--json").stdout)["name"]
    assert "turn" not in place.run("backup", "usb-c").stdout
    for name in ("usb-a", "usb-b"):
        place.unplug(name)
    away = place.run("backup", "usb").stderr
    assert "usb-a (last backup 20" in away
    assert "): usb-a: " not in away


def test_a_disk_that_was_replaced_is_told_how_to_go_on(place: Place) -> None:
    """The advice leads to a backup that works: a new name for the new disk."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")
    shutil.rmtree(place.folder / "usb-a")
    ktpsync.init_disk(place.folder / "usb-a", label="new")

    told = place.run("backup", "usb-a")

    assert PERSON == told.exit_code
    assert "a backup with a new name there for the new disk" in told.stderr
    place.config.write_text(place.config.read_text().replace("[backups.usb-a]", "[backups.usb-new]"))
    assert DONE == place.run("backup", "usb-new").exit_code
    assert DONE == place.run("backup", "forget", "usb-a", "--who", "wati", "--why", "broken").exit_code


def test_a_backup_that_a_person_could_not_make_is_told(place: Place) -> None:
    """Until it was made: when and why the try failed, and how many packets are not in it."""
    place.set_up({"usb-a": ""})
    place.record(2)
    place.unplug("usb-a")
    assert WAITING == place.run("backup", "usb-a").exit_code

    told = place.run("status")

    assert PERSON == told.exit_code
    assert "No packet is on usb-a yet; the oldest was recorded at " in told.stderr
    assert "The last try on usb-a failed at " in told.stderr
    place.plug_in("usb-a")
    assert DONE == place.run("backup", "usb-a").exit_code
    place.record(1, first=5)
    (state,) = place.office.backup_states()
    assert (1, ()) == (state.lacking, state.warnings)


@pytest.mark.parametrize(
    ("earlier", "told"), [(0, "No packet is on usb-a yet; "), (2, "Packets that are not on usb-a yet: 1. ")]
)
def test_packets_that_are_on_no_backup_for_long_are_told(place: Place, earlier: int, told: str) -> None:
    """Also where nothing says how often a backup is to be made; one that has all packets may be as old as it likes."""
    place.set_up({"usb-a": ""})
    if earlier:
        place.record(earlier)
        place.office.backup("usb-a")
        place.clock.seconds += 30 * DAY
    place.record(1, first=5)
    assert () == place.office.backup_states()[0].warnings

    place.clock.seconds += 3 * DAY + HOUR

    (warning,) = place.office.backup_states()[0].warnings
    assert warning.startswith(told)
    assert warning.endswith("Plug in usb-a and run `ktpsync backup usb-a`.")
    place.office.backup("usb-a")
    place.clock.seconds += 30 * DAY
    assert () == place.office.backup_states()[0].warnings


def test_a_backup_that_is_dated_in_the_future_points_at_the_clock(place: Place) -> None:
    """It was made while the clock was years ahead; that is no long time ago."""
    place.set_up({"usb-a": 'max_age = "1d"'})
    place.clock.seconds += 900 * DAY
    place.office.backup("usb-a")
    place.clock.seconds -= 900 * DAY

    (warning,) = place.office.backup_states()[0].warnings

    assert "which is still to come: this station's clock was wrong then, or it is wrong now" in warning
    assert "too long ago" not in warning


def test_the_disk_that_is_not_plugged_in_is_named(place: Place) -> None:
    """By the name of the backup and by its sticker, as well as by its place."""
    place.set_up({"usb-a": ""})
    place.office.backup("usb-a")
    place.unplug("usb-a")

    told = place.run("backup", "usb-a").stderr

    assert "usb-a: the disk usb-a (" in told
    assert f"is not plugged in. No marked disk at {place.folder / 'usb-a'}. Plug in the right disk" in told


@pytest.mark.slow
def test_a_folder_with_the_name_of_a_backup_is_not_taken_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another disk in its place is refused, wherever the command is run; a path means the folder."""
    place.set_up({"usb-a": "", "usb-b": ""})
    place.record()
    for name in ("usb-a", "usb-b"):
        place.office.backup(name)
    place.unplug("usb-a")
    (place.folder / "usb-a").rmdir()
    (place.folder / "usb-b").rename(place.folder / "usb-a")
    monkeypatch.chdir(place.folder)

    for command in (["verify", "usb-a"], ["backup", "list", "usb-a"]):
        refused = place.run(*command)
        assert PERSON == refused.exit_code
        assert "is expected. Plug in the right disk" in refused.stderr
    assert DONE == place.run("verify", "./usb-a").exit_code
    assert DONE == invoke("verify", "usb-a").exit_code


def test_ransomware_that_takes_one_disk_leaves_the_other(place: Place) -> None:
    """What was plugged in is scrambled and noticed; the one in the cupboard restores everything up to then."""
    lines = 'rotate = "usb"'
    place.set_up({"usb-a": lines, "usb-b": lines})
    first = place.record(2)
    place.office.backup("usb")
    place.clock.seconds += HOUR
    place.office.backup("usb")
    place.unplug("usb-a")
    for path in (place.folder / "usb-b").rglob("*.*"):
        path.write_bytes(b"pay us")

    assert place.run("verify", "usb-b").exit_code != DONE
    restored = ktpsync.restore(place.folder / "usb-a.away", into=place.folder / "new", identity=IDENTITY)
    assert (set(first), True) == (set(restored.packet_ids), restored.ok)


# --- routine verification, pruning ---


def test_everything_is_read_back_within_the_time_that_is_set(place: Place) -> None:
    """A share at each backup; damage anywhere is found by one of them, and the exit code says so."""
    place.set_up({"usb-a": 'verify_within = "10d"'})
    ids = []
    for day in range(5):
        ids += place.record(first=day)
        place.office.backup("usb-a")
    pack = place.flip("usb-a", ids[3])

    found: list[str] = []
    codes = set()
    for _day in range(12):
        place.clock.seconds += DAY
        report = place.office.backup("usb-a")
        found += report.found
        codes.add(report.ok)

    assert {True, False} == codes
    assert all(pack.name in line for line in found)
    assert any(ids[3] in line and "Good copy: spool" in line for line in found)


def test_what_the_service_wrote_is_read_back_at_once(place: Place) -> None:
    """The outbox knows a scheduled backup's packets as verified, which is what lets them be offloaded."""
    place.set_up({"usb-a": 'every = "1h"'})
    place.record(2)

    place.watch().look("usb-a")

    assert place.office.outbox.offload(1, who="test", prove=lambda _: True) > 0


def test_the_service_prunes_once_a_day(place: Place) -> None:
    """With a retention in the configuration old snapshots go by themselves, and packets stay."""
    place.set_up({"usb-a": 'every = "8h"\nkeep_last = 2'})
    watch = place.watch()
    ids = []
    for number in range(18):
        ids += place.record(first=number)
        watch.look("usb-a")
        place.clock.seconds += 8 * HOUR

    left = list((place.folder / "usb-a" / "snapshots").glob("*.manifest.json"))
    assert 18 == len(place.made)
    assert len(left) < 10
    assert set(ids) == set(
        ktpsync.restore(place.folder / "usb-a", into=place.folder / "new", identity=IDENTITY).packet_ids
    )


def test_prune_at_the_command_line(place: Place) -> None:
    """A dry run lists and changes nothing; then the same goes."""
    place.set_up({"usb-a": ""})
    for day in range(4):
        place.record(first=day)
        place.office.backup("usb-a")
        place.clock.seconds += DAY

    planned = place.run("backup", "prune", "usb-a", "--keep-last", 1, "--dry-run")
    before = len(list((place.folder / "usb-a" / "snapshots").iterdir()))
    done = place.run("backup", "prune", "usb-a", "--keep-last", 1, "--json")

    assert "Would drop 4 snapshots and 0 packets" in planned.stdout
    assert 12 == before
    assert 4 == len(json.loads(done.stdout)["dropped"])
    assert 3 == len(list((place.folder / "usb-a" / "snapshots").iterdir()))
    assert DONE == place.run("verify", "usb-a").exit_code


# --- mending ---


def test_damage_is_named_with_its_copies_and_repaired_from_the_spool(place: Place) -> None:
    """Verify says where a good copy is; --repair-from brings it, and the next verify is clean."""
    place.set_up({"usb-a": ""})
    bad, _ = place.record(2)
    place.office.backup("usb-a")
    place.flip("usb-a", bad)

    found = place.run("verify", "usb-a")
    mended = place.run("verify", "usb-a", "--repair-from", "spool")

    assert DAMAGED == found.exit_code
    assert f"packet {bad}: its bytes are damaged. Good copy: spool." in found.stderr
    assert (DONE, True) == (mended.exit_code, "Repaired: packs/" in mended.stdout)
    assert DONE == place.run("verify", "usb-a").exit_code


def test_repair_from_another_backup_and_from_a_disk_destination(place: Place) -> None:
    """With the spool gone too, the other disk has it, and so has a disk that packets were delivered to."""
    carried = place.folder / "carried"
    ktpsync.init_disk(carried)
    place.set_up(
        {"usb-a": "", "usb-b": ""},
        more=f"[destinations.carried]\nbackend = \"disk\"\npath = '{carried}'\nreserve = 0\n",
    )
    bad = place.record(2)[0]
    place.office.sync()
    place.office.backup("usb-a")
    place.office.backup("usb-b")
    place.office.outbox.spool.discard(bad)

    for source in ("usb-b", "carried"):
        place.flip("usb-a", bad)
        found = place.run("verify", "usb-a")
        assert "Good copy: usb-b, carried." in found.stderr
        assert DONE == place.run("verify", "usb-a", "--repair-from", source).exit_code


@contextlib.contextmanager
def packet_at_centre(place: Place) -> Iterator[str]:
    """Set the office up with a backup and a centre, for as long as the block runs; both hold the packet of this id."""
    place.set_up({"usb-a": ""})
    station = StationPublicKey.from_pem((place.folder / "office/data/keys/station.pub.pem").read_bytes())
    settings = CentralSettings(
        folder=place.folder / "centre", identities=[IDENTITY], tokens={"right": "3578"}, stations=[station]
    )
    with running(settings) as url:
        text = f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = "right"\n'
        place.config.write_text(place.config.read_text() + text)
        place.reopen()
        (packet_id,) = place.record(1)
        assert 1 == place.office.sync().delivered
        place.office.backup("usb-a")
        yield packet_id


def test_repair_from_the_centre(place: Place) -> None:
    """The last good copy is at the centre, which gives an office its own packets back."""
    with packet_at_centre(place) as bad:
        place.office.outbox.spool.discard(bad)
        place.flip("usb-a", bad)

        found = place.run("verify", "usb-a")
        mended = place.run("verify", "usb-a", "--repair-from", "central")

    assert "Good copy: central." in found.stderr
    assert DONE == mended.exit_code


@pytest.mark.slow
def test_the_centre_gives_a_packet_back_to_the_spool(place: Place) -> None:
    """The station's file and the backup's copy are damaged; `doctor --repair` asks where it was delivered."""
    with packet_at_centre(place) as bad:
        path = place.office.outbox.spool.path(bad)
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        place.flip("usb-a", bad)

        mended = place.run("doctor", "--repair", "--who", "siti")

    assert DONE == mended.exit_code
    assert f"Packet {bad} was damaged: a good copy from central is in its place now." in mended.stdout
    assert good == path.read_bytes()


def test_a_centre_that_is_away_is_told_of_a_repair(place: Place) -> None:
    """What could not be asked is named, with code 3: the good copy may well be there."""
    with packet_at_centre(place) as bad:
        place.office.outbox.spool.discard(bad)
        place.flip("usb-a", bad)

    answer = place.run("verify", "usb-a", "--repair-from", "central")

    assert WAITING == answer.exit_code
    assert "central could not be asked for good copies: " in answer.stderr


def test_an_unknown_place_to_repair_from_is_named(place: Place) -> None:
    """The message lists the places there are."""
    place.set_up({"usb-a": "", "usb-b": ""})
    place.record()
    place.office.backup("usb-a")

    answer = place.run("verify", "usb-a", "--repair-from", "usb-c")

    assert 1 == answer.exit_code
    assert "there are: spool, usb-b" in answer.stderr


# --- the marker of the repository ---


def damage_marker(place: Place, how: str) -> None:
    """Damage the small file that says which repository it is: no copy of it is anywhere."""
    marker = place.folder / "usb-a/ktpsync-repository.json"
    if how == "missing":
        marker.unlink()
    elif how == "damaged":
        marker.write_bytes(marker.read_bytes()[:-9])
    else:
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"repository": str(uuid.uuid4())}))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["missing", "damaged", "of another"])
def test_a_backup_whose_marker_is_lost_restores_and_is_mended(place: Place, how: str) -> None:
    """Its signed snapshots say which repository it is: a few hundred bytes cost nobody the backup."""
    place.set_up({"usb-a": ""})
    ids = place.record(2)
    place.office.backup("usb-a")
    damage_marker(place, how)
    identity = place.folder / "identity.txt"
    ktpsync.age.write_identity_file(identity, IDENTITY)

    found = place.run("verify", "usb-a")
    anywhere = invoke("verify", place.folder / "usb-a")
    restored = invoke(
        "restore", place.folder / "usb-a", "--into", place.folder / "new", "--identity", identity
    )
    made = place.run("backup", "usb-a")
    mended = place.run("verify", "usb-a", "--repair-from", "spool")

    assert [DAMAGED] * 3 == [answer.exit_code for answer in (found, anywhere, restored)]
    assert "ktpsync-repository.json" in found.stderr
    assert "Restored 2 packets" in restored.stdout
    assert made.exit_code == (DAMAGED if how == "damaged" else PERSON)
    assert DONE == mended.exit_code
    assert "Repaired: ktpsync-repository.json" in mended.stdout
    with ktpsync.Office.open(place.folder / "new") as office:
        assert set(ids) == {packet.packet_id for packet in office.outbox.packets()}
    place.record(first=5)
    assert DONE == place.run("backup", "usb-a").exit_code


def test_a_marker_is_not_mended_where_another_repository_lives(place: Place) -> None:
    """With snapshots of the repository that it names, it is that one's, and nobody writes it anew."""
    place.set_up({"usb-a": "", "usb-b": ""})
    place.record()
    for name in ("usb-a", "usb-b"):
        place.office.backup(name)
    shutil.copytree(place.folder / "usb-b/snapshots", place.folder / "usb-a/snapshots", dirs_exist_ok=True)
    marker = place.folder / "usb-a/ktpsync-repository.json"
    shutil.copy(place.folder / "usb-b/ktpsync-repository.json", marker)
    before = marker.read_bytes()

    answer = place.run("verify", "usb-a", "--repair-from", "spool")

    assert PERSON == answer.exit_code
    assert before == marker.read_bytes()


@pytest.mark.slow
def test_opening_a_shared_backup_calls_nothing_of_the_other_station_damaged(place: Place) -> None:
    """Its packets are signed by a key that is not trusted here, or sealed to others: they are whole, and counted."""
    place.set_up({"usb-a": ""})
    place.record(2)
    place.office.backup("usb-a")
    for number, identity in enumerate((IDENTITY, ktpsync.age.generate_identity("x25519"))):
        config = ktpsync.init_office(
            place.folder / f"other-{number}",
            recipients=[str(identity.recipient)],
            places=f"[backups.usb-a]\nbackend = \"disk\"\npath = '{place.folder / 'usb-a'}'\nreserve = 0\n",
        )
        with ktpsync.Office.open(config) as other:
            other.submit(make_enrollment(50 + number, size=3000))
            other.backup("usb-a")

    report = place.office.verify("usb-a", identities=[IDENTITY])

    assert () == report.problems
    assert 4 == report.packets
    assert "2 packets of other stations could not be opened here; their bytes are whole." in report.notes


# --- what a script learns ---


def newer(place: Place) -> None:
    """Let the repository on the disk be of a newer release."""
    marker = place.folder / "usb-a/ktpsync-repository.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": 2}))


def another(place: Place) -> None:
    """Let another repository be on the same disk."""
    marker = place.folder / "usb-a/ktpsync-repository.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"repository": str(uuid.uuid4())}))


def another_disk(place: Place) -> None:
    """Plug in another disk in the place of the right one."""
    place.unplug("usb-a")
    ktpsync.init_disk(place.folder / "usb-a", label="blue")


def full(place: Place) -> None:
    """Let the disk have less room than is kept in reserve."""
    place.config.write_text(place.config.read_text().replace("reserve = 0", 'reserve = "900 TB"'))


@pytest.mark.parametrize(
    ("trouble", "code", "told"),
    [
        (lambda place: place.unplug("usb-a"), WAITING, "NotPluggedInError"),
        (another_disk, PERSON, "WrongDiskError"),
        (
            lambda place: (place.folder / "usb-a/ktpsync-disk.json").write_text("?"),
            PERSON,
            "DoubtfulDiskError",
        ),
        (full, PERSON, "DiskFullError"),
        (another, PERSON, "RepositoryError"),
        (newer, PERSON, "RepositoryError"),
        (
            lambda place: (place.folder / "usb-a/ktpsync-repository.json").write_text("?"),
            DAMAGED,
            "DamagedBackupError",
        ),
    ],
    ids=["away", "another disk", "doubtful disk", "full", "another repository", "newer", "damaged"],
)
def test_a_script_can_tell_why_there_is_no_backup(
    place: Place, trouble: Callable[[Place], object], code: int, told: str
) -> None:
    """Whether to run it again later, or to call somebody, is in the exit code; what it is, in the error's class."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")
    place.record(first=1)
    trouble(place)

    answer = place.run("backup", "usb-a", "--json")

    error = json.loads(answer.stdout)["error"]
    assert (code, code, told) == (answer.exit_code, error["exit"], error["class"])


def test_a_script_can_tell_that_another_backup_is_running(place: Place) -> None:
    """It is run again later."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")

    with no_backup_runs(place.folder / "office/data/backups"):
        answer = place.run("backup", "usb-a", "--json")

    assert WAITING == answer.exit_code
    assert "BackupInUseError" == json.loads(answer.stdout)["error"]["class"]


# --- a full station ---


def fill_up(
    place: Place, *, copies: int = 1, backups: dict[str, str] | None = None, office: str = ""
) -> None:
    """Set up an office whose disk is always too full."""
    carried = place.folder / "carried"
    ktpsync.init_disk(carried)
    place.set_up(
        backups or {"usb-a": 'every = "1h"'},
        office=f'offload_below = "900 TB"\noffload_copies = {copies}\n{office}',
        more=f"[destinations.carried]\nbackend = \"disk\"\npath = '{carried}'\nreserve = 0\n",
    )


def spooled(place: Place) -> int:
    """Return how many packets the spool holds."""
    return len(list((place.folder / "office/data/spool").glob("*/*.age")))


def test_a_full_station_drops_what_a_present_disk_holds_and_delivers_it_from_there(place: Place) -> None:
    """Away: status and the delivery name the disk, and no attempt is used up. Back: delivered."""
    fill_up(place)
    ids = place.record(3)
    place.office.backup("usb-a")
    assert place.office._backups.offload.run() > 0
    assert 0 == spooled(place)

    place.unplug("usb-a")
    waiting = place.office.sync()
    status = place.run("status")
    (delivery,) = place.office.status(ids[0]).deliveries
    assert (0, 3) == (waiting.delivered, waiting.waiting)
    assert "Plug in the backup that holds them, usb-a" in str(delivery.reason)
    assert 0 == delivery.attempts
    assert 0 == delivery.failures
    assert PERSON == status.exit_code
    assert (
        "usb-a holds 3 packets still to be delivered that this station has not any more: plug it in"
        in status.stderr
    )

    place.plug_in("usb-a")
    assert 3 == place.office.sync().delivered
    assert DONE == place.run("status").exit_code


def test_without_a_disk_at_hand_nothing_is_dropped(place: Place) -> None:
    """A copy in the cupboard is verified, but cannot give the packet back today."""
    fill_up(place)
    place.record(2)
    place.watch().look("usb-a")
    place.unplug("usb-a")

    assert 0 == place.office._backups.offload.run()
    assert 2 == spooled(place)


def outdated_clone(place: Place) -> list[str]:
    """Back up to usb-a, clone it, and go on with it; return the ids of the two packets that the clone has not."""
    fill_up(place)
    place.record()
    place.office.backup("usb-a")
    shutil.copytree(place.folder / "usb-a", place.folder / "clone")
    ids = place.record(2, first=5)
    place.office.backup("usb-a")
    return ids


def plug_in_clone(place: Place) -> None:
    """Put usb-a away, and its clone in its place."""
    place.unplug("usb-a")
    (place.folder / "usb-a").rmdir()
    (place.folder / "clone").rename(place.folder / "usb-a")


def test_a_clone_of_the_disk_from_before_gives_no_room(place: Place) -> None:
    """It has the disk's UUID, and not what was backed up since: nothing is dropped because it is there."""
    outdated_clone(place)
    plug_in_clone(place)

    assert 0 == place.office._backups.offload.run()
    assert 3 == spooled(place)


def test_what_left_for_a_disk_comes_back_from_it_though_a_clone_was_used_meanwhile(place: Place) -> None:
    """Its copies were given up when the clone was backed up to; the bytes on it are as good as before."""
    ids = outdated_clone(place)
    assert place.office._backups.offload.run() > 0
    plug_in_clone(place)
    assert "All packets are copied again" in place.office.backup("usb-a").found[0]
    shutil.rmtree(place.folder / "usb-a")
    (place.folder / "usb-a.away").rename(place.folder / "usb-a")

    for packet_id in ids:
        known = place.office.status(packet_id).packet
        with place.office.outbox.spool.open(packet_id, known.sha256) as file:
            assert known.sha256 == hashlib.sha256(file.read()).hexdigest()
    assert 3 == place.office.sync().delivered


IN_TURN = dict.fromkeys(("usb-a", "usb-b"), 'every = "1h"\nrotate = "usb"\n')


def read_back_in_turn(place: Place, *, office: str = "") -> list[str]:
    """Have two packets backed up and read back on usb-a, which is then put away, and on usb-b a day later."""
    fill_up(place, copies=2, backups=IN_TURN, office=office)
    ids = place.record(2)
    place.unplug("usb-b")
    place.watch().look("usb")
    assert (0, 2) == (place.office._backups.offload.run(), spooled(place))
    place.unplug("usb-a")
    place.plug_in("usb-b")
    place.clock.seconds += DAY
    place.watch().look("usb")
    return ids


def test_two_disks_that_are_never_there_together_make_room(place: Place) -> None:
    """The first was read back yesterday, the second is read now: what both hold goes, and comes back from either."""
    read_back_in_turn(place)

    assert place.office._backups.offload.run() > 0
    assert 0 == spooled(place)

    place.unplug("usb-b")
    place.plug_in("usb-a")
    assert 2 == place.office.sync().delivered


@pytest.mark.slow
def test_disks_that_were_read_back_too_long_ago_are_read_back_again_in_turn(place: Place) -> None:
    """Each is read again while it is plugged in, and then counts when the other one is."""
    read_back_in_turn(place)
    place.clock.seconds += 100 * DAY
    assert (0, 2) == (place.office._backups.offload.run(), spooled(place))
    place.unplug("usb-b")
    place.plug_in("usb-a")
    place.clock.seconds += DAY

    assert place.office._backups.offload.run() > 0
    assert 0 == spooled(place)


def test_an_old_proof_of_a_disk_that_is_there_and_fails_makes_no_room(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in the cupboard: what was read back from it yesterday says little of today."""
    read_back_in_turn(place)
    place.plug_in("usb-a")
    places = place.office._backups.places
    opened = places.opened

    def opened_or_not(name: str) -> Any:
        if name == "usb-a":
            raise UnavailableError("The disk at usb-a failed: Input/output error.")
        return opened(name)

    monkeypatch.setattr(places, "opened", opened_or_not)

    assert (0, 2) == (place.office._backups.offload.run(), spooled(place))


def test_where_one_disk_lost_a_packet_the_other_one_is_named(place: Place) -> None:
    """The disk that is plugged in does not give it back: it is not waited for, and a person is told of both."""
    (bad, _) = read_back_in_turn(place)
    assert place.office._backups.offload.run() > 0
    place.flip("usb-b", bad)

    first = place.office.sync()
    status = place.run("status")

    assert (1, 1) == (first.delivered, first.waiting)
    assert PERSON == status.exit_code
    assert "Damage was found on usb-b" in status.stderr
    assert (
        "usb-a holds 1 packet still to be delivered that this station has not any more: plug it in"
        in status.stderr
    )
    place.plug_in("usb-a")
    assert 1 == place.office.sync().delivered


@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble",
    [
        "none at hand",
        "too long ago",
        "read in the future",
        "found damaged",
        "damage there",
        "damaged here",
        "forgotten",
    ],
)
def test_an_old_proof_alone_makes_no_room(place: Place, trouble: str) -> None:
    """It counts for a time, for a disk without known damage, and only beside one that is read at that moment."""
    ids = read_back_in_turn(place, office='offload_proof_age = "30d"')
    (lineage,) = {place.office._backups.places.lineage("usb-a")}
    if trouble == "none at hand":
        place.unplug("usb-b")
    elif trouble == "too long ago":
        place.clock.seconds += 30 * DAY
    elif trouble == "read in the future":
        place.clock.seconds -= 2 * DAY
    elif trouble == "found damaged":
        place.office.outbox.lose_copies(lineage, ids, why="found")
    elif trouble == "damage there":
        known = str(place.office._backups.places.known("usb-a"))
        damage_found(place.folder / "office/data/backups", known, place.clock.now_ms())
    elif trouble == "damaged here":
        for packet_id in ids:
            place.flip("usb-b", packet_id)
    else:
        take_out(place, "usb-a")

    assert 0 == place.office._backups.offload.run()
    assert 2 == spooled(place)


def test_a_copy_in_a_new_pack_is_read_back_before_it_counts(place: Place) -> None:
    """A pack that a prune put together from others was verified by nobody: the disk is asked again."""
    place.set_up({"usb-a": ""})
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    place.office.verify("usb-a")
    (lineage,) = place.office.outbox.verified_copies(packet_id)
    sha256 = place.office.status(packet_id).packet.sha256

    place.office.outbox.mark_copied(lineage, {packet_id: sha256}, "another")

    assert {} == place.office.outbox.verified_copies(packet_id)
    assert place.office.outbox.unverified(lineage)
    place.office.verify("usb-a")
    assert not place.office.outbox.unverified(lineage)


def test_damage_found_on_a_disk_keeps_a_packet_in_the_spool(place: Place) -> None:
    """A copy that was verified once and is found damaged later counts no more."""
    fill_up(place)
    bad, good = place.record(2)
    place.watch().look("usb-a")
    place.flip("usb-a", bad)
    place.office.verify("usb-a")

    place.office._backups.offload.run()

    assert (True, False) == tuple(place.office.outbox.spool.path(i).exists() for i in (bad, good))


def test_a_copy_that_was_damaged_after_its_verification_frees_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Months later a byte of the disk has turned: the spool's copy is the last good one, stays, and is named."""
    fill_up(place)
    bad, good = place.record(2)
    place.office.backup("usb-a")
    place.flip("usb-a", bad)

    assert place.office._backups.offload.make_room(1 << 30) > 0

    assert (True, False) == tuple(place.office.outbox.spool.path(i).exists() for i in (bad, good))
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"packet {bad} is not dropped" in told
    assert "`ktpsync verify usb-a --repair-from spool`" in told
    status = place.run("status")
    assert PERSON == status.exit_code
    assert "Damage was found on usb-a" in status.stderr

    assert DONE == place.run("verify", "usb-a", "--repair-from", "spool").exit_code
    assert "Damage was found" not in place.run("status").stderr
    assert place.office._backups.offload.make_room(1 << 30) > 0
    assert 0 == spooled(place)
    assert 2 == place.office.sync().delivered


def test_the_proof_is_read_from_the_medium(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cache, which still has what was written, does not answer for the disk."""
    fill_up(place)
    place.record(2)
    place.office.backup("usb-a")
    dropped = []
    real = ktpsync.files.drop_page_cache

    def drop(file: Any) -> None:
        dropped.append(file.name)
        real(file)

    monkeypatch.setattr("ktpsync.files.drop_page_cache", drop)

    place.office._backups.offload.make_room(1 << 30)

    (pack,) = (place.folder / "usb-a" / "packs").glob("*.tar")
    assert [str(pack)] * 2 == [name for name in map(str, dropped) if name.endswith(".tar")]
    assert 0 == spooled(place)


def test_a_pack_that_no_snapshot_names_proves_nothing(place: Place) -> None:
    """Left by a backup that was interrupted, it may be deleted by the next one."""
    fill_up(place)
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    pack = place.flip("usb-a", packet_id)
    name = str(uuid.UUID(int=uuid.UUID(pack.stem).int + 1))
    good = bytearray(pack.read_bytes())
    index = json.loads(pack.with_suffix(".index.json").read_text())
    good[index["packets"][0]["offset"] + 40] ^= 1
    pack.with_name(f"{name}.tar").write_bytes(good)
    pack.with_name(f"{name}.index.json").write_text(json.dumps(index | {"pack": name}))

    assert 0 == place.office._backups.offload.make_room(1 << 30)
    assert 1 == spooled(place)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["damaged", "unplugged", "pulled out meanwhile"])
def test_where_two_copies_are_asked_for_both_are_proven(
    place: Place, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no old proof counts and the second disk's copy is damaged or cannot be read now, the packet stays."""
    fill_up(place, copies=2, backups={"usb-a": "", "usb-b": ""}, office='offload_proof_age = "0s"')
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    place.office.backup("usb-b")
    if trouble == "damaged":
        place.flip("usb-b", packet_id)
    elif trouble == "unplugged":
        place.unplug("usb-b")
    else:
        real = PacketFinder.read

        def read(finder: PacketFinder, *arguments: Any) -> bytes:
            if not (place.folder / "usb-b.away").exists():
                place.unplug("usb-b")
            return real(finder, *arguments)

        monkeypatch.setattr(PacketFinder, "read", read)

    assert 0 == place.office._backups.offload.make_room(1 << 30)

    assert 1 == spooled(place)
    assert (trouble == "damaged") == ("Damage was found on usb-b" in place.run("status").stderr)
    holders = place.office.outbox.copy_holders(packet_id)
    assert (1 if trouble == "damaged" else 2) == len(holders)


def test_a_disk_that_is_needed_for_room_is_named(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """With two copies asked for, the message says which one to plug in next."""
    fill_up(place, copies=2, backups={"usb-a": "", "usb-b": ""})
    place.record()
    place.office.backup("usb-a")
    place.unplug("usb-b")

    place.office._backups.offload.run()

    assert "plug in usb-b and make a backup there, one after the other is enough" in caplog.text
    assert "within 60 d before" in caplog.text


def room_when_empty(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the station's disk be full as long as the spool holds a packet."""
    monkeypatch.setattr(
        "ktpsync.outbox._folder_spool.free_bytes", lambda _folder: 0 if spooled(place) else 1 << 40
    )


def test_a_submission_that_finds_no_room_makes_some(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording goes on: packets that the plugged-in disk holds make way for the new one."""
    fill_up(place)
    place.record(3)
    place.watch().look("usb-a")
    room_when_empty(place, monkeypatch)

    place.record(first=9)

    assert 1 == spooled(place)


def test_in_a_transaction_of_the_application_no_room_is_made_and_nobody_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping packets would wait for the very transaction that waits for it; the full disk is told at once."""
    fill_up(place)
    place.record()
    place.watch().look("usb-a")
    room_when_empty(place, monkeypatch)

    engine = sa.create_engine(f"sqlite:///{place.office.outbox._database.address}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ktpsync_destination SET epoch = epoch"))
        with pytest.raises(StationFullError):
            place.office.submit(make_enrollment(9, size=3000), connection=connection)

    assert 1 == spooled(place)


def test_a_submission_is_refused_where_no_room_can_be_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any backup a full disk is told as before, and nothing is lost."""
    fill_up(place)
    place.record()
    monkeypatch.setattr("ktpsync.outbox._folder_spool.free_bytes", lambda _folder: 0)

    with pytest.raises(StationFullError, match="Nothing was stored"):
        place.record(first=9)

    assert 1 == spooled(place)


def test_packets_that_are_only_on_another_disk_do_not_stop_a_backup(place: Place) -> None:
    """A second disk gets what can be read, and the rest once both are plugged in."""
    fill_up(place, backups={"usb-a": "", "usb-b": ""})
    place.record(2)
    place.office.backup("usb-a")
    place.office._backups.offload.run()
    place.unplug("usb-a")
    place.record(1, first=5)

    partly = place.office.backup("usb-b")
    place.plug_in("usb-a")
    wholly = place.office.backup("usb-b")

    assert (1, 2) == (partly.packets, wholly.packets)
    assert "2 packets were not copied" in partly.warnings[0]
    assert "Plug in the backup that holds them, usb-a" in partly.warnings[0]


def test_bytes_that_no_backup_holds_are_said_to_be_lost(place: Place) -> None:
    """A packet whose file was deleted is not waited for."""
    place.set_up({"usb-a": ""})
    (lost,) = place.record()
    place.office.outbox.spool.discard(lost)

    with pytest.raises(SpoolError, match="no backup of the configuration holds them"):
        place.office.outbox.spool.open(lost, place.office.status(lost).packet.sha256)


# --- the end of a backup ---


def take_out(place: Place, name: str, instead: str = "") -> None:
    """Take a backup out of the configuration, or give it another name, and open the office again."""
    text = place.config.read_text()
    start = text.index(f"[backups.{name}]")
    end = text.find("\n\n", start)
    section = text[start:end].replace(f"[backups.{name}]", f"[backups.{instead}]") if instead else ""
    place.config.write_text(text[:start] + section + text[end:])
    place.reopen()


def test_a_backup_that_left_the_configuration_is_told_of_and_can_be_ended(place: Place) -> None:
    """Status and the check of the configuration name it; forgotten, its copies count no more, and nobody is told."""
    place.set_up({"usb-a": "", "usb-b": ""})
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    place.office.verify("usb-a")
    place.office.backup("usb-b")
    still = place.run("backup", "forget", "usb-a", "--who", "siti", "--why", "broken")
    assert BAD_INPUT == still.exit_code
    assert "is still in" in still.stderr
    take_out(place, "usb-a")

    status, check = place.run("status"), place.run("config", "check", "--json")

    told = "The backup usb-a is not in the configuration any more, and its copies still count"
    assert PERSON == status.exit_code
    assert told in status.stderr
    assert (DONE, ["usb-a"]) == (check.exit_code, json.loads(check.stdout)["backups_left"])
    watch = place.watch()
    watch.tell_overdue()
    assert [("usb-a", told)] == [(name, reason.partition(":")[0]) for name, reason in place.told]

    assert 2 == len(place.office.outbox.copy_holders(packet_id))
    assert DONE == place.run("backup", "forget", "usb-a", "--who", "siti", "--why", "broken").exit_code

    assert 1 == len(place.office.outbox.copy_holders(packet_id))
    assert "usb-a" not in place.run("status").stderr
    assert [] == json.loads(place.run("config", "check", "--json").stdout)["backups_left"]
    (entry,) = [one for one in place.office.outbox.audit.entries() if one.event == "backup-forgotten"]
    assert "siti" == entry.who
    assert {"name": "usb-a", "why": "broken"}.items() <= json.loads(entry.detail).items()
    unknown = place.run("backup", "forget", "usb-a", "--who", "siti", "--why", "broken")
    assert FAILED == unknown.exit_code
    assert "No backup 'usb-a' was ever made here" in unknown.stderr


def test_a_backup_that_alone_holds_what_is_to_be_delivered_is_not_forgotten(place: Place) -> None:
    """The last good copy counts until it is delivered, or a person gave it up."""
    fill_up(place, backups={"usb-a": ""})
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    assert place.office._backups.offload.run() > 0
    take_out(place, "usb-a")
    forget = ("backup", "forget", "usb-a", "--who", "siti", "--why", "lost")

    refused, status = place.run(*forget), place.run("status")

    assert FAILED == refused.exit_code
    assert f"1 packet that may still have to be delivered are on usb-a alone ({packet_id})" in refused.stderr
    assert "usb-a holds 1 packet still to be delivered, and is not in the configuration" in status.stderr
    assert 1 == len(place.office.outbox.copy_holders(packet_id))
    place.office.cancel(packet_id, "carried", who="siti", why="the disk is lost")
    assert DONE == place.run(*forget).exit_code


@pytest.mark.slow
def test_a_backup_under_a_new_name_goes_on(place: Place) -> None:
    """The disk is the same: nothing is copied again, and forgetting the old name changes nothing."""
    place.set_up({"usb-a": ""})
    (packet_id,) = place.record()
    place.office.backup("usb-a")
    take_out(place, "usb-a", "red")

    assert 0 == place.office.backup("red").packets
    assert "usb-a" not in place.run("status").stderr
    place.office.forget_backup("usb-a", who="siti", why="renamed")
    assert 1 == len(place.office.outbox.copy_holders(packet_id))


@pytest.mark.slow
def test_a_forgotten_backup_that_comes_back_is_verified_before_it_counts(place: Place) -> None:
    """Who knows where the disk has been: no packet leaves the spool because of what was verified before."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")
    place.office.verify("usb-a")
    text = place.config.read_text()
    take_out(place, "usb-a")
    place.office.forget_backup("usb-a", who="siti", why="test")
    place.config.write_text(text)
    place.reopen()

    assert 0 == place.office.backup("usb-a").packets

    assert 0 == place.office.outbox.offload(1, who="test", prove=lambda _: True)
    place.office.verify("usb-a")
    assert place.office.outbox.offload(1, who="test", prove=lambda _: True) > 0


@pytest.mark.slow
def test_after_a_restore_a_forgotten_backup_stays_forgotten(place: Place) -> None:
    """The state of an older snapshot still counted its copies; the last word is what holds."""
    place.set_up({"usb-a": "", "usb-b": ""})
    (packet_id,) = place.record()
    for name in ("usb-a", "usb-b"):
        place.office.backup(name)
        place.office.verify(name)
    place.office.backup("usb-b")
    take_out(place, "usb-a")
    place.office.forget_backup("usb-a", who="siti", why="broken")
    place.record(first=7)
    place.office.backup("usb-b")

    ktpsync.restore(place.folder / "usb-b", into=place.folder / "new", identity=IDENTITY)

    with ktpsync.Office.open(place.folder / "new") as restored:
        assert 1 == len(restored.outbox.copy_holders(packet_id))


@pytest.mark.slow
def test_after_a_restore_the_copies_of_other_backups_are_told_of_and_can_be_ended(place: Place) -> None:
    """The new machine goes on with the disk it was restored from; what it cannot go on with has an end, too."""
    place.set_up({"usb-a": "", "usb-b": ""})
    (packet_id,) = place.record()
    for name in ("usb-a", "usb-b", "usb-b"):
        place.office.backup(name)
        place.office.verify(name)
    lost = place.office._backups.places.lineage("usb-a")
    ktpsync.restore(place.folder / "usb-b", into=place.folder / "new", identity=IDENTITY)
    place.config = place.folder / "new"
    place.reopen()

    (state,) = [one for one in place.office.backup_states() if one.warnings]
    assert lost == state.name
    assert f"`ktpsync backup forget {lost}`" in state.warnings[0]
    config = place.folder / "new" / "ktpsync.toml"
    text = config.read_text()
    config.write_text(f"{text}[backups.other]\nbackend = \"disk\"\npath = '{place.folder / 'usb-a'}'\n")
    place.reopen()
    (state,) = [one for one in place.office.backup_states() if one.name == lost]
    assert f"those on the disk of other ({lost})" in state.warnings[0]
    config.write_text(text)
    place.reopen()
    assert 2 == len(place.office.outbox.copy_holders(packet_id))
    assert DONE == place.run("backup", "forget", lost, "--who", "siti", "--why", "stolen").exit_code
    assert 1 == len(place.office.outbox.copy_holders(packet_id))
    assert [] == [one for one in place.office.backup_states() if one.warnings]


# --- taking out, restoring a part, what is said ---


def test_extract_at_the_command_line(place: Place) -> None:
    """By the name of the backup, and by the folder of a disk without any office."""
    place.set_up({"usb-a": ""})
    one, two, _ = place.record(3)
    place.office.backup("usb-a")

    named = place.run("extract", "usb-a", one, "--into", place.folder / "out")
    by_folder = CliRunner().invoke(
        main, ["extract", str(place.folder / "usb-a"), two, one, "--into", str(place.folder / "out")]
    )

    assert DONE == named.exit_code
    assert DAMAGED == by_folder.exit_code
    assert f"{one}.age exists already" in by_folder.stderr
    spool = place.office.outbox.spool
    for packet_id in (one, two):
        taken = (place.folder / "out" / f"{packet_id}.age").read_bytes()
        assert spool.path(packet_id).read_bytes() == taken


def moment(packet_id: str) -> str:
    """Return the moment in a packet's id."""
    return datetime.fromtimestamp((uuid.UUID(packet_id).int >> 80) / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (lambda ids: ["--packet", ids[0], "--packet", ids[3]], {0, 3}),
        (lambda ids: ["--since", moment(ids[2])], {2, 3}),
        (lambda ids: ["--until", moment(ids[2])], {0, 1}),
    ],
)
def test_a_part_is_restored_by_packet_and_by_date(
    place: Place, options: Callable[[list[str]], list[str]], expected: set[int]
) -> None:
    """Only the chosen packets, with their rows; the new office begins its backups anew."""
    place.set_up({"usb-a": ""})
    ids = place.record(4)
    place.office.backup("usb-a")
    key = place.folder / "key.txt"
    ktpsync.age.write_identity_file(key, IDENTITY)

    done = CliRunner().invoke(
        main,
        [
            *("restore", str(place.folder / "usb-a"), "--into", str(place.folder / "new")),
            *("--identity", str(key), *options(ids)),
        ],
    )

    assert DONE == done.exit_code, done.stderr
    with ktpsync.Office.open(place.folder / "new") as new:
        assert {ids[number] for number in expected} == {view.packet_id for view in new.outbox.packets()}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--packet", "01890a5d-ac96-774b-bcce-b302099a8057"),
            "no packet 01890a5d-ac96-774b-bcce-b302099a8057",
        ),
        (("--since", "2100-01-01"), "recorded at these times"),
        (("--until", "2026-01-01"), "recorded at these times"),
    ],
)
def test_a_restore_of_nothing_writes_nothing(place: Place, options: tuple[str, ...], told: str) -> None:
    """Where no packet is as it was asked for, no office is made."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")
    key, into = place.folder / "key.txt", place.folder / "new"
    ktpsync.age.write_identity_file(key, IDENTITY)

    done = invoke("restore", place.folder / "usb-a", "--into", into, "--identity", key, *options)

    assert FAILED == done.exit_code
    assert told in done.stderr
    assert not into.exists()


def test_an_office_with_a_part_of_the_packets_is_whole(place: Place) -> None:
    """Its trail goes on from what was taken over, says where that is from, and its doctor finds nothing."""
    place.set_up({"usb-a": ""})
    ids = place.record(4)
    place.office.backup("usb-a")
    seq, _ = place.office.outbox.audit.head()

    ktpsync.restore(
        place.folder / "usb-a",
        into=place.folder / "new",
        identity=IDENTITY,
        selection=Selection(packet_ids=frozenset({ids[1], ids[3]})),
    )

    with ktpsync.Office.open(place.folder / "new") as new:
        report = new.outbox.audit.verify()
        told = [entry for entry in new.outbox.audit.entries() if entry.event == "partly-restored"]
        assert ((), ()) == (report.problems, new.outbox.examine(read=True).problems)
        (entry,) = told
        facts = json.loads(entry.detail)
        assert 2 == facts["packets"]
        assert facts["seq"] < seq
        assert (facts["seq"],) == report.former
    before = {entry.seq: entry.hash for entry in place.office.outbox.audit.entries()}
    assert before[facts["seq"]] == facts["hash"]


def test_two_lines_of_snapshots_are_told_apart_by_what_they_hold(place: Place) -> None:
    """A person who has to choose finds how many packets each holds, and when it was made."""
    place.set_up({"usb-a": ""})
    ids = place.record(2)
    place.office.backup("usb-a")
    usb, into = place.folder / "usb-a", place.folder / "new"
    part = Selection(packet_ids=frozenset(ids[:1]))
    ktpsync.restore(usb, into=into, identity=IDENTITY, selection=part)
    text = (into / "ktpsync.toml").read_text()
    (into / "ktpsync.toml").write_text(f"{text}[backups.usb-a]\nbackend = \"disk\"\npath = '{usb}'\n")
    with ktpsync.Office.open(into) as new:
        new.backup("usb-a")

    with pytest.raises(RestoreError) as caught:
        ktpsync.restore(usb, into=place.folder / "newer", identity=IDENTITY)

    _, first, second = str(caught.value).splitlines()
    assert first.endswith(" UTC, 2 packets")
    assert second.endswith(" UTC, 1 packet")
    assert f"made {datetime.now(UTC):%Y-}" in first


def test_a_packet_that_is_in_no_backup_is_named_by_a_restore(place: Place) -> None:
    """An id that was asked for and is not there is a problem, not silence; the others are restored."""
    place.set_up({"usb-a": ""})
    (known,) = place.record()
    place.office.backup("usb-a")
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"

    report = ktpsync.restore(
        place.folder / "usb-a",
        into=place.folder / "new",
        identity=IDENTITY,
        selection=Selection(packet_ids=frozenset({known, unknown})),
    )

    assert ((known,), (unknown,), False) == (report.packet_ids, report.missing, report.ok)


def test_programs_get_events_and_people_a_summary(place: Place) -> None:
    """Events on standard error, one document on standard output, or a sentence with numbers."""
    place.set_up({"usb-a": ""})
    place.record(3)

    as_json = place.run("backup", "usb-a", "--json")
    place.record(1, first=7)
    in_words = place.run("backup", "usb-a")

    event = json.loads(as_json.stderr.splitlines()[-1])
    assert ("progress", "pack", 3, 3) == (
        event["event"],
        event["stage"],
        event["packets_done"],
        event["packets_total"],
    )
    assert event["bytes_per_second"] > 0
    assert 0 == event["seconds_left"]
    assert 3 == json.loads(as_json.stdout)["packets"]
    assert "Backed up 1 new packet, " in in_words.stdout
    assert "The backup holds 4 packets, " in in_words.stdout


@pytest.mark.parametrize(
    "command", [("backup", "drill", "usb-a", "--identity"), ("verify", "usb-a", "--open")]
)
def test_a_key_that_has_opened_a_backup_was_tried(place: Place, command: tuple[str, ...]) -> None:
    """A drill and a verification with a recovery key count as a test of it; one with a foreign key does not."""
    place.set_up({"usb-a": ""})
    place.record()
    place.office.backup("usb-a")
    key, foreign = place.folder / "key.txt", place.folder / "foreign.txt"
    ktpsync.age.write_identity_file(key, IDENTITY)
    ktpsync.age.write_identity_file(foreign, ktpsync.age.generate_identity("x25519"))

    assert DONE != place.run(*command, foreign).exit_code
    assert "No key was ever shown" in place.run("status").stderr
    assert DONE == place.run(*command, key).exit_code
    assert "No key was" not in place.run("status").stderr


def test_status_shows_the_last_drill(place: Place) -> None:
    """A restore that was tried with success leaves its date."""
    place.set_up({"usb-a": ""})
    place.record(2)
    key = place.folder / "key.txt"
    ktpsync.age.write_identity_file(key, IDENTITY)
    before = json.loads(place.run("status", "--json").stdout)["backups"][0]
    assert DONE == place.run("backup", "usb-a").exit_code
    assert DONE == place.run("backup", "drill", "usb-a", "--identity", key).exit_code

    after = json.loads(place.run("status", "--json").stdout)["backups"][0]

    assert (None, None) == (before["last_drill"], before["last_backup"])
    assert after["last_drill"] > after["last_backup"] > "2026"


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("included", [False, True])
def test_the_station_key_comes_back_where_the_configuration_includes_it(
    place: Place, included: Any, pruned: Any
) -> None:
    """With the key in the backup the centre knows the new machine already; else it signs with a key of its own.

    A prune, which writes the state anew, keeps it as a backup does.
    """
    place.set_up({"usb-a": f"include_station_key = {str(included).lower()}"})
    place.record()
    place.office.backup("usb-a")
    if pruned:
        place.record(first=1)
        place.office.backup("usb-a")
        assert place.office.prune("usb-a", Retention(last=1, daily=0, weekly=0, monthly=0)).dropped

    ktpsync.restore(place.folder / "usb-a", into=place.folder / "new", identity=IDENTITY)

    with ktpsync.Office.open(place.folder / "new") as new:
        assert included == (place.office.station == new.station)
