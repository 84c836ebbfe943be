"""Encrypted backup of an outbox: routine, verifiable, restorable by anyone with the key.

A repository lives on any storage backend. Its format is described in ``docs/reference/repository-format.md``;
nothing in it needs ktpsync to be read.
"""

from __future__ import annotations

from ktpsync.backup._drill import DrillReport, drill
from ktpsync.backup._finder import ExtractReport, PacketFinder, extract
from ktpsync.backup._findings import Depth, OpenPacket, Problem, VerifyReport
from ktpsync.backup._opening import packet_opener
from ktpsync.backup._outbox import OutboxTarget, purged_packets
from ktpsync.backup._progress import Progress, ProgressCallback, ignore_progress
from ktpsync.backup._prune import PruneReport, prune
from ktpsync.backup._repair import GoodCopy, RepairReport, repair
from ktpsync.backup._repository import Repository, Snapshot
from ktpsync.backup._restore import RestoreReport, heads, restore
from ktpsync.backup._retention import Retention, kept
from ktpsync.backup._schedule import BackupDates, backup_dates, due
from ktpsync.backup._snapshot import SnapshotReport, backup
from ktpsync.backup._source import BackupSource, RestoreTarget
from ktpsync.backup._station import RESTORE_MARKER, continue_backups, restore_station
from ktpsync.backup._verify import verify

__all__ = [
    "RESTORE_MARKER",
    "BackupDates",
    "BackupSource",
    "Depth",
    "DrillReport",
    "ExtractReport",
    "GoodCopy",
    "OpenPacket",
    "OutboxTarget",
    "PacketFinder",
    "Problem",
    "Progress",
    "ProgressCallback",
    "PruneReport",
    "RepairReport",
    "Repository",
    "RestoreReport",
    "RestoreTarget",
    "Retention",
    "Snapshot",
    "SnapshotReport",
    "VerifyReport",
    "backup",
    "backup_dates",
    "continue_backups",
    "drill",
    "due",
    "extract",
    "heads",
    "ignore_progress",
    "kept",
    "packet_opener",
    "prune",
    "purged_packets",
    "repair",
    "restore",
    "restore_station",
    "verify",
]
