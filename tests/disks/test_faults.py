"""A disk that fails in mid-write: old packets stay, no half packet appears, the delivery waits, and the office is told."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from ktpsync import files
from ktpsync.backends.disk import init_disk, read_marker
from ktpsync.clock import SystemClock
from ktpsync.errors import DiskFullError, WrongDiskError
from ktpsync.testing import made_up_packet, make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.backends.disk.backend import DiskBackend
    from ktpsync.office import Office

pytestmark = pytest.mark.slow


class QuickClock(SystemClock):
    """Time passes as always, only waiting takes none."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now_ms(self) -> int:
        """The wall clock."""
        return super().now_ms() + int(self.skipped * 1000)

    def monotonic(self) -> float:
        """The clock that never runs backwards."""
        return super().monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        """Skip the wait."""
        self.skipped += seconds


def whole_packets(folder: Path) -> dict[str, str]:
    """Return the digests of what stands under final names."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("packets/*/*.age")
    }


@contextlib.contextmanager
def in_mid_write(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, when the bytes of a file are written and not yet synced."""
    real, faults = files.fsync_file, [fault]

    def fsync_file(file: object) -> None:
        while faults:
            faults.pop()()
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.files.fsync_file", fsync_file)
        yield
    assert not faults, "nothing was written"


@pytest.fixture
def disk(request: pytest.FixtureRequest, new_disk: Callable[..., Any]) -> Any:
    """A disk that is plugged in and marked; ext4 if the test does not say which."""
    disk = new_disk(getattr(request, "param", "ext4"), size_mb=16)
    init_disk(disk.mount_point, label="red")
    return disk


@pytest.fixture
def office(tmp_path: Path, disk: Any) -> Iterator[Office]:
    """An office with one packet on the disk, and one that waits for it."""
    mount_point = disk.mount_point
    identity = ktpsync.age.generate_identity("x25519")
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(identity.recipient)],
        places=f'[destinations.usb-a]\nbackend = "disk"\npath = "{mount_point}"\nreserve = 0\n',
    )
    with ktpsync.Office.open(config, clock=QuickClock()) as office:
        office.submit(make_enrollment(1, size=4000))
        assert 1 == office.sync().delivered
        office.submit(make_enrollment(2, size=4000))
        yield office


def assert_waits(office: Office, *words: str) -> None:
    """The packet waits without blame, and the report says which disk and what to do."""
    report = office.sync()
    assert (0, 0, 1) == (report.delivered, report.rejected, report.waiting)
    for word in ("usb-a", *words):
        assert word in report.reason


def assert_arrives(office: Office, folder: Path, old: dict[str, str]) -> None:
    """With the disk in order again the packet is delivered, and what was there is as it was."""
    assert 1 == office.sync().delivered
    now = whole_packets(folder)
    assert 2 == len(now)
    assert old.items() <= now.items()


@pytest.mark.parametrize("disk", ["ext4", "exfat", "ntfs"], indirect=True)
def test_unmounted_in_mid_write(office: Office, disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cable is pulled; nothing lands in the folder below."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)

    with in_mid_write(monkeypatch, disk.pull_out):
        assert_waits(office, str(mount_point), "Plug in the right disk")

    assert [] == list(mount_point.iterdir())
    disk.plug_in()
    assert old.items() <= whole_packets(mount_point).items()
    assert_arrives(office, mount_point, old)


def test_the_disk_turns_read_only_in_mid_write(
    office: Office, disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel found an error on the disk and stopped writing to it."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    source = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", mount_point], capture_output=True, text=True, check=True
    )
    switch = Path("/sys/fs/ext4", Path(source.stdout.strip()).name, "trigger_fs_error")
    if not switch.exists():
        pytest.skip("this kernel cannot make a file system fail")

    with in_mid_write(monkeypatch, lambda: switch.write_text("1")):
        assert_waits(office, "'red'", str(mount_point), "read-only", "check the disk and plug it in again")

    assert old == whole_packets(mount_point)
    disk.pull_out()
    subprocess.run(["fsck.ext4", "-f", "-y", disk.image], capture_output=True, check=False)
    disk.plug_in()
    assert_arrives(office, mount_point, old)


def test_remounted_read_only(office: Office, disk: Any) -> None:
    """A disk with its lock on is told as such; what it holds can be read."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    subprocess.run(["mount", "-o", "remount,ro", mount_point], check=True)

    assert_waits(office, "'red'", "read-only", "plug it in again")

    assert old == whole_packets(mount_point)
    subprocess.run(["mount", "-o", "remount,rw", mount_point], check=True)
    assert_arrives(office, mount_point, old)


def test_another_disk_in_its_place(office: Office, disk: Any, new_disk: Callable[..., Any]) -> None:
    """The wrong disk is named, and nothing is written to it."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    disk.pull_out()
    other = new_disk("ext4", size_mb=16)
    init_disk(other.mount_point, label="blue")
    other.pull_out()
    other.plug_in(mount_point)

    assert_waits(office, "blue", str(mount_point), "Plug in the right disk")

    assert {} == whole_packets(mount_point)
    other.pull_out(mount_point)
    disk.plug_in()
    assert_arrives(office, mount_point, old)


def test_an_empty_mount_point(office: Office, disk: Any) -> None:
    """The disk is in the drawer: the folder below stays empty."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    disk.pull_out()

    assert_waits(office, str(mount_point), "Plug in the right disk")

    assert [] == list(mount_point.iterdir())
    disk.plug_in()
    assert_arrives(office, mount_point, old)


def test_the_disk_comes_back_under_another_name(office: Office, disk: Any, tmp_path: Path) -> None:
    """It is found by its marker, and the folder where it was stays empty."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    disk.pull_out()
    disk.plug_in(tmp_path / "usb1")

    assert_arrives(office, tmp_path / "usb1", old)
    assert [] == list(mount_point.iterdir())


@pytest.mark.parametrize("disk", ["ext4", "exfat"], indirect=True)
def test_backups_follow_the_disk(tmp_path: Path, disk: Any) -> None:
    """With the UUID alone in the configuration it may be mounted anywhere, and be away meanwhile."""
    uuid = read_marker(disk.mount_point).uuid
    identity = ktpsync.age.generate_identity("x25519")
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(identity.recipient)],
        places=f'[backups.usb-a]\nbackend = "disk"\ndisk = "{uuid}"\nreserve = 0\n',
    )
    with ktpsync.Office.open(config, clock=QuickClock()) as office:
        office.submit(make_enrollment(1, size=4000))
        office.backup("usb-a")
        disk.pull_out()
        with pytest.raises(WrongDiskError, match=rf"usb-a: .*{uuid}|No marked disk"):
            office.backup("usb-a")
        office.submit(make_enrollment(2, size=4000))
        disk.plug_in(tmp_path / "usb1")

        office.backup("usb-a")

        assert (True, 2) == ((report := office.verify("usb-a")).ok, report.packets)
    assert [] == list(disk.mount_point.iterdir())
    disk.pull_out(tmp_path / "usb1")


def test_two_disks_with_one_marker(office: Office, disk: Any, new_disk: Callable[..., Any]) -> None:
    """A copied disk is not taken for the original by chance."""
    mount_point = disk.mount_point
    marker = (mount_point / "ktpsync-disk.json").read_bytes()
    disk.pull_out()
    copies = [new_disk("ext4", size_mb=16) for _ in range(2)]
    for copy in copies:
        (copy.mount_point / "ktpsync-disk.json").write_bytes(marker)

    assert_waits(office, "2 disks carry the marker", "unplug one")

    for copy in copies:
        assert {} == whole_packets(copy.mount_point)
        copy.pull_out()


@pytest.mark.parametrize("disk", ["tmpfs", "exfat"], indirect=True)
def test_a_full_disk(office: Office, disk: Any) -> None:
    """The packet waits until somebody frees some room."""
    mount_point = disk.mount_point
    old = whole_packets(mount_point)
    filler = mount_point / "holiday.mp4"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"f" * 4096)

    assert_waits(office, "'red'", str(mount_point), "Free some room or plug in another disk")

    assert old == whole_packets(mount_point)
    filler.unlink()
    assert_arrives(office, mount_point, old)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "exfat", "ntfs"])
def test_full_at_every_write(
    new_disk: Callable[..., Any],
    backend_on: Callable[..., DiskBackend],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """However far a packet comes before the room ends: it is not there, and what was there is whole."""
    disk = new_disk(kind, size_mb=8)
    root: Path = disk.mount_point
    init_disk(root, label="red")
    backend, old, new = backend_on(root), made_up_packet(b"o" * 100_000), made_up_packet(b"n" * 100_000)
    backend.deliver(old)
    filler = root / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"f" * 4096)
    # Another program takes the room between looking and writing.
    monkeypatch.setattr("ktpsync.files.free_bytes", lambda _: 1 << 40)

    failures: list[str] = []
    while True:
        try:
            backend.deliver(new)
            break
        except DiskFullError as error:
            failures.append(str(error))
        assert {old.packet_id: old.sha256} == whole_packets(root)
        assert [] == list(root.rglob("*.part"))
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - 4096)

    assert len(failures) > 3
    for message in failures:
        assert f"usb-a: no room on the disk 'red' at {root}" in message
        assert "plug in another disk" in message
    assert {old.packet_id: old.sha256, new.packet_id: new.sha256} == whole_packets(root)


def test_what_the_disk_did_not_take_for_sure_is_written_again(
    folder: Path, backend_on: Callable[..., DiskBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the sync of the folder fails after the rename, the next try syncs before it gives a receipt."""
    backend, packet = backend_on(folder), made_up_packet(b"x" * 1000)
    real, synced = files.fsync_folder, []

    def fail_in_its_folder(where: Path) -> None:
        if where.name == packet.packet_id[-2:]:
            raise OSError(5, "Input/output error")
        real(where)

    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.files.fsync_folder", fail_in_its_folder)
        with pytest.raises(ktpsync.errors.UnavailableError, match="I/O error"):
            backend.deliver(packet)
        # The bytes can be seen, but nobody knows for how long: no receipt.
        with pytest.raises(ktpsync.errors.UnavailableError, match="I/O error"):
            backend.deliver(packet)

    monkeypatch.setattr("ktpsync.files.fsync_folder", lambda where: synced.append(where) or real(where))
    assert packet.sha256 == backend.deliver(packet).sha256
    assert folder / "packets" / packet.packet_id[-2:] in synced


def test_a_file_that_lands_below_an_unmounted_disk_is_taken_back(
    disk: Any, backend_on: Callable[..., DiskBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk goes between the look at the marker and the first byte: the system disk keeps nothing."""
    mount_point: Path = disk.mount_point
    backend, packet = backend_on(mount_point), made_up_packet(b"x" * 1000)
    real = files.make_folder

    def gone(folder: Path) -> None:
        disk.pull_out()
        real(folder)

    monkeypatch.setattr("ktpsync.files.make_folder", gone)
    with pytest.raises(WrongDiskError, match=r"pulled out|No marked disk"):
        backend.deliver(packet)

    assert [] == [path for path in mount_point.rglob("*") if path.is_file()]
