"""Keys that change: what an office and its backups hold is given to new recipients, and opens with their keys."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from command_line import DAMAGED, DONE, WAITING, run
from ktpsync import age, packet
from ktpsync.backup import Depth, recipient_history
from ktpsync.central import CentralSettings, running
from ktpsync.errors import BackupInUseError, NoMatchingIdentityError, RestoreError, UnknownDestinationError
from ktpsync.plugins import Receipt, StatusChange, StatusPage
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CENTRE, OLD, NEW = (age.generate_identity() for _ in range(3))


class Station:
    """An office with a disk to deliver to, a disk for backups, and recipients that change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for disk in ("carrier", "usb-a"):
            ktpsync.init_disk(folder / disk)
        places = (
            f"[destinations.carrier]\nbackend = \"disk\"\npath = '{folder / 'carrier'}'\n"
            f"[backups.usb-a]\nbackend = \"disk\"\npath = '{folder / 'usb-a'}'\nreserve = 0\n"
        )
        recipients = [str(CENTRE.recipient), str(OLD.recipient)]
        self.config = ktpsync.init_office(folder / "office", recipients=recipients, places=places)
        self.office = ktpsync.Office.open(self.config)

    def record(self, *people: int) -> list[str]:
        """Record enrolments and return their packet ids."""
        return [self.office.submit(make_enrollment(person, size=3000)).packet.packet_id for person in people]

    def change_recipients(self) -> None:
        """Name the new key in the configuration in the place of the old one."""
        lines = f"{CENTRE.recipient}\n{NEW.recipient}\n"
        (self.config.parent / "recipients.txt").write_text(lines)
        self.reopen()

    def reopen(self) -> None:
        """Open the office again, as after a restart."""
        self.office.close()
        self.office = ktpsync.Office.open(self.config)

    def rewrap(self) -> Any:
        """Give everything to the new recipients."""
        return self.office.rewrap([OLD], who="wati")

    def settle(self, packet_ids: list[str], *, status: str | None = None) -> None:
        """Let a destination take packets, and a status come."""
        outbox = self.office.outbox
        for lease in outbox.claim("carrier", len(packet_ids), 60):
            assert lease.packet.packet_id in packet_ids
            made = lease.packet
            receipt = Receipt.of(
                made,
                sha256=made.sha256,
                stored_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
            outbox.settle(lease, receipt)
        if status is not None:
            changes = [
                StatusChange(packet_id=packet_id, status=status, changed_at=datetime(2026, 1, 2, tzinfo=UTC))
                for packet_id in packet_ids
            ]
            outbox.apply_statuses("carrier", StatusPage(changes=changes, cursor="1", more=False))

    def opens(self, sealed: bytes, identity: age.Identity) -> bool:
        """Return whether an identity opens a packet."""
        try:
            packet.open(sealed, [identity], stations=[self.office.station])
        except NoMatchingIdentityError:
            return False
        return True

    def spooled(self) -> dict[str, bytes]:
        """Return the sealed packets in the spool, compared with their rows."""
        found = {}
        for view in self.office.outbox.packets():
            if view.location == "spool":
                found[view.packet_id] = self.office.outbox.spool.path(view.packet_id).read_bytes()
                assert view.sha256 == hashlib.sha256(found[view.packet_id]).hexdigest()
        return found

    def in_backup(self) -> dict[str, list[bytes]]:
        """Return all copies of each packet that are in packs of the backup, by the tar files alone."""
        import tarfile

        found: dict[str, list[bytes]] = {}
        for path in (self.folder / "usb-a").rglob("packs/*.tar"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.endswith(".age"):
                        data = archive.extractfile(member)
                        assert data is not None
                        found.setdefault(member.name.removesuffix(".age"), []).append(data.read())
        return found

    def verify(self, identity: age.Identity) -> Any:
        """Open everything in the backup."""
        return self.office.verify("usb-a", depth=Depth.OPEN, identities=[identity])

    def restore(self, name: str, identity: age.Identity) -> Any:
        """Restore the backup into another folder."""
        into = self.folder / name
        return ktpsync.restore("usb-a", into=into, identity=identity, config=self.config)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """Return an office."""
    made = Station(tmp_path)
    yield made
    made.office.close()


def test_everything_goes_to_the_new_key(station: Station) -> None:
    """Spool and backup open with the new key and not with the old one, whole, and a restore works."""
    ids = station.record(1, 2, 3, 4)
    station.office.backup("usb-a")
    station.record(5)
    station.office.backup("usb-a")
    station.change_recipients()
    ids += [*station.record(6)]

    report = station.rewrap()

    assert report.done
    assert 5 == report.spool.rewrapped
    held = station.spooled()
    assert 6 == len(held)
    assert {packet_id: [sealed] for packet_id, sealed in held.items()} == station.in_backup()
    for sealed in held.values():
        assert station.opens(sealed, NEW)
        assert station.opens(sealed, CENTRE)
        assert not station.opens(sealed, OLD)
    found = station.verify(NEW)
    assert ((), 1, 6) == (found.problems, found.snapshots, found.packets)
    restored = station.restore("new", NEW)
    assert restored.ok
    with pytest.raises(RestoreError, match="None of the identities opens"):
        station.restore("other", OLD)


@pytest.mark.slow
def test_payloads_stay_byte_for_byte(station: Station) -> None:
    """Only headers differ, so that what is inside is the same and still signed."""
    (packet_id,) = station.record(1)
    before = station.spooled()[packet_id]
    station.change_recipients()

    station.rewrap()

    after = station.spooled()[packet_id]
    assert before != after
    assert (
        before[before.index(b"\n---") :].partition(b"\n")[2].partition(b"\n")[2]
        == (after[after.index(b"\n---") :].partition(b"\n")[2].partition(b"\n")[2])
    )


@pytest.mark.slow
def test_run_again_nothing_is_left_to_do(station: Station) -> None:
    """A second run changes neither a packet nor the backup."""
    station.record(1, 2)
    station.office.backup("usb-a")
    station.change_recipients()
    station.rewrap()
    held = station.spooled()

    station.record(3)

    again = station.rewrap()

    assert (0, []) == (again.spool.rewrapped, again.backups["usb-a"].snapshots)
    assert held.items() <= station.spooled().items()
    assert 1 == station.office.backup("usb-a").packets
    assert 2 == station.verify(NEW).snapshots


def test_what_a_disk_held_before_counts_no_more(station: Station) -> None:
    """A disk that lay in a drawer during the change is verified before it gets the new bytes: none leaves the spool."""
    (packet_id,) = station.record(1)
    station.office.backup("usb-a")
    drawer = station.folder / "drawer"
    (station.folder / "usb-a").rename(drawer)
    station.change_recipients()
    assert {"usb-a"} == station.rewrap().away.keys()
    drawer.rename(station.folder / "usb-a")

    assert station.office.verify("usb-a").ok

    assert 0 == station.office.outbox.offload(1 << 30, who="test", prove=lambda _: True)
    assert {packet_id} == station.spooled().keys()
    assert 1 == station.office.backup("usb-a").packets


def test_what_left_the_spool_is_rewrapped_in_the_backup(station: Station) -> None:
    """A packet that was purged after its card was printed is in the backup alone, and goes to the new key there."""
    purged = station.record(1, 2)
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    station.settle(purged, status="CARD_PRINTED")
    assert sorted(purged) == sorted(
        station.office.outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    )
    station.change_recipients()

    report = station.rewrap()

    assert (2, 0) == (report.backups["usb-a"].rewrapped, report.backups["usb-a"].kept)
    copies = station.in_backup()
    assert set(purged) == copies.keys()
    assert all(station.opens(sealed, NEW) and not station.opens(sealed, OLD) for (sealed,) in copies.values())
    assert () == station.verify(NEW).problems


def test_what_is_on_its_way_keeps_its_bytes_until_it_arrived(station: Station) -> None:
    """A packet under a courier's lease stays, in the spool and in the backup; the next run does the rest."""
    moving, resting = station.record(1, 2)
    station.office.backup("usb-a")
    (lease,) = station.office.outbox.claim("carrier", 1, 60)
    assert moving == lease.packet.packet_id
    before = station.spooled()[moving]
    station.change_recipients()

    report = station.rewrap()

    assert not report.done
    assert [moving] == report.spool.moving
    assert before == station.spooled()[moving]
    assert [before] == station.in_backup()[moving]
    assert station.opens(station.spooled()[resting], NEW)
    station.office.outbox.release(lease)
    station.settle([moving, resting])
    assert station.rewrap().done
    assert all(station.opens(sealed, NEW) for (sealed,) in station.in_backup().values())


def test_what_is_not_yet_rewrapped_is_no_damage(station: Station) -> None:
    """Whole, and sealed to the recipients from before: told apart, with words and an exit code of its own."""
    moving, resting = station.record(1, 2)
    station.office.backup("usb-a")
    (lease,) = station.office.outbox.claim("carrier", 1, 60)
    station.change_recipients()
    station.office.backup("usb-a")
    before = station.verify(NEW)
    assert ((), 2, 1) == (before.problems, len(before.older), len(before.older_snapshots))
    station.rewrap()
    age.write_identity_file(station.folder / "new.key", NEW)
    age.write_identity_file(station.folder / "old.key", OLD)
    arguments = ("verify", "usb-a", "--config", station.config, "--open")

    found = run(*arguments, station.folder / "new.key")

    assert WAITING == found.code
    assert "1 packet and 0 snapshots are whole and not yet rewrapped" in found.err
    assert [moving] == run(*arguments, station.folder / "new.key", "--json").json()["not_yet_rewrapped"][
        "packets"
    ]
    assert DAMAGED == run(*arguments, station.folder / "old.key").code

    station.office.outbox.release(lease)
    station.settle([moving, resting])
    assert station.rewrap().done
    assert DONE == run(*arguments, station.folder / "new.key").code


@pytest.mark.slow
def test_a_backup_with_recipients_of_its_own_tells_it_too(station: Station) -> None:
    """Its history knows nothing of the packets' recipients; that some were rewrapped is known to the outbox."""
    keeper = age.generate_identity()
    text = station.config.read_text()
    station.config.write_text(
        text.replace("[backups.usb-a]\n", f'[backups.usb-a]\nrecipients = ["{keeper.recipient}"]\n')
    )
    station.reopen()
    moving, _ = station.record(1, 2)
    station.office.backup("usb-a")
    (lease,) = station.office.outbox.claim("carrier", 1, 60)
    station.change_recipients()
    station.rewrap()

    found = station.office.verify("usb-a", depth=Depth.OPEN, identities=[NEW, keeper])

    assert ((), (moving,)) == (found.problems, found.older)
    station.office.outbox.release(lease)
    assert moving in station.office.verify("usb-a", depth=Depth.OPEN, identities=[keeper]).damaged_packets


def test_without_a_change_of_recipients_a_packet_that_does_not_open_is_a_problem(station: Station) -> None:
    """A wrong key is not taken for a rotation that is under way, nor for damage; neither is a damaged packet."""
    station.record(1)
    station.office.backup("usb-a")
    with pytest.raises(NoMatchingIdentityError, match="nothing is said of its packets"):
        station.verify(NEW)
    assert [] == [sentence for sentence in station.office.attention() if "amage" in sentence]
    station.change_recipients()
    station.office.backup("usb-a")
    for pack in (station.folder / "usb-a" / "packs").glob("*.tar"):
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.write_bytes(data)

    found = station.verify(NEW)

    assert 1 == len(found.damaged_packets)
    assert () == found.older


@pytest.mark.slow
def test_what_was_kept_is_rewrapped_when_it_has_left_the_spool(station: Station) -> None:
    """Kept because it was on its way, then delivered and purged: the next run finds it in the backup."""
    moving, resting = station.record(1, 2)
    station.office.backup("usb-a")
    (lease,) = station.office.outbox.claim("carrier", 1, 60)
    station.change_recipients()
    assert [moving] == station.rewrap().spool.moving
    station.office.outbox.release(lease)
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    station.settle([moving, resting], status="CARD_PRINTED")
    assert 2 == len(station.office.outbox.purge(timedelta(0), who="test", prove=lambda _: True))

    report = station.rewrap()

    assert report.done
    copies = station.in_backup()
    assert {moving, resting} == copies.keys()
    assert all(station.opens(sealed, NEW) and not station.opens(sealed, OLD) for (sealed,) in copies.values())


def test_offloaded_packets_are_delivered_as_they_are(station: Station) -> None:
    """A packet that waits in the backup to be delivered keeps its bytes there, and arrives."""
    offloaded, resting = station.record(1, 2)
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    assert station.office.outbox.offload(wanted=1, who="test", prove=lambda _: True)
    station.change_recipients()

    report = station.rewrap()

    assert (1, 1) == (report.spool.offloaded, report.backups["usb-a"].kept)
    assert not report.done
    assert 2 == station.office.sync().delivered
    assert [] == list(station.office.rejected())
    assert {offloaded, resting} == {path.stem for path in (station.folder / "carrier").rglob("*.age")}


@pytest.mark.slow
def test_offloaded_after_a_rewrap(station: Station) -> None:
    """Of a packet with a former and a new copy in the backup, the one that the outbox knows is delivered."""
    (packet_id,) = station.record(1)
    station.office.backup("usb-a")
    station.change_recipients()
    station.office.rewrap([OLD], [], who="wati")
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    assert 2 == len(station.in_backup()[packet_id])
    assert station.office.outbox.offload(wanted=1, who="test", prove=lambda _: True)

    assert 1 == station.office.sync().delivered
    (path,) = (station.folder / "carrier").rglob("*.age")
    assert station.opens(path.read_bytes(), NEW)


@pytest.mark.slow
def test_restored_after_the_next_backup(station: Station) -> None:
    """Of a packet with a former and a new copy in the backup, the new one comes back, and the row agrees."""
    ids = station.record(1, 2)
    station.office.backup("usb-a")
    station.change_recipients()
    station.office.rewrap([OLD], [], who="wati")
    station.settle(ids[:1])
    station.office.backup("usb-a")

    assert station.restore("new", NEW).ok
    with ktpsync.Office.open(station.folder / "new") as office:
        for view in office.outbox.packets():
            sealed = office.outbox.spool.path(view.packet_id).read_bytes()
            assert (view.sha256, view.size) == (hashlib.sha256(sealed).hexdigest(), len(sealed))
            assert station.opens(sealed, NEW)


@pytest.mark.slow
def test_in_portions(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little room on the disk, old packs go before all new ones are there; every step is a whole backup."""
    import ktpsync.backup._rewrap as rewrapping

    purged = []
    for person in range(4):
        ids = station.record(person)
        station.office.backup("usb-a")
        station.office.verify("usb-a")
        station.settle(ids, status="CARD_PRINTED")
        purged += station.office.outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    station.change_recipients()
    monkeypatch.setattr(
        rewrapping.rewrap_repository,
        "__kwdefaults__",
        {**rewrapping.rewrap_repository.__kwdefaults__, "portion": 1},
    )
    most = 0
    real = rewrapping.delete_dropped

    def delete(*args: Any) -> None:
        nonlocal most
        most = max(most, len(list((station.folder / "usb-a").rglob("packs/*.tar"))))
        assert () == station.office.verify("usb-a", depth=Depth.READ).problems
        real(*args)

    monkeypatch.setattr(rewrapping, "delete_dropped", delete)

    report = station.rewrap()

    assert 4 == report.backups["usb-a"].rewrapped
    assert 4 == len(report.backups["usb-a"].snapshots)
    assert 5 == most
    assert all(station.opens(sealed, NEW) for (sealed,) in station.in_backup().values())


class Crash(BaseException):
    """Stands for the end of the process."""


STEPS = ["packs/", "snapshots/", ".manifest.json", "delete"]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_leaves_a_backup_that_restores(
    station: Station, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it writes packs, state or manifest, or deletes: everything is there, and the next run ends it."""
    from ktpsync.backends.disk.backend import DiskBackend

    purged = station.record(1)
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    station.settle(purged, status="CARD_PRINTED")
    station.office.outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    resting = station.record(2)
    station.office.backup("usb-a")
    station.change_recipients()
    real_put, real_delete = DiskBackend.put, DiskBackend.delete

    def put(self: DiskBackend, key: str, *args: Any, **options: Any) -> Any:
        made = real_put(self, key, *args, **options)
        if key.startswith(step) or key.endswith(step):
            raise Crash
        return made

    def delete(self: DiskBackend, key: str) -> None:
        real_delete(self, key)
        if step == "delete":
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(DiskBackend, "put", put)
        patch.setattr(DiskBackend, "delete", delete)
        with pytest.raises(Crash):
            station.rewrap()
    station.reopen()

    assert () == station.office.verify("usb-a", depth=Depth.READ).problems
    assert {*purged, *resting} == station.in_backup().keys()
    report = station.rewrap()
    assert report.done
    copies = station.in_backup()
    assert all(station.opens(sealed, NEW) and not station.opens(sealed, OLD) for (sealed,) in copies.values())
    assert {*purged, *resting} == copies.keys()
    assert () == station.verify(NEW).problems
    assert station.restore("new", NEW).ok


@pytest.mark.slow
def test_a_damaged_pack_stays_until_it_is_mended(station: Station) -> None:
    """What cannot be read is not dropped: it is told of, and all the rest is done."""
    damaged = station.record(1)
    station.office.backup("usb-a")
    station.office.verify("usb-a")
    station.settle(damaged, status="CARD_PRINTED")
    station.office.outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    station.record(2)
    station.office.backup("usb-a")
    first = min((station.folder / "usb-a").rglob("packs/*.tar"))
    data = bytearray(first.read_bytes())
    data[2000] ^= 1
    first.write_bytes(data)
    station.change_recipients()

    report = station.rewrap()

    (note,) = report.backups["usb-a"].notes
    assert damaged[0] in note
    assert not report.done
    assert first.read_bytes() == data
    data[2000] ^= 1
    first.write_bytes(data)
    assert station.rewrap().done
    assert () == station.verify(NEW).problems


@pytest.mark.slow
def test_who_could_restore_is_written_down(station: Station) -> None:
    """The repository tells its recipients from the beginning, though the snapshots of then are gone."""
    station.record(1)
    station.office.backup("usb-a")
    station.change_recipients()

    station.rewrap()

    with station.office._backups.places.opened("usb-a") as repository:
        history = recipient_history(repository)
    centre, old, new = (str(identity.recipient) for identity in (CENTRE, OLD, NEW))
    assert [(centre, old), (centre, new)] == [line.recipients for line in history]
    assert sorted(line.since for line in history) == [line.since for line in history]


@pytest.mark.slow
def test_a_backup_that_is_away_is_left_for_later(station: Station) -> None:
    """The disk is not plugged in: the spool is done, and the report says what is left."""
    station.record(1)
    station.office.backup("usb-a")
    station.change_recipients()
    (station.folder / "usb-a").rename(station.folder / "elsewhere")

    report = station.rewrap()

    assert (1, False, ["usb-a"]) == (report.spool.rewrapped, report.done, list(report.away))
    (station.folder / "usb-a").rmdir() if (station.folder / "usb-a").exists() else None
    (station.folder / "elsewhere").rename(station.folder / "usb-a")
    assert station.rewrap().done
    assert () == station.verify(NEW).problems


@pytest.mark.slow
def test_a_backup_that_was_never_made(station: Station) -> None:
    """A disk that is in the configuration and was never written to has nothing to be rewrapped."""
    station.record(1)
    station.change_recipients()

    report = station.rewrap()

    assert (True, {}, {}) == (report.done, report.backups, report.away)


def test_not_while_a_backup_runs(station: Station) -> None:
    """A backup that reads packets is not disturbed, and nothing is changed."""
    station.record(1)
    station.office.backup("usb-a")
    station.change_recipients()
    held = station.spooled()

    def meanwhile(_: object) -> None:
        with pytest.raises(BackupInUseError, match="is at work on this repository"):
            station.rewrap()

    station.record(2)
    station.office.backup("usb-a", progress=meanwhile)

    assert held.items() <= station.spooled().items()


def test_unknown_backup(station: Station) -> None:
    """A name that is not in the configuration is an error before anything is changed."""
    with pytest.raises(UnknownDestinationError, match="usb-a"):
        station.office.rewrap([OLD], ["usb-b"], who="wati")


@pytest.mark.slow
def test_a_centre_meets_rewrapped_packets(tmp_path: Path) -> None:
    """What the centre has stays held after a rewrap, and what it gets afterwards it opens: nothing twice, no conflict."""
    recipients = [str(CENTRE.recipient), str(OLD.recipient)]
    config = ktpsync.init_office(tmp_path / "office", recipients=recipients, places="")
    with ktpsync.Office.open(config) as office:
        station = office.station
    settings = CentralSettings(
        folder=tmp_path / "centre",
        identities=[CENTRE],
        tokens={"right": "3578"},
        stations=[station],
        faults=True,
    )
    with running(settings) as url:
        config.write_text(
            config.read_text() + f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = "right"\n'
        )
        with ktpsync.Office.open(config) as office:
            held = [office.submit(make_enrollment(person, size=3000)).packet_id for person in (1, 2)]
            assert 2 == office.sync().delivered
            wait_for_final(office, held)
            later = [office.submit(make_enrollment(person, size=3000)).packet_id for person in (3, 4)]
        (config.parent / "recipients.txt").write_text(f"{CENTRE.recipient}\n{NEW.recipient}\n")
        with ktpsync.Office.open(config) as office:
            assert (4, True) == ((report := office.rewrap([OLD], who="wati")).spool.rewrapped, report.done)
            answer = office.reconcile()
            assert (2, 0, 0) == (answer.held, answer.requeued, answer.conflicts)
            assert 2 == office.sync().delivered
            wait_for_final(office, held + later)
            answer = office.reconcile()
            assert (4, 0, 0) == (answer.held, answer.requeued, answer.conflicts)
            assert [] == list(office.rejected())


def wait_for_final(office: ktpsync.Office, packet_ids: list[str]) -> None:
    """Ask the centre until it has looked into packets."""
    wanted = set(packet_ids)
    while wanted:
        office.poll_statuses()
        wanted -= {view.packet_id for view in office.outbox.packets() if view.status == "PRINT_READY_RECORD"}
