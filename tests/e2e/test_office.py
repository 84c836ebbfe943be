"""An office from recording to restore, through the facade, with real disks, sockets and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from attrs import evolve

import ktpsync
from ktpsync import packet as packets
from ktpsync.central import CentralSettings, running
from ktpsync.errors import (
    ConfigError,
    ReferenceConflictError,
    RestoreError,
    UnknownDestinationError,
    UnknownPacketError,
    ValidationError,
)
from ktpsync.keys import StationPublicKey
from ktpsync.outbox import DeliveryState
from ktpsync.records import Nik
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.records import Enrollment

IDENTITY = ktpsync.age.generate_identity()
RECIPIENT = str(IDENTITY.recipient)


def disk_place(kind: str, name: str, path: Path) -> str:
    """Return the settings of a marked disk."""
    return f"[{kind}.{name}]\nbackend = \"disk\"\npath = '{path}'\n\n"


def central_place(url: str, token: str = "right") -> str:  # noqa: S107 - made up
    """Return the settings of a centre."""
    return f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = "{token}"\n\n'


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A marked disk."""
    ktpsync.init_disk(tmp_path / "usb-a")
    return tmp_path / "usb-a"


def small(seed: int, person: int | None = None) -> Enrollment:
    """Return a small enrollment."""
    return make_enrollment(seed, size=4000, person=person)


def centre_for(config: Path, folder: Path) -> CentralSettings:
    """Return a centre that trusts an office's station."""
    public_key = StationPublicKey.from_pem((config.parent / "data" / "keys" / "station.pub.pem").read_bytes())
    return CentralSettings(
        folder=folder, identities=[IDENTITY], tokens={"right": "3578"}, stations=[public_key], faults=True
    )


def test_a_packet_reaches_every_destination(tmp_path: Path, disk: Path) -> None:
    """The same sealed bytes, each with a receipt, opened only by the identity."""
    ktpsync.init_disk(tmp_path / "usb-b")
    places = disk_place("destinations", "usb-a", disk) + disk_place(
        "destinations", "usb-b", tmp_path / "usb-b"
    )
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    with ktpsync.Office.open(config) as office:
        submitted = office.submit(small(1))
        report = office.sync()
        status = office.status(submitted.packet_id)
        station = office.station

    assert (2, 0, 0) == (report.delivered, report.rejected, report.waiting)
    assert {"usb-a", "usb-b"} == {line.destination for line in status.deliveries}
    assert {submitted.sha256} == {line.receipt.sha256 for line in status.deliveries if line.receipt}
    stored = [next(root.rglob("*.age")).read_bytes() for root in (disk, tmp_path / "usb-b")]
    assert stored[0] == stored[1]
    assert small(1) == packets.open(stored[0], [IDENTITY], stations=[station]).enrollment


def test_the_same_reference_gives_the_same_packet(tmp_path: Path) -> None:
    """Submitting again after a doubt has no second effect; a different enrollment under it is refused."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with ktpsync.Office.open(config) as office:
        first = office.submit(small(1))
        again = office.submit(small(1))
        with pytest.raises(ReferenceConflictError):
            office.submit(evolve(small(2), reference=small(1).reference))

        assert (first.packet_id, first.sha256, False) == (again.packet_id, again.sha256, again.created)
        assert [first.packet_id] == office.find(reference=small(1).reference)
        assert 1 == len(list(office.outbox.packets()))


def test_a_second_packet_of_a_person_is_told(tmp_path: Path, disk: Path) -> None:
    """Perhaps somebody was recorded twice; the app can ask while the person is still there."""
    places = disk_place("destinations", "usb-a", disk)
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    with ktpsync.Office.open(config) as office:
        first = office.submit(small(1))
        second = office.submit(small(2, person=1))
        other = office.submit(small(3))
        found = office.find(nik=Nik(small(1).nik.digits))

    assert ((), (first.packet_id,), ()) == (first.same_person, second.same_person, other.same_person)
    assert {first.packet_id, second.packet_id} == set(found)


def test_bad_enrollments_leave_nothing(tmp_path: Path) -> None:
    """Neither row nor file."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    bad = evolve(small(1), biodata=evolve(small(1).biodata, full_name=""))
    with ktpsync.Office.open(config) as office:
        with pytest.raises(ValidationError, match=r"name\.empty"):
            office.submit(bad)

        assert [] == list(office.outbox.packets())
        assert [] == list(office.data.spool.rglob("*.age"))


def test_a_packet_joins_the_caller_s_transaction(tmp_path: Path) -> None:
    """Rolled back, it was never submitted; committed, it is there."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with ktpsync.Office.open(config) as office:
        engine = sqlalchemy.create_engine(f"sqlite:///{office.data.database}")
        with engine.connect() as connection:
            rolled_back = office.submit(small(1), connection=connection)
            connection.rollback()
        with engine.begin() as connection:
            committed = office.submit(small(2), connection=connection)
        engine.dispose()

        with pytest.raises(UnknownPacketError):
            office.status(rolled_back.packet_id)
        assert committed.packet_id == office.status(committed.packet_id).packet.packet_id


def test_an_outage_costs_nothing(tmp_path: Path) -> None:
    """With the centre down everything waits; with it back everything is there once, and statuses come."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    settings = centre_for(config, tmp_path / "centre")
    with running(settings) as url:
        port = url.rstrip("/").rsplit(":", 1)[1]
    config.write_text(config.read_text() + central_place(url))
    with ktpsync.Office.open(config) as office:
        submitted = [office.submit(small(seed)) for seed in range(6)]
        down = office.sync()

        assert (0, 6) == (down.delivered, down.waiting)
        assert "refuses connections" in down.reason
        assert f"127.0.0.1:{port}" in down.reason
        assert {0} == {office.status(one.packet_id).deliveries[0].attempts for one in submitted}

    with running(settings) as url:
        config.write_text(config.read_text().replace(f":{port}/", f":{url.rstrip('/').rsplit(':', 1)[1]}/"))
        with ktpsync.Office.open(config) as office:
            up = office.sync()
            for _ in range(100):
                office.poll_statuses()
                if office.registration_statuses() == {"PRINT_READY_RECORD": 6}:
                    break
                threading.Event().wait(0.05)

            assert (6, 0) == (up.delivered, up.waiting)
            assert {"PRINT_READY_RECORD": 6} == office.registration_statuses()


def test_a_wrong_token_stops_the_destination_and_says_so(tmp_path: Path) -> None:
    """Nothing is lost or rejected; with the right token and a person's word it goes on."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with running(centre_for(config, tmp_path / "centre")) as url:
        config.write_text(config.read_text() + central_place(url, token="wrong"))
        with ktpsync.Office.open(config) as office:
            office.submit(small(1))
            stopped = office.sync()
        config.write_text(config.read_text().replace('"wrong"', '"right"'))
        with ktpsync.Office.open(config) as office:
            office.resume("central", who="admin")
            resumed = office.sync()

    assert (0, 0, 1, True) == (stopped.delivered, stopped.rejected, stopped.waiting, stopped.person)
    assert "Renew the token" in stopped.reason
    assert (1, 0) == (resumed.delivered, resumed.waiting)


def test_a_destination_that_cannot_be_used_stops_no_other(tmp_path: Path, disk: Path) -> None:
    """A mistake in one destination's settings is told, and the others get their packets."""
    places = disk_place("destinations", "usb-a", disk) + '[destinations.b]\nbackend = "disk"\nsurprise = 1\n'
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    with ktpsync.Office.open(config) as office:
        office.submit(small(1))
        good, broken = office.sync().destinations
        assert (1, 0, None) == (good.delivered, good.waiting, good.unusable)
        assert (0, 1, True) == (broken.delivered, broken.waiting, broken.person)
        assert isinstance(broken.unusable, ConfigError)
        assert "surprise" in broken.reason

        office.submit(small(2))
        stop = threading.Event()
        service = threading.Thread(target=office.run, args=(stop,))
        service.start()
        deadline = time.monotonic() + 60
        while office.outbox.destination("usb-a").delivered < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        service.join()
        assert 2 == office.outbox.destination("usb-a").delivered
        assert 0 == office.outbox.destination("b").delivered


def test_backup_verify_restore_reconcile(tmp_path: Path, disk: Path) -> None:
    """Delivered before and after the backup, lost with the machine, and yet at the centre exactly once."""
    config = ktpsync.init_office(
        tmp_path / "office", recipients=[RECIPIENT], places=disk_place("backups", "usb-a", disk)
    )
    with running(centre_for(config, tmp_path / "centre")) as url:
        config.write_text(config.read_text() + central_place(url))
        with ktpsync.Office.open(config) as office:
            early = [office.submit(small(seed)) for seed in range(3)]
            office.sync()
            late = [office.submit(small(seed)) for seed in range(3, 6)]
            report = office.backup("usb-a")
            again = office.backup("usb-a")
            verified = office.verify("usb-a", identities=[IDENTITY])
            office.sync()

        restored = ktpsync.restore(disk, into=tmp_path / "new", identity=IDENTITY)
        with pytest.raises(RestoreError, match="never overwrites"):
            ktpsync.restore(disk, into=tmp_path / "new", identity=IDENTITY)
        new = tmp_path / "new" / "ktpsync.toml"
        new.write_text(new.read_text() + central_place(url) + disk_place("backups", "usb-a", disk))
        with ktpsync.Office.open(new) as office:
            reconciled = office.reconcile()
            after = office.sync()
            known = office.submit(small(1))
            office.submit(small(9))
            onward = office.backup("usb-a")
            verified_again = office.verify("usb-a", identities=[IDENTITY])
            states = {
                one.packet_id: office.status(one.packet_id).deliveries[0].state for one in (*early, *late)
            }

    assert (6, 0) == (report.packets, again.packets)
    assert verified.ok
    assert {one.packet_id for one in (*early, *late)} == set(restored.packet_ids)
    assert (6, 3) == (reconciled.held, reconciled.marked)
    assert (0, 0) == (after.delivered, after.waiting)
    assert (1, (), True) == (onward.packets, verified_again.problems, verified_again.ok)
    assert (early[1].packet_id, False) == (known.packet_id, known.created)
    assert {DeliveryState.DELIVERED} == set(states.values())


def test_another_disk_is_not_taken_for_the_backup(tmp_path: Path, disk: Path) -> None:
    """The office remembers its repository, not a path."""
    config = ktpsync.init_office(
        tmp_path / "office", recipients=[RECIPIENT], places=disk_place("backups", "usb-a", disk)
    )
    with ktpsync.Office.open(config) as office:
        office.submit(small(1))
        office.backup("usb-a")
        disk.rename(tmp_path / "drawer")
        ktpsync.init_disk(disk)
        with pytest.raises(ktpsync.errors.WrongDiskError):
            office.backup("usb-a")

    assert ["ktpsync-disk.json"] == [path.name for path in disk.iterdir()]


def test_names_that_are_not_configured_are_told(tmp_path: Path) -> None:
    """With the names that are."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with ktpsync.Office.open(config) as office:
        with pytest.raises(UnknownDestinationError, match="usb-z"):
            office.backup("usb-z")
        with pytest.raises(UnknownDestinationError, match="usb-z"):
            office.check("usb-z")
        with pytest.raises(ConfigError, match="centre"):
            office.reconcile()


def test_setting_up_never_overwrites(tmp_path: Path) -> None:
    """An office's keys and configuration stay as they are."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    before = {path: path.read_bytes() for path in (tmp_path / "office").rglob("*") if path.is_file()}

    with pytest.raises(ConfigError, match="exists already"):
        ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with pytest.raises(ConfigError, match="at least one recipient"):
        ktpsync.init_office(tmp_path / "other", recipients=[])
    with pytest.raises(ConfigError, match="not age recipients"):
        ktpsync.init_office(tmp_path / "other", recipients=["age1nonsense"])

    assert before == {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}


SUBMIT_FOR_EVER = """
import sys, ktpsync
from ktpsync.testing import make_enrollment
with ktpsync.Office.open(sys.argv[1]) as office:
    for seed in range(100_000):
        packet = office.submit(make_enrollment(seed, size=4000))
        print(packet.packet_id, packet.sha256, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, disk: Path) -> None:
    """SIGKILL at random moments: every packet that submit returned is in the outbox, whole, and is delivered."""
    places = disk_place("destinations", "usb-a", disk)
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    acknowledged: dict[str, str] = {}
    for round_number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SUBMIT_FOR_EVER, str(config)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5 + 7 * round_number)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        acknowledged |= dict(line.split() for line in lines if len(line.split()) == 2)

    with ktpsync.Office.open(config) as office:
        held = {view.packet_id: view.sha256 for view in office.outbox.packets()}
        report = office.sync()
        station = office.station

    assert acknowledged.items() <= held.items()
    assert len(acknowledged) >= 5
    assert (len(held), 0, 0) == (report.delivered, report.rejected, report.waiting)
    delivered = {path.stem: path for path in disk.rglob("*.age")}
    assert held.keys() == delivered.keys()
    for packet_id in acknowledged:
        opened = packets.open(delivered[packet_id].read_bytes(), [IDENTITY], stations=[station])
        assert packet_id == opened.manifest.packet_id


def test_nothing_personal_is_left_anywhere(tmp_path: Path, disk: Path) -> None:
    """Neither data folder, nor disk, nor backup, nor log, nor file names show who was recorded."""
    places = disk_place("destinations", "usb-a", disk) + disk_place("backups", "usb-a", disk)
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    enrollment = small(1)
    with ktpsync.Office.open(config) as office:
        office.submit(enrollment)
        office.sync()
        office.backup("usb-a")
        office.find(nik=enrollment.nik)

    private = [enrollment.nik.digits, enrollment.biodata.full_name, enrollment.biodata.family_card_number]
    searched = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(searched) > 8
    for path in searched:
        for text in private:
            assert text.encode() not in path.read_bytes(), path
            assert text not in str(path)


def test_threads_share_an_office(tmp_path: Path) -> None:
    """A web app submits from many threads at once."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with ktpsync.Office.open(config) as office:
        done: list[str] = []

        def submit(first: int) -> None:
            done.extend(office.submit(small(seed)).packet_id for seed in range(first, first + 5))

        threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 40, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 40 == len(set(done)) == len(list(office.outbox.packets()))


def test_the_service_delivers_what_comes_in(tmp_path: Path, disk: Path) -> None:
    """It is woken by a submit, makes its scheduled backup, and stops when told."""
    places = (
        disk_place("destinations", "usb-a", disk) + disk_place("backups", "usb-b", disk) + 'every = "1h"\n'
    )
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    stop = threading.Event()
    with ktpsync.Office.open(config) as office:
        service = threading.Thread(target=office.run, args=(stop,))
        service.start()
        submitted = office.submit(small(1))
        for _ in range(200):
            line = office.status(submitted.packet_id).deliveries[0]
            if line.state is DeliveryState.DELIVERED and list(disk.rglob("*.manifest.json")):
                break
            threading.Event().wait(0.05)
        stop.set()
        service.join()

    assert DeliveryState.DELIVERED is line.state
    assert list(disk.rglob("*.manifest.json"))
