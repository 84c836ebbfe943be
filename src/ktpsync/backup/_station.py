"""Restoring a station: an empty data directory becomes one that works."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Final

from attrs import evolve

from ktpsync import files
from ktpsync.backup._memory import BackupMemory, Knowledge
from ktpsync.backup._outbox import OutboxTarget
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.backup._restore import RestoreReport, packets_in, restore
from ktpsync.backup._source import mark_copied
from ktpsync.errors import RestoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from ktpsync.age import Identity
    from ktpsync.backup._repository import Repository
    from ktpsync.backup._selection import Selection
    from ktpsync.backup._source import BackupSource
    from ktpsync.outbox import Outbox

RESTORE_MARKER: Final = "ktpsync-restore.json"
"""File in a data directory that says which restore into it has not ended yet."""


def restore_station(
    repository: Repository,
    into: Path,
    *,
    identities: Sequence[Identity],
    open_outbox: Callable[[Path], Outbox],
    memory: Path,
    snapshot: str | None = None,
    selection: Selection | None = None,
    finish: Callable[[RestoreReport], None] = lambda _report: None,
    progress: ProgressCallback = ignore_progress,
) -> RestoreReport:
    """Fill an empty data directory from a repository, so that the station can go on from there.

    An interrupted restore goes on where it stopped when it is called again. Afterwards, ask the centre
    which packets it holds (reconcile), so that nothing is sent twice.

    Args:
        repository: Where from.
        into: The data directory; missing or empty, or left by an interrupted restore from there.
        identities: age identities of a recovery recipient.
        open_outbox: Opens the outbox of a data directory.
        memory: Folder in the data directory for what is remembered of repositories.
        snapshot: Which one; the newest if not given.
        selection: Which packets; all if not given. A station with a part of them begins its backups anew.
        finish: Called when all that could be restored is there, for what else belongs to a station. If the machine dies
            before it returns, the restore has not ended: run again, it goes on, and calls this again.
        progress: Called as packs are read.

    Raises:
        RestoreError: The folder is not empty, no snapshot can be used, no identity opens it, or no packet is selected.
        BackupInUseError: Another restore from there into this directory is running.
        BackendError: The storage cannot be reached. Call again later.
    """
    if selection is not None:
        _check(selection, packets_in(repository, identities=identities, snapshot=snapshot))
    _claim(into, repository)
    with BackupMemory(memory, repository.uuid).locked():
        # Another restore may have ended since.
        _claim(into, repository)
        with closing(open_outbox(into)) as outbox:
            report = restore(
                repository,
                OutboxTarget(outbox, selection),
                identities=identities,
                snapshot=snapshot,
                select=selection,
                progress=progress,
            )
            if selection is None:
                continue_backups(outbox, report, memory=memory)
        finish(report)
        (into / RESTORE_MARKER).unlink()
        files.fsync_folder(into)
    return report


def continue_backups(source: BackupSource, report: RestoreReport, *, memory: Path) -> None:
    """Let the next backup of a restored outbox go on from the snapshot that it was restored from.

    Args:
        source: The restored outbox.
        report: What the restore said.
        memory: Folder in the data directory for what is remembered of repositories.
    """
    source.register_copy_target(report.lineage)
    mark_copied(source, report.lineage, report.digests, report.head.name)
    BackupMemory(memory, report.repository).save(
        Knowledge(lineage=report.lineage, head=report.head, full_next=True)
    )


def outbox_was_rebuilt(memory: Path) -> None:
    """Let the next backups of an outbox that was made anew hold its whole state: its changes count from 1 again.

    Args:
        memory: Folder in the data directory for what is remembered of repositories.
    """
    for path in memory.glob("*.json"):
        known = BackupMemory(memory, path.stem)
        knowledge = known.load()
        if knowledge is not None:
            known.save(evolve(knowledge, full_next=True, quiet_at=None))


def _check(selection: Selection, there: AbstractSet[str] | None) -> None:
    """Refuse a selection of nothing, before anything is written; damage may hide what is there."""
    if there is None or any(map(selection, there)):
        return
    if selection.packet_ids and not selection.packet_ids & there:
        asked = ", ".join(sorted(selection.packet_ids))
        raise RestoreError(
            f"The backup has no packet {asked}. Nothing was restored; look whether the id is right, or into another backup."
        )
    raise RestoreError(
        "The backup has no packet that was recorded at these times. Nothing was restored; look at the dates given."
    )


def _claim(into: Path, repository: Repository) -> None:
    marker = into / RESTORE_MARKER
    if marker.exists():
        if json.loads(marker.read_bytes()) != {"repository": repository.uuid}:
            raise RestoreError(
                f"{into} holds an unfinished restore from another repository. Choose an empty folder."
            )
        return
    if into.exists() and any(into.iterdir()):
        raise RestoreError(f"{into} is not empty, and a restore never overwrites. Choose an empty folder.")
    files.make_folder(into, mode=0o700)
    files.write_atomic(marker, json.dumps({"repository": repository.uuid}).encode())
