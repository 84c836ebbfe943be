"""Packets and backups on a local disk, most often an external one."""

from __future__ import annotations

from ktpsync.backends.disk._marker import DiskMarker, init_disk, read_marker

__all__ = ["DiskMarker", "init_disk", "read_marker"]
