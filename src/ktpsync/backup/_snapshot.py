"""Making a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from ktpsync.backup._documents import Totals
from ktpsync.backup._memory import BackupMemory, Knowledge
from ktpsync.backup._pack import PACK_SIZE
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.backup._run import SnapshotRun
from ktpsync.clock import Clock, SystemClock
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ktpsync.backup._repository import Repository, Snapshot
    from ktpsync.backup._source import BackupSource
    from ktpsync.keys import StationKey

SNAPSHOT_SIZE: Final = 1 << 30
"""Bytes of new packets after which a snapshot is committed and the next one begun."""


@frozen(kw_only=True)
class SnapshotReport:
    """What a backup did.

    Args:
        repository: UUID of the repository.
        lineage: UUID under which the outbox counts its copies there.
        snapshots: Names of the snapshots that were committed; none if nothing was new.
        head: The snapshot that now is the newest, if there is one.
        packs: Names of the packs with new packets.
        packets: New packets stored.
        bytes_written: Bytes written to the repository, everything included.
        totals: What the newest snapshot reaches.
        damaged: One line for each packet that could not be backed up because its own bytes are damaged.
        warnings: What a person should know, such as packets whose bytes are elsewhere.
        found: One line for each damage that was found, such as snapshots that vanished from the repository.
        name: The backup's name in the configuration of the office that made it: of those that take turns, which it was.
    """

    repository: str
    lineage: str
    snapshots: tuple[str, ...]
    head: str | None
    packs: tuple[str, ...]
    packets: int
    bytes_written: int
    totals: Totals
    damaged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    name: str = ""

    @property
    def ok(self) -> bool:
        """Whether every packet of the outbox is in the repository, and no damage was found."""
        return not self.damaged and not self.found


def backup(
    source: BackupSource,
    repository: Repository,
    *,
    station: StationKey,
    memory: Path,
    recipients: Sequence[str] | None = None,
    include_station_key: bool = False,
    index_key: str | None = None,
    full: bool = False,
    pack_size: int = PACK_SIZE,
    snapshot_size: int = SNAPSHOT_SIZE,
    clock: Clock | None = None,
    progress: ProgressCallback = ignore_progress,
) -> SnapshotReport:
    """Copy what is new of an outbox into a repository and commit it.

    Interrupted at any point, the last committed snapshot stays as it is, and the next run goes on with
    the packs that arrived.

    Args:
        source: The outbox.
        repository: Where to.
        station: The key that signs the manifest.
        memory: Folder in the data directory for what is remembered of repositories.
        recipients: age recipients of the state; those of the last snapshot if not given.
        include_station_key: Whether the private signing key goes into the sealed state.
        index_key: The key of the outbox's keyed hashes, to go into the sealed state: without it a restored
            outbox does not recognise what was submitted before.
        full: Whether to write the whole state even where a delta would do.
        pack_size: Bytes after which a pack is closed; up to three are held in memory.
        snapshot_size: Bytes of new packets after which a snapshot is committed and another begun.
        clock: The clock to ask.
        progress: Called as packs are stored.

    Raises:
        BackupInUseError: Another backup of this station to this repository is running.
        BackendError: The storage failed; what was committed before stays.
    """
    remembered = BackupMemory(memory, repository.uuid)
    with remembered.locked():
        run = SnapshotRun(
            source=source,
            repository=repository,
            station=station,
            memory=remembered,
            recipients=tuple(recipients) if recipients is not None else None,
            include_station_key=include_station_key,
            index_key=index_key,
            pack_size=pack_size,
            snapshot_size=snapshot_size,
            clock=clock or SystemClock(),
            progress=progress,
        )
        return _report(run, *_all(run, full=full))


def _all(run: SnapshotRun, *, full: bool) -> tuple[Knowledge, Snapshot | None, list[str]]:
    known, head = run.resume()
    run.tally.packets_expected, run.tally.bytes_expected = run.source.lacking(known.lineage)
    names = []
    complete = False
    while not complete:
        known, made, complete = run.one(known, head, full=full)
        full = False
        if made is not None:
            head = made
            names.append(made.ref.name)
    known = evolve(known, last_backup_ms=run.clock.now_ms())
    run.memory.save(known)
    return known, head, names


def _report(run: SnapshotRun, known: Knowledge, head: Snapshot | None, names: list[str]) -> SnapshotReport:
    return SnapshotReport(
        repository=run.repository.uuid,
        lineage=known.lineage,
        snapshots=tuple(names),
        head=head.ref.name if head else None,
        packs=tuple(sorted(run.tally.packs)),
        packets=run.tally.packets,
        bytes_written=run.tally.written,
        totals=head.manifest.totals if head else Totals(packs=0, packets=0, bytes=0),
        damaged=tuple(run.tally.damaged.values()),
        warnings=(*run.tally.warnings, *_away(run)),
        found=tuple(run.tally.found),
    )


def _away(run: SnapshotRun) -> list[str]:
    """Return that packets could not be copied because their bytes are elsewhere, once for all of them."""
    away = list(run.tally.away.values())
    return [f"{counted(len(away), 'packet was', 'packets were')} not copied. {away[0]}"] if away else []
