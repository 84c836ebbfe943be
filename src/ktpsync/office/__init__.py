"""The facade that office apps import: set up an office, open it, restore it."""

from __future__ import annotations

from ktpsync.office._backup_watch import BackupState
from ktpsync.office._check import PlaceCheck, check_places
from ktpsync.office._doctor import rebuild_outbox
from ktpsync.office._key_tests import KeyState, KeyTestReport
from ktpsync.office._office import Office
from ktpsync.office._reports import DestinationReport, ReconcileReport, SyncReport
from ktpsync.office._restore import extract_packets, list_snapshots, restore, verify_backup
from ktpsync.office._rotation import RotationReport
from ktpsync.office._setup import init_office

__all__ = [
    "BackupState",
    "DestinationReport",
    "KeyState",
    "KeyTestReport",
    "Office",
    "PlaceCheck",
    "ReconcileReport",
    "RotationReport",
    "SyncReport",
    "check_places",
    "extract_packets",
    "init_office",
    "list_snapshots",
    "rebuild_outbox",
    "restore",
    "verify_backup",
]
