"""Encrypted backup of an outbox: routine, verifiable, restorable by anyone with the key.

A repository lives on any storage backend. Its format is described in ``docs/reference/repository-format.md``;
nothing in it needs ktpsync to be read. The names here are loaded on first use: a backup every hour should not
wait for what only a restore needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.backup._drill import DrillReport, drill
    from ktpsync.backup._finder import ExtractReport, PacketFinder, extract
    from ktpsync.backup._findings import Depth, OpenPacket, Problem, VerifyReport
    from ktpsync.backup._memory import no_backup_runs
    from ktpsync.backup._opening import packet_opener
    from ktpsync.backup._outbox import OutboxTarget, purged_packets
    from ktpsync.backup._progress import Progress, ProgressCallback, ignore_progress
    from ktpsync.backup._proof import PacketProof
    from ktpsync.backup._prune import PruneReport, prune
    from ktpsync.backup._recipients import RecipientsSince, note_recipients, recipient_history
    from ktpsync.backup._repair import GoodCopy, RepairReport, repair
    from ktpsync.backup._repository import Repository, Snapshot
    from ktpsync.backup._restore import RestoreReport, heads, restore
    from ktpsync.backup._retention import Retention, kept
    from ktpsync.backup._rewrap import RepositoryRewrapReport, rewrap_repository
    from ktpsync.backup._schedule import (
        BackupDates,
        backup_dates,
        begin_sampling,
        damage_found,
        due,
        goes_on,
        known_lineages,
    )
    from ktpsync.backup._selection import Selection
    from ktpsync.backup._snapshot import SnapshotReport, backup
    from ktpsync.backup._source import BackupSource, RestoreTarget
    from ktpsync.backup._station import (
        RESTORE_MARKER,
        continue_backups,
        outbox_was_rebuilt,
        restore_station,
    )
    from ktpsync.backup._verify import verify

_ROOMS = {
    "_drill": ("DrillReport", "drill"),
    "_finder": ("ExtractReport", "PacketFinder", "extract"),
    "_findings": ("Depth", "OpenPacket", "Problem", "VerifyReport"),
    "_memory": ("no_backup_runs",),
    "_opening": ("packet_opener",),
    "_outbox": ("OutboxTarget", "purged_packets"),
    "_progress": ("Progress", "ProgressCallback", "ignore_progress"),
    "_proof": ("PacketProof",),
    "_prune": ("PruneReport", "prune"),
    "_recipients": ("RecipientsSince", "note_recipients", "recipient_history"),
    "_repair": ("GoodCopy", "RepairReport", "repair"),
    "_repository": ("Repository", "Snapshot"),
    "_restore": ("RestoreReport", "heads", "restore"),
    "_retention": ("Retention", "kept"),
    "_rewrap": ("RepositoryRewrapReport", "rewrap_repository"),
    "_schedule": (
        "BackupDates",
        "backup_dates",
        "begin_sampling",
        "damage_found",
        "due",
        "goes_on",
        "known_lineages",
    ),
    "_selection": ("Selection",),
    "_snapshot": ("SnapshotReport", "backup"),
    "_source": ("BackupSource", "RestoreTarget"),
    "_station": ("RESTORE_MARKER", "continue_backups", "outbox_was_rebuilt", "restore_station"),
    "_verify": ("verify",),
}
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
    "PacketProof",
    "Problem",
    "Progress",
    "ProgressCallback",
    "PruneReport",
    "RecipientsSince",
    "RepairReport",
    "Repository",
    "RepositoryRewrapReport",
    "RestoreReport",
    "RestoreTarget",
    "Retention",
    "Selection",
    "Snapshot",
    "SnapshotReport",
    "VerifyReport",
    "backup",
    "backup_dates",
    "begin_sampling",
    "continue_backups",
    "damage_found",
    "drill",
    "due",
    "extract",
    "goes_on",
    "heads",
    "ignore_progress",
    "kept",
    "known_lineages",
    "no_backup_runs",
    "note_recipients",
    "outbox_was_rebuilt",
    "packet_opener",
    "prune",
    "purged_packets",
    "recipient_history",
    "repair",
    "restore",
    "restore_station",
    "rewrap_repository",
    "verify",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
