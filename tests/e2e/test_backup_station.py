"""A station's backup from start to end: real packets, a real outbox, a real disk backend."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import ktpsync
from ktpsync import age, packet
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backup import (
    Depth,
    PacketFinder,
    Repository,
    Retention,
    backup,
    drill,
    packet_opener,
    prune,
    purged_packets,
    repair,
    restore_station,
    verify,
)
from ktpsync.clock import SystemClock
from ktpsync.errors import BackupInUseError, ConfigError, RestoreError, WrongDiskError
from ktpsync.keys import StationKey
from ktpsync.outbox import DeliveryState, DestinationSpec, Outbox
from ktpsync.plugins import BackendContext, Receipt, StatusChange, StatusPage
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ktpsync.backup import RestoreReport


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox of a data directory."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


def spooled(folder: Path) -> dict[str, str]:
    """Return the digests of all sealed packets of a data directory."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "spool").glob("*/*.age")
    }


class Station:
    """A data directory with an outbox, a disk with a repository, and the keys."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.disk = folder / "disk"
        init_disk(self.disk, label="usb-a")
        self.storage = DiskBackend(DiskSettings(path=self.disk, reserve=0), BackendContext(name="usb-a"))
        self.key = StationKey.generate()
        self.identity = age.generate_identity()
        self.repository = Repository.create(self.storage, recipients=[str(self.identity.recipient)])
        self.outbox = open_outbox(self.data)
        self.memory = self.data / "backups"

    def record(self, count: int, *, first: int = 0) -> list[str]:
        """Record enrolments and return their packet ids."""
        ids = []
        for person in range(first, first + count):
            sealing = packet.seal(
                make_enrollment(person, size=2_000),
                recipients=[self.identity.recipient],
                station_key=self.key,
                clock=SystemClock(),
            )
            made = sealing.packet
            self.outbox.submit(
                sealing.sealed, packet_id=made.packet_id, sha256=made.sha256, reference=f"ref-{person}"
            )
            ids.append(made.packet_id)
        return ids

    def backup(self) -> object:
        """Back up to the disk."""
        return backup(self.outbox, self.repository, station=self.key, memory=self.memory)

    def restore(self, into: Path, *, snapshot: str | None = None) -> RestoreReport:
        """Restore a data directory from the disk."""
        return restore_station(
            self.repository,
            into,
            identities=[self.identity],
            open_outbox=open_outbox,
            memory=into / "backups",
            snapshot=snapshot,
        )

    def flip(self, packet_id: str) -> str:
        """Flip a byte of a packet in its pack; return the pack's key."""
        sealed = (self.data / "spool" / packet_id[-2:] / f"{packet_id}.age").read_bytes()
        for path in (self.disk / "packs").glob("*.tar"):
            data = path.read_bytes()
            if sealed in data:
                at = data.index(sealed) + len(sealed) // 2
                path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
                return f"packs/{path.name}"
        raise AssertionError(packet_id)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """Return a station with nothing recorded yet."""
    made = Station(tmp_path)
    yield made
    made.outbox.close()


def test_backup_verify_lose_restore_and_go_on(station: Station, tmp_path: Path) -> None:
    """The data directory is lost; another machine has every packet, byte for byte, and backs up on."""
    station.record(8)
    station.backup()
    station.record(2, first=8)
    station.backup()
    opener = packet_opener([station.identity], [station.key.public])
    for depth in Depth:
        report = verify(
            station.repository,
            depth=depth,
            identities=[station.identity],
            open_packet=opener,
            trusted=[station.key.public],
            memory=station.memory,
        )
        assert ((), 10) == (report.problems, report.packets)
    assert drill(station.repository, identities=[station.identity], open_packet=opener, sample=4).ok

    new = tmp_path / "new"
    restored = station.restore(new)

    assert restored.ok
    assert spooled(station.data) == spooled(new)
    with open_outbox(new) as outbox:
        assert {f"ref-{person}" for person in range(10)} == {view.reference for view in outbox.packets()}
        assert 10 == len(outbox.claim("central", 100, lease=60))
        made = backup(outbox, station.repository, station=StationKey.generate(), memory=new / "backups")
    assert (0, ()) == (made.packets, made.warnings)
    assert 10 == made.totals.packets


def test_a_flipped_byte_is_named_survived_and_mended(station: Station, tmp_path: Path) -> None:
    """Verification names pack and packet; a restore brings all others; a repair makes the disk good again."""
    good, bad = station.record(2)
    station.backup()
    pack = station.flip(bad)

    report = verify(station.repository, trusted=[station.key.public], memory=station.memory)
    new = tmp_path / "new"
    restored = station.restore(new)
    mended = repair(
        station.repository,
        [lambda packet_id: station.outbox.spool.path(packet_id).read_bytes()],
    )

    assert (bad,) == report.damaged_packets
    assert {pack} == {problem.key for problem in report.problems}
    assert ((bad,), (good,), False) == (restored.damaged, restored.packet_ids, restored.ok)
    assert (True, (pack,)) == (mended.ok, mended.repaired)
    assert verify(station.repository, memory=station.memory).ok


def test_nothing_personal_and_no_key_is_on_the_disk(station: Station) -> None:
    """Names, numbers and the private key are found nowhere in the repository."""
    station.record(3)
    station.backup()
    secrets = [station.key.to_pem()[28:90]]
    for person in range(3):
        biodata = make_enrollment(person, size=2_000).biodata
        secrets += [biodata.nik.digits.encode(), biodata.full_name.encode()]

    stored = b"".join(path.read_bytes() for path in station.disk.rglob("*") if path.is_file())

    assert [] == [secret for secret in secrets if secret in stored]


def test_the_station_key_comes_back_only_if_it_was_asked_for(station: Station, tmp_path: Path) -> None:
    """With the key in the sealed state, the new machine signs as the old one did."""
    station.record(1)
    backup(
        station.outbox,
        station.repository,
        station=station.key,
        memory=station.memory,
        include_station_key=True,
    )

    new = tmp_path / "new"
    restored = station.restore(new)

    assert restored.station_key is not None
    assert station.key.public == StationKey.from_pem(restored.station_key.encode()).public
    assert "PRIVATE" not in repr(restored)


def test_a_restore_never_overwrites(station: Station) -> None:
    """A folder with anything in it is refused, and stays as it is."""
    station.record(1)
    station.backup()
    before = spooled(station.data)

    with pytest.raises(RestoreError, match="never overwrites"):
        station.restore(station.data)

    assert before == spooled(station.data)


def test_only_one_restore_into_a_folder_runs_at_a_time(station: Station, tmp_path: Path) -> None:
    """The second one would write over files that the first one has told durable."""
    station.record(2)
    station.backup()
    refused = []

    def second(_progress: object) -> None:
        with pytest.raises(BackupInUseError, match="Wait until it has ended"):
            station.restore(tmp_path / "new")
        refused.append(True)

    first = restore_station(
        station.repository,
        tmp_path / "new",
        identities=[station.identity],
        open_outbox=open_outbox,
        memory=tmp_path / "new" / "backups",
        progress=second,
    )

    assert (True, [True]) == (first.ok, refused)
    with pytest.raises(RestoreError, match="is not empty"):
        station.restore(tmp_path / "new")


def test_a_wrong_identity_restores_nothing_and_says_so(station: Station, tmp_path: Path) -> None:
    """Before anything is written, the identity is tried."""
    station.record(1)
    station.backup()
    new = tmp_path / "new"

    with pytest.raises(RestoreError, match="recovery recipients"):
        restore_station(
            station.repository,
            new,
            identities=[age.generate_identity()],
            open_outbox=open_outbox,
            memory=new / "backups",
        )

    assert {} == spooled(new)


def test_an_interrupted_restore_goes_on(station: Station, tmp_path: Path) -> None:
    """What was restored before is not written again."""
    station.record(8)
    backup(station.outbox, station.repository, station=station.key, memory=station.memory, pack_size=1)
    new = tmp_path / "new"

    def options() -> dict[str, object]:
        return {"identities": [station.identity], "open_outbox": open_outbox, "memory": new / "backups"}

    def pull_the_plug(progress: object) -> None:
        if progress.packets_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_station(station.repository, new, progress=pull_the_plug, **options())
    half = spooled(new)

    restored = restore_station(station.repository, new, **options())

    # Two more were on their way.
    assert 2 <= len(half) <= 4
    assert (True, 8) == (restored.ok, len(restored.packet_ids))
    assert sum(
        (station.data / "spool" / i[-2:] / f"{i}.age").stat().st_size
        for i in restored.packet_ids
        if i not in half
    ) == (restored.bytes_restored)
    assert spooled(station.data) == spooled(new)


def test_no_row_comes_before_the_bytes_that_it_names_are_durable(
    station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the last bytes of a restore: the outbox stays empty, and the next try ends it."""
    station.record(2)
    station.backup()
    new = tmp_path / "new"

    def refused(_spool: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("ktpsync.outbox._folder_spool.FolderSpool.finish_filling", refused)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            station.restore(new)
    with open_outbox(new) as outbox:
        assert [] == list(outbox.packets())

    restored = station.restore(new)

    assert (True, 2) == (restored.ok, len(restored.packet_ids))


def test_packets_recorded_after_the_state_was_read_come_back_with_rows(
    station: Station, tmp_path: Path
) -> None:
    """A packet in a pack whose row is in no state is delivered after a restore all the same."""
    station.record(1)

    class Busy:
        """The same outbox, with somebody recording just after the state was read."""

        def __getattr__(self, name: str) -> object:
            return getattr(station.outbox, name)

        def export(self, after: int = 0) -> Iterator[object]:
            yield from list(station.outbox.export(after))
            station.record(1, first=50)

    backup(Busy(), station.repository, station=station.key, memory=station.memory)
    new = tmp_path / "new"
    restored = station.restore(new)

    assert (True, 2) == (restored.ok, len(restored.packet_ids))
    with open_outbox(new) as outbox:
        assert 2 == len(outbox.claim("central", 10, lease=60))


def test_offloaded_packets_are_delivered_from_the_disk(station: Station) -> None:
    """Verified on the disk, dropped from the spool, fetched back with the right digest."""
    (packet_id,) = station.record(1)
    sha256 = spooled(station.data)[packet_id]
    station.backup()
    before = station.outbox.offload(1, who="test", prove=lambda _: True)
    verify(station.repository, memory=station.memory, source=station.outbox)

    freed = station.outbox.offload(1, who="test", prove=lambda _: True)
    station.outbox.spool.fetch = PacketFinder(station.repository).open
    (lease,) = station.outbox.claim("central", 1, lease=60)
    with lease.packet.open() as file:
        fetched = file.read()

    assert (0, {}) == (before, spooled(station.data))
    assert freed == len(fetched)
    assert sha256 == hashlib.sha256(fetched).hexdigest()


def test_an_empty_mount_point_is_never_backed_up_to(station: Station, tmp_path: Path) -> None:
    """The disk is found by its marker: without it nothing is written on the system disk."""
    station.record(1)
    empty = tmp_path / "mount"
    empty.mkdir()
    storage = DiskBackend(DiskSettings(path=empty, reserve=0), BackendContext(name="usb-a"))

    with pytest.raises(WrongDiskError):
        backup(
            station.outbox,
            Repository.open(storage, expected=station.repository.uuid),
            station=station.key,
            memory=station.memory,
        )

    assert [] == list(empty.iterdir())


def test_a_disk_under_another_mount_name_is_the_same_repository(station: Station, tmp_path: Path) -> None:
    """What counts is the repository's own id, not the path."""
    station.record(1)
    station.backup()
    moved = tmp_path / "usb1"
    station.disk.rename(moved)
    storage = DiskBackend(DiskSettings(path=moved, reserve=0), BackendContext(name="usb-a"))
    repository = Repository.open(storage, expected=station.repository.uuid)

    station.record(1, first=7)
    made = backup(station.outbox, repository, station=station.key, memory=station.memory)

    assert (1, 2, ()) == (made.packets, made.totals.packets, made.warnings)


def test_a_purged_packet_that_is_sent_again_is_not_pruned(station: Station) -> None:
    """The centre takes its final word back and asks again: the backup's copy is the last, and stays until it is sent."""
    (packet_id,) = station.record(1)
    station.backup()
    verify(station.repository, memory=station.memory, source=station.outbox)
    now = datetime.now(UTC)
    outbox = station.outbox

    def deliver() -> None:
        (lease,) = outbox.claim("central", 10, lease=60)
        outbox.settle(lease, Receipt.of(lease.packet, sha256=lease.packet.sha256, stored_at=now))

    def say(status: str, days: int) -> None:
        change = StatusChange(packet_id=packet_id, status=status, changed_at=now - timedelta(days=days))
        outbox.apply_statuses("central", StatusPage(changes=(change,), cursor=status, more=False))

    deliver()
    say("DUPLICATE_RECORD", 2)
    assert [packet_id] == outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    say("PACKET_RETRY", 1)
    station.backup()

    def expendable() -> list[str]:
        return [name for name, _ in purged_packets(outbox)]

    assert [] == expendable()
    deliver()
    assert [packet_id] == expendable()


def test_purged_packets_are_not_restored_and_are_pruned(station: Station, tmp_path: Path) -> None:
    """What the outbox let go of by its rule leaves the backup with the next prune, and nothing else does."""
    finished, waiting = station.record(2)
    station.backup()
    verify(station.repository, memory=station.memory, source=station.outbox)
    now = datetime.now(UTC)
    for lease in station.outbox.claim("central", 10, lease=60):
        if lease.packet.packet_id == finished:
            receipt = Receipt.of(lease.packet, sha256=lease.packet.sha256, stored_at=now)
            station.outbox.settle(lease, receipt)
    change = StatusChange(packet_id=finished, status="CARD_PRINTED", changed_at=now - timedelta(days=2))
    station.outbox.apply_statuses("central", StatusPage(changes=(change,), cursor="1", more=False))
    assert [finished] == station.outbox.purge(timedelta(0), who="test", prove=lambda _: True)
    station.backup()

    report = prune(
        station.outbox,
        station.repository,
        station=station.key,
        memory=station.memory,
        retention=Retention(last=1, daily=0, weekly=0, monthly=0),
        expendable=purged_packets(station.outbox),
    )
    new = tmp_path / "new"
    restored = station.restore(new)

    assert (1, 1) == (report.packets_dropped, verify(station.repository, memory=station.memory).packets)
    assert ((waiting,), True) == (restored.packet_ids, restored.ok)
    with open_outbox(new) as outbox:
        assert {finished: "purged", waiting: "spool"} == {v.packet_id: v.location for v in outbox.packets()}


@contextlib.contextmanager
def busy(station: Station) -> Iterator[None]:
    """Record and deliver without a pause while the block runs."""
    stop = threading.Event()

    def record() -> None:
        for number in itertools.count(100):
            if stop.is_set():
                return
            station.record(1, first=number)

    def deliver() -> None:
        while not stop.is_set():
            for lease in station.outbox.claim("central", 4, lease=60):
                sealed = lease.packet
                receipt = Receipt.of(sealed, sha256=sealed.sha256, stored_at=datetime.now(UTC))
                station.outbox.settle(lease, receipt)

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(record), pool.submit(deliver)]
        try:
            yield
        finally:
            stop.set()
    for work in working:
        work.result()


def assert_consistent(folder: Path) -> None:
    """Every row has its bytes, all bytes have a row, and each receipt is for them."""
    with open_outbox(folder) as outbox:
        known = {view.packet_id: view.sha256 for view in outbox.packets()}
        assert known == spooled(folder)
        for packet_id, sha256 in known.items():
            (delivery,) = outbox.status(packet_id).deliveries
            receipt = None if delivery.receipt is None else delivery.receipt.sha256
            assert receipt == (sha256 if delivery.state is DeliveryState.DELIVERED else None)


@pytest.mark.slow
def test_snapshots_are_consistent_while_people_record_and_couriers_deliver(
    station: Station, tmp_path: Path
) -> None:
    """Each snapshot of a busy outbox restores to one state of it, and none holds fewer packets than the one before."""
    station.record(3)
    options: dict[str, object] = {"station": station.key, "memory": station.memory, "pack_size": 8_000}
    with busy(station):
        reports = [
            backup(station.outbox, station.repository, full=number == 2, **options) for number in range(5)
        ]

    assert verify(station.repository, trusted=[station.key.public], memory=station.memory).ok
    counts = []
    for number, report in enumerate(reports):
        new = tmp_path / f"new-{number}"
        restored = station.restore(new, snapshot=report.head)
        assert (True, ()) == (restored.ok, restored.missing)
        counts.append(len(restored.packet_ids))
        assert_consistent(new)
    assert sorted(counts) == counts
    assert counts[0] >= 3


@pytest.mark.parametrize(
    "name", ["Désa 役所 'satu'", os.fsdecode(b"D\xe9sa")], ids=["UTF-8", "no text at all"]
)
def test_folders_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Also one that another system wrote in another encoding, which is no text here."""
    folder = tmp_path / name
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    identity = age.generate_identity("x25519")
    init_disk(folder / "usb")
    config = ktpsync.init_office(
        folder / "office",
        recipients=[str(identity.recipient)],
        places='[backups.usb]\nbackend = "disk"\npath = "../usb"\nreserve = 0\n',
    )
    with ktpsync.Office.open(config) as office:
        made = office.submit(make_enrollment(1, size=2_000))
        assert office.backup("usb").ok
        assert office.verify("usb", identities=[identity]).ok

    restored = ktpsync.restore(folder / "usb", into=folder / "new", identity=identity)

    assert (True, (made.packet_id,)) == (restored.ok, restored.packet_ids)
    with ktpsync.Office.open(folder / "new") as office:
        assert made.sha256 == office.status(made.packet_id).packet.sha256


def test_an_office_is_not_set_up_over_a_restore_that_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine dies between the packets and the keys: run again, the restore ends, with the keys of the backup."""
    identity = age.generate_identity("x25519")
    recipients = [str(identity.recipient)]
    init_disk(tmp_path / "usb")
    place = 'backend = "disk"\npath = "../usb"\nreserve = 0\ninclude_station_key = true\n'
    config = ktpsync.init_office(tmp_path / "office", recipients=recipients, places=f"[backups.usb]\n{place}")
    with ktpsync.Office.open(config) as office:
        made = office.submit(make_enrollment(1, size=2_000))
        office.backup("usb")

    def restore() -> RestoreReport:
        return ktpsync.restore(tmp_path / "usb", into=tmp_path / "new", identity=identity)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("ktpsync.keys.IndexKey.save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore()
    with pytest.raises(ConfigError, match=r"has not ended\. Run the same `ktpsync restore` again"):
        ktpsync.init_office(tmp_path / "new", recipients=recipients)

    assert restore().ok
    for key in ("index.key", "station.pem"):
        assert (tmp_path / "office/data/keys" / key).read_bytes() == (
            tmp_path / "new/data/keys" / key
        ).read_bytes()
    with ktpsync.Office.open(tmp_path / "new") as office:
        assert made.packet_id == office.submit(make_enrollment(1, size=2_000)).packet_id
    with pytest.raises(RestoreError, match="is an office already"):
        restore()
