"""Packets and backups on a local disk, most often an external one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.backends.disk._marker import DiskMarker, init_disk, read_marker
    from ktpsync.backends.disk._mounted import MountedDisk, mounted_disks, on_system_disk

_ROOMS = {
    "_marker": ("DiskMarker", "init_disk", "read_marker"),
    "_mounted": ("MountedDisk", "mounted_disks", "on_system_disk"),
}

__all__ = ["DiskMarker", "MountedDisk", "init_disk", "mounted_disks", "on_system_disk", "read_marker"]

__getattr__, __dir__ = exports(__name__, _ROOMS)
