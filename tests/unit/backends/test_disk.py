"""The disk backend where things go wrong: the right disk, or no write."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ktpsync import files
from ktpsync.backends.disk import init_disk, mounted_disks, read_marker
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.errors import BackendError, ConfigError, DiskFullError, UnavailableError, WrongDiskError
from ktpsync.plugins import BackendContext, ByteSize, read_settings
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def disk_at(path: Path, state: Path | None = None, *, reserve: int = 0) -> DiskBackend:
    """Return a backend on a folder."""
    return DiskBackend(
        DiskSettings(path=path, reserve=ByteSize(reserve)), BackendContext(name="usb-a", state_folder=state)
    )


def test_an_empty_mount_point_is_never_written_to(tmp_path: Path) -> None:
    """Without the marker it is no disk of ours, and stays empty."""
    (tmp_path / "mnt").mkdir()

    with pytest.raises(WrongDiskError, match="ktpsync disk init"):
        disk_at(tmp_path / "mnt").deliver(made_up_packet())

    assert [] == list((tmp_path / "mnt").iterdir())


def test_a_missing_mount_point_is_told(tmp_path: Path) -> None:
    """The disk is not plugged in."""
    with pytest.raises(WrongDiskError, match="Plug in the right disk"):
        disk_at(tmp_path / "mnt").check()


def test_another_disk_in_its_place_is_refused(tmp_path: Path) -> None:
    """The first disk seen is remembered, over restarts."""
    init_disk(tmp_path / "mnt", label="red sticker")
    disk_at(tmp_path / "mnt", tmp_path / "state").deliver(made_up_packet())
    shutil.rmtree(tmp_path / "mnt")
    init_disk(tmp_path / "mnt", label="blue sticker")

    with pytest.raises(WrongDiskError, match=r"is blue sticker, but red sticker \("):
        disk_at(tmp_path / "mnt", tmp_path / "state").deliver(made_up_packet())


def test_a_damaged_marker_is_no_marker(tmp_path: Path) -> None:
    """Nothing is written to a disk that cannot say which it is."""
    init_disk(tmp_path / "mnt")
    (tmp_path / "mnt" / "ktpsync-disk.json").write_bytes(b"\0" * 100)

    with pytest.raises(WrongDiskError, match="damaged"):
        disk_at(tmp_path / "mnt").deliver(made_up_packet())


def test_marking_again_keeps_the_marker(tmp_path: Path) -> None:
    """A disk's id is for good."""
    first = init_disk(tmp_path / "mnt", label="one")

    assert first == init_disk(tmp_path / "mnt", label="two") == read_marker(tmp_path / "mnt")


def test_the_reserve_stays_free(tmp_path: Path) -> None:
    """A write that would fill the disk is refused before it begins, in words."""
    init_disk(tmp_path / "mnt")
    everything = files.free_bytes(tmp_path) + (1 << 40)

    with pytest.raises(DiskFullError, match="kept in reserve"):
        disk_at(tmp_path / "mnt", reserve=everything).deliver(made_up_packet())
    with pytest.raises(DiskFullError):
        disk_at(tmp_path / "mnt", reserve=everything).check()


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, DiskFullError), (errno.EIO, UnavailableError), (errno.EROFS, UnavailableError)],
)
@pytest.mark.parametrize("call", ["os.fsync", "_rename_new", "os.open"])
def test_a_failing_system_call_leaves_no_half_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[BackendError]
) -> None:
    """The packet is not there, what was there is, and a later try succeeds."""
    init_disk(tmp_path / "mnt")
    backend, old, new = disk_at(tmp_path / "mnt"), made_up_packet(b"old"), made_up_packet(b"new")
    backend.deliver(old)

    real_open = os.open

    def fail(*args: object, **_kwargs: object) -> object:
        if call == "os.open" and not int(args[1]) & os.O_CREAT:  # type: ignore[call-overload]  # the flags
            return real_open(*args)  # type: ignore[arg-type]
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(f"ktpsync.files.{call}", fail)
        with pytest.raises(expected):
            backend.deliver(new)

    stored = [info.key for info in backend.list("packets/")]
    assert [True] == [old.packet_id in key for key in stored]
    assert new.sha256 == backend.deliver(new).sha256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if shutil.which("mount") is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow mounting")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_really_full_disk_keeps_what_it_has(small_disk: Path) -> None:
    """With no reserve the disk fills up; the packet that did not fit is not there, all others are whole."""
    init_disk(small_disk)
    backend = disk_at(small_disk)
    packets = [made_up_packet(bytes([number]) * 400_000) for number in range(8)]
    kept = []

    def deliver_all() -> None:
        for packet in packets:
            backend.deliver(packet)
            kept.append(packet)

    with pytest.raises(DiskFullError, match="usb-a"):
        deliver_all()

    assert 0 < len(kept) < len(packets)
    assert len(kept) == len(list(backend.list("packets/")))
    assert [packet.sha256 for packet in kept] == [backend.deliver(packet).sha256 for packet in kept]


def test_a_disk_pulled_out_in_mid_write_leaves_the_delivery_undone(small_disk: Path) -> None:
    """The mount point is empty afterwards, and nothing is written to what is below it."""
    init_disk(small_disk)
    backend = disk_at(small_disk)
    backend.deliver(made_up_packet())

    class Unplugged(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not self.tell():
                subprocess.run(["umount", "-l", str(small_disk)], check=True)
            return super().read(size)

    packet = made_up_packet(b"x" * 1000)
    with pytest.raises(WrongDiskError):
        backend.put("packets/ab/a.age", Unplugged(b"x" * 1000), size=1000, sha256=packet.sha256)

    assert [] == list(small_disk.iterdir())
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(small_disk)], check=True)


class Partition:
    """What the system tells of a mounted disk."""

    def __init__(self, mountpoint: Path, *, opts: str = "rw", fstype: str = "exfat") -> None:
        self.mountpoint, self.opts, self.fstype, self.device = str(mountpoint), opts, fstype, "/dev/sdx1"


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> list[Partition]:
    """The disks that are plugged in, none of which is the system's."""
    partitions: list[Partition] = []
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: partitions)
    monkeypatch.setattr("ktpsync.backends.disk._mounted.on_system_disk", lambda _: False)
    return partitions


def test_a_disk_is_found_by_its_uuid_alone(tmp_path: Path, plugged_in: list[Partition]) -> None:
    """No path is needed, wherever it is mounted, and whichever folder on it was marked."""
    (tmp_path / "usb1").mkdir()
    marker = init_disk(tmp_path / "usb1" / "ktpsync", label="red")
    packet = made_up_packet()
    backend = DiskBackend(DiskSettings(disk=marker.uuid.upper()), BackendContext(name="usb-a"))
    with pytest.raises(WrongDiskError, match=f"{marker.uuid} is not plugged in"):
        backend.deliver(packet)

    plugged_in.append(Partition(tmp_path / "usb1"))

    assert packet.sha256 == backend.deliver(packet).sha256
    assert 1 == len(list((tmp_path / "usb1" / "ktpsync" / "packets").rglob("*.age")))


def test_a_disk_that_moves_is_followed_and_comes_back(tmp_path: Path, plugged_in: list[Partition]) -> None:
    """The first disk seen at the path is followed by its marker, over restarts."""
    marker = init_disk(tmp_path / "usb", label="red")
    disk_at(tmp_path / "usb", tmp_path / "state").deliver(made_up_packet())
    (tmp_path / "usb").rename(tmp_path / "usb1")
    (tmp_path / "usb").mkdir()
    plugged_in.append(Partition(tmp_path / "usb1"))
    backend = disk_at(tmp_path / "usb", tmp_path / "state")

    assert {"uuid": marker.uuid, "path": str(tmp_path / "usb1")} == backend.check().details
    (tmp_path / "usb").rmdir()
    (tmp_path / "usb1").rename(tmp_path / "usb")
    assert {"uuid": marker.uuid, "path": str(tmp_path / "usb")} == backend.check().details


def test_a_disk_never_seen_is_not_searched_for(tmp_path: Path, plugged_in: list[Partition]) -> None:
    """Without a UUID nothing says that the disk elsewhere is the right one."""
    init_disk(tmp_path / "usb1")
    plugged_in.append(Partition(tmp_path / "usb1"))

    with pytest.raises(WrongDiskError, match="Plug in the right disk"):
        disk_at(tmp_path / "usb", tmp_path / "state").deliver(made_up_packet())


def test_disks_are_told_by_what_they_are(tmp_path: Path, plugged_in: list[Partition]) -> None:
    """Marked, unmarked and damaged ones are listed; CDs, and mount points that do not answer, are not."""
    for name in ("marked", "new", "damaged", "cd"):
        (tmp_path / name).mkdir()
    marker = init_disk(tmp_path / "marked", label="red")
    (tmp_path / "damaged" / "ktpsync-disk.json").write_bytes(b"\0")
    plugged_in += [Partition(tmp_path / name) for name in ("marked", "marked", "new", "damaged", "gone")]
    plugged_in += [Partition(tmp_path / "cd", opts="ro", fstype="iso9660")]
    plugged_in[2].opts = "ro,nosuid"

    found = {disk.path.name: disk for disk in mounted_disks()}

    assert ["damaged", "marked", "new"] == sorted(found)
    assert marker == found["marked"].marker
    assert (None, "", True) == (found["new"].marker, found["new"].problem, found["new"].read_only)
    assert "is damaged" in found["damaged"].problem
    assert found["new"].free <= found["new"].size


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reserve": "1 GB"}, r"\[destinations.usb-a\].*path = .*`ktpsync disk list`"),
        ({"disk": "red, drawer 2"}, "'red, drawer 2' is not a UUID; `ktpsync disk list`"),
    ],
)
def test_settings_need_a_path_or_a_uuid(settings: dict[str, object], words: str) -> None:
    """The message shows both ways, and where UUIDs are shown."""
    with pytest.raises(ConfigError, match=words):
        read_settings(DiskSettings, settings, where="[destinations.usb-a]")


def test_a_source_that_fails_is_not_the_disk_s_fault(tmp_path: Path) -> None:
    """The spool's own disk failed: nobody is sent to look at the external one."""
    init_disk(tmp_path / "usb")

    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "the spool's disk")

    with pytest.raises(OSError, match="the spool's disk"):
        disk_at(tmp_path / "usb").put("a", Failing(), size=1, sha256="0" * 64)

    assert [] == list(disk_at(tmp_path / "usb").list())


def test_a_disk_that_cannot_be_noted_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another one would be taken for it after the next start."""
    init_disk(tmp_path / "usb")
    backend, packet = disk_at(tmp_path / "usb", tmp_path / "state"), made_up_packet()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.files.write_atomic", full)
        for _ in range(2):
            with pytest.raises(
                UnavailableError, match=r"cannot note which disk .*Free some room on the station"
            ):
                backend.deliver(packet)

    assert packet.sha256 == backend.deliver(packet).sha256


def test_a_marker_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    """The disk is not written to, and the office is told to upgrade."""
    init_disk(tmp_path / "usb")
    marker = tmp_path / "usb" / "ktpsync-disk.json"
    marker.write_text(marker.read_text().replace("ktpsync.disk/1", "ktpsync.disk/2"))

    with pytest.raises(WrongDiskError, match=r"newer kind. Upgrade ktpsync"):
        disk_at(tmp_path / "usb").deliver(made_up_packet())


@pytest.mark.parametrize("use", ["open", "stat", "exists", "list"])
def test_what_is_on_a_disk_that_was_just_pulled_out_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """Between the look at the marker and the look at the file the cable may be pulled: not found would be a lie."""
    init_disk(tmp_path / "usb")
    backend = disk_at(tmp_path / "usb")
    backend.put("a", io.BytesIO(b""), size=0, sha256=hashlib.sha256().hexdigest())
    real = backend._binding.right_disk

    def pulled_out_after_the_look() -> object:
        seen = real()
        (tmp_path / "usb").rename(tmp_path / "drawer")
        return seen

    looks = [pulled_out_after_the_look, real]

    def look() -> object:
        return looks.pop(0)()

    monkeypatch.setattr(backend._binding, "right_disk", look)

    with pytest.raises(WrongDiskError):
        list(backend.list()) if use == "list" else getattr(backend, use)("a")
