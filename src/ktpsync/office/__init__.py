"""The facade that office apps import: set up an office, open it, restore it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.office._attention import attention
    from ktpsync.office._backup_places import backups_left
    from ktpsync.office._backup_watch import BackupState
    from ktpsync.office._check import PlaceCheck, check_places
    from ktpsync.office._doctor import rebuild_outbox
    from ktpsync.office._key_tests import KeyState, KeyTestReport, short_recipient
    from ktpsync.office._mending import MendedPacket, MendReport
    from ktpsync.office._office import Office
    from ktpsync.office._recovery import RecoveryReport, find_unrecorded, recover_packets
    from ktpsync.office._reports import DestinationReport, ReconcileReport, SyncReport
    from ktpsync.office._restore import extract_packets, list_snapshots, restore, verify_backup
    from ktpsync.office._rotation import RotationReport
    from ktpsync.office._setup import init_office
    from ktpsync.office._station_key import replace_station_key

_ROOMS = {
    "_attention": ("attention",),
    "_backup_places": ("backups_left",),
    "_backup_watch": ("BackupState",),
    "_check": ("PlaceCheck", "check_places"),
    "_doctor": ("rebuild_outbox",),
    "_key_tests": ("KeyState", "KeyTestReport", "short_recipient"),
    "_mending": ("MendReport", "MendedPacket"),
    "_office": ("Office",),
    "_recovery": ("RecoveryReport", "find_unrecorded", "recover_packets"),
    "_reports": ("DestinationReport", "ReconcileReport", "SyncReport"),
    "_restore": ("extract_packets", "list_snapshots", "restore", "verify_backup"),
    "_rotation": ("RotationReport",),
    "_setup": ("init_office",),
    "_station_key": ("replace_station_key",),
}

__all__ = [
    "BackupState",
    "DestinationReport",
    "KeyState",
    "KeyTestReport",
    "MendReport",
    "MendedPacket",
    "Office",
    "PlaceCheck",
    "ReconcileReport",
    "RecoveryReport",
    "RotationReport",
    "SyncReport",
    "attention",
    "backups_left",
    "check_places",
    "extract_packets",
    "find_unrecorded",
    "init_office",
    "list_snapshots",
    "rebuild_outbox",
    "recover_packets",
    "replace_station_key",
    "restore",
    "short_recipient",
    "verify_backup",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
