"""The disaster that the backup is for, from start to end; and two stations at one disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import urllib3

import ktpsync
from ktpsync import packet
from ktpsync.central import CentralSettings, running
from ktpsync.clock import SystemClock
from ktpsync.keys import StationKey, StationPublicKey
from ktpsync.outbox import Submission
from ktpsync.packet import SealedPacket
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = ktpsync.age.generate_identity("x25519")
SCALE = int(os.environ.get("KTPSYNC_TEST_DISASTER", "200"))
"""Packets; 2,000 packets of 300 kB are the full size: KTPSYNC_TEST_DISASTER=2000."""


def at_the_centre(url: str) -> dict[str, tuple[str, int]]:
    """Return what the centre itself says it holds: digest of the bytes on its disk, and how often it took effect."""
    answer = urllib3.request("GET", f"{url.rstrip('/')}/sandbox/inventory")
    return {line["packet_id"]: (line["sha256"], line["effects"]) for line in answer.json()["packets"]}


@pytest.mark.slow
def test_a_lost_office_is_restored_and_every_packet_is_at_the_centre_exactly_once(tmp_path: Path) -> None:
    """Of all packets the centre had a third when the machine was lost; reconciled, it gets the rest, once."""
    size = 300_000 if SCALE >= 2000 else 30_000
    third = SCALE * 35 // 100
    disk = tmp_path / "usb-a"
    ktpsync.init_disk(disk)
    place = f"[backups.usb-a]\nbackend = \"disk\"\npath = '{disk}'\nreserve = 0\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(IDENTITY.recipient)], places=place)
    keys = config.parent / "data" / "keys"
    station = StationKey.load(keys / "station.pem")
    settings = CentralSettings(
        folder=tmp_path / "centre",
        identities=[IDENTITY],
        tokens={"right": "3578"},
        stations=[StationPublicKey.from_pem((keys / "station.pub.pem").read_bytes())],
        faults=True,
    )
    digests = {}
    with running(settings) as url:
        central = f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = "right"\n'
        config.write_text(config.read_text() + central)
        with ktpsync.Office.open(config) as office:
            for first in range(0, SCALE, 200):
                batch = []
                for seed in range(first, min(first + 200, SCALE)):
                    sealing = packet.seal(
                        make_enrollment(seed, size=size),
                        recipients=[IDENTITY.recipient],
                        station_key=station,
                        clock=SystemClock(),
                    )
                    made = sealing.packet
                    digests[made.packet_id] = made.sha256
                    batch.append(
                        Submission(sealed=sealing.sealed, packet_id=made.packet_id, sha256=made.sha256)
                    )
                office.outbox.submit_many(batch)
            made_backup = office.backup("usb-a")
            assert (True, SCALE) == (made_backup.ok, made_backup.packets)
            # A third is delivered after the backup was made: it knows of no receipt.
            backend = office._destinations.backend("central")
            for packet_id in list(digests)[:third]:
                sealed = office.outbox.spool.path(packet_id).read_bytes()
                backend.deliver(SealedPacket.from_bytes(packet_id, digests[packet_id], sealed))
        assert third == len(at_the_centre(url))
        shutil.rmtree(config.parent / "data")

        restored = ktpsync.restore(disk, into=tmp_path / "new", identity=IDENTITY)
        assert (True, SCALE) == (restored.ok, len(restored.packet_ids))
        new = tmp_path / "new" / "ktpsync.toml"
        new.write_text(new.read_text() + central)
        with ktpsync.Office.open(new) as office:
            reconciled = office.reconcile()
            assert (third, third) == (reconciled.marked, reconciled.held)
            report = office.sync()
            assert (SCALE - third, 0, 0) == (report.delivered, report.rejected, report.waiting)
        held = at_the_centre(url)

    assert digests == {packet_id: sha256 for packet_id, (sha256, _) in held.items()}
    assert {1} == {effects for _, effects in held.values()}


_STATION = """
import sys
from pathlib import Path
import ktpsync
from ktpsync.testing import make_enrollment

office, rounds = sys.argv[1], int(sys.argv[2])
with ktpsync.Office.open(office) as office:
    for number in range(rounds):
        office.submit(make_enrollment(number, size=3000))
        report = office.backup("usb")
        assert report.ok and not report.warnings, report
        assert office.verify("usb").ok
        if number % 3 == 2:
            from ktpsync.backup import Retention
            office.prune("usb", Retention(last=1, daily=0, weekly=0, monthly=0))
    print(*sorted(view.packet_id for view in office.outbox.packets()))
"""


@pytest.mark.slow
def test_two_stations_back_up_to_one_disk_at_one_time(tmp_path: Path) -> None:
    """They record, back up, verify and prune side by side; each is restored whole, and neither disturbs the other."""
    disk = tmp_path / "usb"
    ktpsync.init_disk(disk)
    places = f"[backups.usb]\nbackend = \"disk\"\npath = '{disk}'\nreserve = 0\n"
    stations = []
    for name in ("one", "two"):
        config = ktpsync.init_office(tmp_path / name, recipients=[str(IDENTITY.recipient)], places=places)
        with ktpsync.Office.open(config) as office:
            office.backup("usb")
        command = [sys.executable, "-W", "error", "-c", _STATION, str(config), "7"]
        stations.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

    answers = [station.communicate() for station in stations]

    assert ["", ""] == [errors for _, errors in answers]
    assert ktpsync.verify_backup(disk).ok
    recorded = [sorted(out.split()) for out, _ in answers]
    restored = []
    for number, head in enumerate(newest_of_each_station(disk)):
        report = ktpsync.restore(disk, into=tmp_path / f"new-{number}", identity=IDENTITY, snapshot=head)
        assert report.ok
        restored.append(sorted(report.packet_ids))
    assert sorted(recorded) == sorted(restored)


def newest_of_each_station(disk: Path) -> list[str]:
    """Return the newest snapshot of each station."""
    newest = {}
    for snapshot in ktpsync.list_snapshots(disk):
        newest[snapshot.manifest.lineage] = snapshot.ref.name  # type: ignore[union-attr]
    return list(newest.values())


def test_a_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    """A backup that was killed while it held the lock is followed by the next one at once."""
    disk = tmp_path / "usb"
    ktpsync.init_disk(disk)
    places = f"[backups.usb]\nbackend = \"disk\"\npath = '{disk}'\nreserve = 0\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(IDENTITY.recipient)], places=places)
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=3000))
    program = (
        "import os, sys, ktpsync\n"
        "with ktpsync.Office.open(sys.argv[1]) as office:\n"
        "    office.backup('usb', progress=lambda news: os.kill(os.getpid(), 9))\n"
    )

    done = subprocess.run([sys.executable, "-c", program, str(config)], check=False)
    with ktpsync.Office.open(config) as office:
        report = office.backup("usb")

    assert -9 == done.returncode
    assert (True, 1) == (report.ok, report.packets)


def test_cost_follows_what_is_new(tmp_path: Path) -> None:
    """Thousands of packets are in the backup already: the bytes written for a few more are those and little else."""
    disk = tmp_path / "usb"
    ktpsync.init_disk(disk)
    places = f"[backups.usb]\nbackend = \"disk\"\npath = '{disk}'\nreserve = 0\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(IDENTITY.recipient)], places=places)

    def record(office: ktpsync.Office, count: int, size: int) -> None:
        batch = []
        for _ in range(count):
            sealed = os.urandom(size)
            digest = hashlib.sha256(sealed).hexdigest()
            batch.append(Submission(sealed=sealed, packet_id=packet.new_packet_id(), sha256=digest))
        office.outbox.submit_many(batch)

    written = []
    with ktpsync.Office.open(config) as office:
        for before in (10, 2_000):
            record(office, before, 100)
            office.backup("usb")
            sizes = files_of(disk)
            record(office, 20, 10_000)
            report = office.backup("usb")
            new = files_of(disk) - sizes
            assert report.bytes_written == sum(size * count for (_, size), count in new.items())
            written.append(report.bytes_written)

    assert max(written) < 20 * 10_000 + 40_000
    assert abs(written[1] - written[0]) < 2_000


def files_of(disk: Path) -> Counter[tuple[str, int]]:
    """Return the objects on a disk with their sizes."""
    return Counter(
        (path.name, path.stat().st_size)
        for folder in ("packs", "snapshots")
        for path in (disk / folder).rglob("*")
        if path.is_file()
    )
