"""What users of other backup programs suffered from their disks, on real file systems; each with where it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import ktpsync
from ktpsync import files
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backup import Repository, backup
from ktpsync.cli import main
from ktpsync.errors import DiskFullError, RepositoryError, UnavailableError, WrongDiskError
from ktpsync.plugins import BackendContext, ByteSize
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.office import Office

pytestmark = pytest.mark.slow

IDENTITY = ktpsync.age.generate_identity("x25519")


@pytest.fixture
def disk(new_disk: Callable[..., Any]) -> Any:
    """An ext4 disk that is plugged in and marked."""
    disk = new_disk("ext4", size_mb=24)
    init_disk(disk.mount_point, label="red")
    return disk


@pytest.fixture
def office(tmp_path: Path, disk: Any) -> Iterator[Office]:
    """An office with three packets and a backup of two of them."""
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(IDENTITY.recipient)],
        places=f'[backups.usb]\nbackend = "disk"\npath = "{disk.mount_point}"\nreserve = 0\n',
    )
    with ktpsync.Office.open(config) as office:
        for seed in range(2):
            office.submit(make_enrollment(seed, size=4000))
        office.backup("usb")
        office.submit(make_enrollment(2, size=4000))
        yield office


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "lost+found" not in path.parts
    }


def test_the_disk_came_back_under_another_mount_name(office: Office, disk: Any, tmp_path: Path) -> None:
    """backintime#891: backups filled a folder on the system disk. Here the disk is found, the folder stays empty."""
    disk.pull_out()
    disk.plug_in(tmp_path / "usb1")

    report = office.backup("usb")

    assert (1, 3) == (report.packets, report.totals.packets)
    assert [] == list(disk.mount_point.iterdir())
    assert office.verify("usb").ok


def test_a_repository_was_made_on_the_folder_below_before_the_disk_was_mounted(
    new_disk: Callable[..., Any], tmp_path: Path
) -> None:
    """bombvault#120: one hides the other. Here the other disk is refused by name and stays as it is."""
    disk = new_disk("ext4", size_mb=16)
    init_disk(disk.mount_point, label="blue")
    disk.pull_out()
    init_disk(disk.mount_point, label="the folder below")
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(IDENTITY.recipient)],
        places=f'[backups.usb]\nbackend = "disk"\npath = "{disk.mount_point}"\nreserve = 0\n',
    )
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=4000))
        office.backup("usb")
        below = contents(disk.mount_point)
        disk.plug_in()
        before = contents(disk.mount_point)

        with pytest.raises(WrongDiskError, match="blue"):
            office.backup("usb")

        assert before == contents(disk.mount_point)
        disk.pull_out()
        assert below == contents(disk.mount_point)
        assert office.backup("usb").ok


def test_the_disk_comes_back_read_only(office: Office, disk: Any, tmp_path: Path) -> None:
    """borg#6847: after the computer slept. Backing up says so; verifying and restoring work all the same."""
    disk.pull_out()
    disk.plug_in(read_only=True)
    before = contents(disk.mount_point)

    with pytest.raises(UnavailableError, match=r"'red'.*read-only"):
        office.backup("usb")

    assert office.verify("usb").ok
    restored = ktpsync.restore(disk.mount_point, into=tmp_path / "new", identity=IDENTITY)
    assert (2, True) == (len(restored.packet_ids), restored.ok)
    assert before == contents(disk.mount_point)


def test_the_cable_is_pulled_in_mid_write(
    office: Office, disk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """restic#1091: what was committed stays whole, nothing lands below, and plugged in again it goes on."""
    real, faults = files.fsync_file, [disk.pull_out]
    device = disk.mount_point.stat().st_dev

    def fsync_file(file: Any) -> None:
        if Path(f"/proc/self/fd/{file.fileno()}").stat().st_dev == device and faults:
            faults.pop()()
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.files.fsync_file", fsync_file)
        with pytest.raises(UnavailableError, match="Plug in the right disk"):
            office.backup("usb")
    assert [] == [*faults, *disk.mount_point.iterdir()]

    disk.plug_in()
    assert office.verify("usb").ok
    assert (1, True) == ((report := office.backup("usb")).packets, report.ok)
    assert () == office.verify("usb").notes
    restored = ktpsync.restore(disk.mount_point, into=tmp_path / "new", identity=IDENTITY)
    assert 3 == len(restored.packet_ids)


def test_the_cable_is_pulled_while_verifying(
    office: Office, disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification that loses its disk is an error, and no copy is written off because of it."""
    real, faults = files.drop_page_cache, [disk.pull_out]

    def drop_page_cache(file: Any) -> None:
        if faults:
            faults.pop()()
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.files.drop_page_cache", drop_page_cache)
        with pytest.raises(UnavailableError):
            office.verify("usb")
    disk.plug_in()

    assert office.verify("usb").ok
    assert 1 == office.backup("usb").packets


def test_an_interrupted_first_run_leaves_what_is_complete(office: Office, disk: Any, tmp_path: Path) -> None:
    """restic#2960: days of copying with nothing to show. Here its snapshots are listed, verify and restore."""
    init_disk(tmp_path / "slow", label="slow")
    storage = DiskBackend(
        DiskSettings(path=tmp_path / "slow", reserve=ByteSize(0)), BackendContext(name="slow")
    )
    repository = Repository.create(storage, recipients=[str(IDENTITY.recipient)])
    for seed in range(10, 18):
        office.submit(make_enrollment(seed, size=4000))

    def pulled(news: Any) -> None:
        if news.packets_done >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(
            office.outbox,
            repository,
            station=office._station_key,
            memory=tmp_path / "memory",
            pack_size=1,
            snapshot_size=40_000,
            progress=pulled,
        )

    listed = CliRunner().invoke(main, ["backup", "list", str(tmp_path / "slow"), "--json"])
    shown = json.loads(listed.stdout)["snapshots"]
    assert [False] * len(shown) == [line["complete"] for line in shown]
    safe = shown[-1]["packets"]
    assert 2 <= safe <= 7
    assert ktpsync.verify_backup(tmp_path / "slow").ok
    restored = ktpsync.restore(tmp_path / "slow", into=tmp_path / "new", identity=IDENTITY)
    assert safe <= len(restored.packet_ids)
    assert not restored.damaged


def test_a_full_disk_keeps_what_was_committed(office: Office, disk: Any) -> None:
    """The message names the disk and what to do; with room again the backup goes on."""
    ballast = disk.mount_point / "films"
    with ballast.open("wb") as file:
        room = files.free_bytes(disk.mount_point) // (1 << 20) * (1 << 20)
        file.write(bytes(room))
    while (free := files.free_bytes(disk.mount_point)) > 4096:
        with (disk.mount_point / f"films-{free}").open("wb") as file:
            file.write(bytes(free - 4096))

    with pytest.raises(DiskFullError, match="Free some room or plug in another disk"):
        office.backup("usb")

    assert office.verify("usb").ok
    for film in disk.mount_point.glob("films*"):
        film.unlink()
    assert 1 == office.backup("usb").packets
    assert office.verify("usb").ok


def test_another_repository_on_the_right_disk_is_refused(office: Office, disk: Any) -> None:
    """Somebody reformatted the folder: its new repository is not taken for the old one, nor overwritten."""
    for path in sorted(disk.mount_point.rglob("*.json")):
        if path.name == "ktpsync-repository.json":
            path.unlink()
    storage = DiskBackend(
        DiskSettings(path=disk.mount_point, reserve=ByteSize(0)), BackendContext(name="other")
    )
    Repository.create(storage, recipients=[str(IDENTITY.recipient)])

    with pytest.raises(RepositoryError, match="another disk is in its place"):
        office.backup("usb")
