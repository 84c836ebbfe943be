"""Real file systems, mounted for a test and always unmounted: by a guard that outlives a killed test run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from attrs import define, field

from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.plugins import BackendContext, ByteSize

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "exfat": ["mkfs.exfat"],
    "ntfs": ["mkntfs", "--fast", "--force", "--quiet"],
}
_MOUNT = {
    "ext4": ["mount", "-t", "ext4", "-o", "errors=remount-ro"],
    "exfat": ["mount.exfat-fuse"],
    # As Windows has it: names that differ only by case are the same.
    "ntfs": ["lowntfs-3g", "-o", "ignore_case"],
}
_IN_MEMORY = {"tmpfs": "size=5m", "store": "size=24m", "many": "size=1g,nr_inodes=400k"}
_GUARD = """
trap '' INT TERM HUP
cat >/dev/null
while umount -l "$1" 2>/dev/null; do :; done
for device in $(losetup -n -O NAME -j "$2"); do losetup -d "$device"; done
"""
_numbers = itertools.count(1)


def run(*command: object) -> str:
    """Run a program of the system; what it says is shown when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@define
class RealDisk:
    """A file system in an image file, and the folder where it is plugged in.

    A child process holds the other end of a pipe: when the test ends, or is killed, the pipe closes, and the
    child unmounts.
    """

    kind: str
    image: Path
    mount_point: Path
    _guards: list[subprocess.Popen[bytes]] = field(factory=list)

    def plug_in(self, mount_point: Path | None = None, *, read_only: bool = False) -> None:
        """Mount it; elsewhere if asked."""
        where = mount_point or self.mount_point
        where.mkdir(exist_ok=True)
        self._guards.append(
            subprocess.Popen(
                ["sh", "-c", _GUARD, "guard", where, self.image],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        )
        if self.kind in _IN_MEMORY:
            run("mount", "-t", "tmpfs", "-o", _IN_MEMORY[self.kind], "tmpfs", where)
            return
        if not run("losetup", "-n", "-O", "NAME", "-j", self.image):
            run("losetup", "-f", self.image)
        device = run("losetup", "-n", "-O", "NAME", "-j", self.image).split()[0]
        run(*_MOUNT[self.kind], *(["-o", "ro"] if read_only else []), device, where)

    def pull_out(self, mount_point: Path | None = None) -> None:
        """Unmount at once, whoever is using it."""
        run("umount", "-l", mount_point or self.mount_point)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for guard in self._guards:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.wait()


NewDisk = Callable[..., RealDisk]


def missing(kind: str) -> str | None:
    """Say why a file system cannot be mounted here, if it cannot."""
    if os.name != "posix" or not Path("/proc/mounts").exists() or os.geteuid() != 0:
        return "mounting needs root on Linux"
    programs = ["mount", "umount"]
    if kind not in _IN_MEMORY:
        programs += ["losetup", _MAKE[kind][0], _MOUNT[kind][0]]
    lacking = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(lacking)} is not installed" if lacking else None


@pytest.fixture(scope="module")
def new_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewDisk]:
    """Return a function that makes and mounts an empty file system."""
    disks: list[RealDisk] = []

    def make(kind: str, *, size_mb: int = 16, folder: Path | None = None) -> RealDisk:
        if reason := missing(kind):
            pytest.skip(reason)
        folder = folder or tmp_path_factory.mktemp("disk")
        disk = RealDisk(kind, folder / f"{kind}.img", folder / "usb")
        disks.append(disk)
        if kind not in _IN_MEMORY:
            with disk.image.open("wb") as file:
                file.truncate(size_mb << 20)
            run(*_MAKE[kind], disk.image)
        try:
            disk.plug_in()
        except AssertionError as error:
            pytest.skip(f"this machine does not allow mounting {kind}: {error}")
        return disk

    yield make
    for disk in disks:
        with disk:
            pass


@pytest.fixture(scope="module", params=["ext4", "exfat", "ntfs"])
def any_disk(request: pytest.FixtureRequest, new_disk: NewDisk) -> RealDisk:
    """A disk of each of the file systems that offices meet."""
    return new_disk(request.param, size_mb=64)


@pytest.fixture
def folder(any_disk: RealDisk) -> Path:
    """A new marked folder on the disk."""
    folder = any_disk.mount_point / f"folder-{next(_numbers)}"
    init_disk(folder, label="red")
    return folder


def disk_backend(folder: Path, state: Path | None = None, *, reserve: int = 0) -> DiskBackend:
    """Return a backend on a marked folder."""
    settings = DiskSettings(path=folder, reserve=ByteSize(reserve))
    return DiskBackend(settings, BackendContext(name="usb-a", state_folder=state))


@pytest.fixture
def backend(folder: Path) -> DiskBackend:
    """A backend on a new marked folder."""
    return disk_backend(folder)


@pytest.fixture
def backend_on() -> Callable[..., DiskBackend]:
    """Return a function that makes a backend on a marked folder."""
    return disk_backend
