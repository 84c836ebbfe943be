"""The disks that are plugged in, and which of them are marked."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync import files
from ktpsync.backends.disk._marker import MARKER_NAME, DiskMarker, read_marker
from ktpsync.errors import WrongDiskError

if TYPE_CHECKING:
    from collections.abc import Iterator


_SYSTEM: Final = ("/boot", "/efi", "/snap", "/var/lib/snapd", "/System", "/nix")
"""Mount points of the system itself, which nobody plugs in."""

_NO_DISKS: Final = frozenset({"squashfs", "iso9660", "udf", "cdrom"})
_LABELS: Final = Path("/dev/disk/by-label")


@frozen(kw_only=True)
class MountedDisk:
    """A disk that is plugged in, or a marked folder on it.

    Args:
        path: Where it is mounted; the marked folder where there is one.
        file_system: The kind of its file system, as the system calls it.
        volume: The volume's own name, where the system tells it.
        free: Bytes that can still be written.
        size: Bytes in all.
        read_only: Whether it is mounted so that nothing can be written.
        marker: What it says of itself; ``None`` if it is not marked or the marker cannot be read.
        problem: Why the marker cannot be read, or an empty text.
    """

    path: Path
    file_system: str
    volume: str
    free: int
    size: int
    read_only: bool
    marker: DiskMarker | None
    problem: str = ""


def mounted_disks() -> Iterator[MountedDisk]:
    """Yield the disks that are plugged in: the marked ones, and those that could be marked.

    Looks at local file systems only, so that a dead network share cannot hold it up. The system's own
    disk is left out unless it is marked.
    """
    import psutil  # noqa: PLC0415 - a disk that is where it should be is not looked for

    volumes = _volumes()
    seen: set[tuple[int, int]] = set()
    for partition in psutil.disk_partitions(all=False):
        options = partition.opts.split(",")
        root = Path(partition.mountpoint)
        if not root.is_absolute() or _NO_DISKS.intersection((partition.fstype, *options)):
            continue
        with contextlib.suppress(OSError):
            status = root.stat()
            if not root.is_dir() or (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            marked = list(_marked_folders(root))
            for folder in marked or ([] if _of_the_system(root) else [root]):
                marker, problem = _state(folder)
                yield MountedDisk(
                    path=folder,
                    file_system=partition.fstype,
                    volume=volumes.get(os.path.realpath(partition.device), ""),
                    free=files.free_bytes(folder),
                    size=files.size_bytes(folder),
                    read_only="ro" in options,
                    marker=marker,
                    problem=problem,
                )


def folders_marked(uuid: str) -> list[Path]:
    """Return the folders of plugged-in disks whose marker has this UUID."""
    return [disk.path for disk in mounted_disks() if disk.marker is not None and disk.marker.uuid == uuid]


def on_system_disk(path: Path) -> bool:
    """Return whether a folder is on the file system that the system itself is on, so that it cannot be plugged out.

    Raises:
        OSError: The folder is not there.
    """
    system = Path(os.environ.get("SYSTEMDRIVE", "C:") + "\\") if sys.platform == "win32" else Path("/")
    return path.stat().st_dev == system.stat().st_dev


def _of_the_system(root: Path) -> bool:
    with contextlib.suppress(OSError):
        if on_system_disk(root):
            return True
    return any(root.is_relative_to(folder) for folder in _SYSTEM)


def _marked_folders(root: Path) -> Iterator[Path]:
    """Yield the root and the folders in it that hold a marker."""
    if (root / MARKER_NAME).exists():
        yield root
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and Path(entry.path, MARKER_NAME).exists():
                    yield Path(entry.path)


def _state(folder: Path) -> tuple[DiskMarker | None, str]:
    if not (folder / MARKER_NAME).exists():
        return None, ""
    try:
        return read_marker(folder), ""
    except WrongDiskError as error:
        return None, str(error)


def _volumes() -> dict[str, str]:
    """Return the names of volumes by device, where the system keeps them."""
    found = {}
    with contextlib.suppress(OSError):
        for link in _LABELS.iterdir():
            # udev writes odd characters as \x20 and the like.
            found[os.path.realpath(link)] = (
                link.name.encode("utf-8")
                .decode("unicode_escape")
                .encode("latin-1")
                .decode("utf-8", "replace")
            )
    return found
