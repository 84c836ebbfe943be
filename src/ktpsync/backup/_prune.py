"""Making room: a prune is a full snapshot that names what it drops.

What it names is deleted only after it is committed. Killed at any point, everything that a kept snapshot
needs is there, and the next prune goes on with the deletion.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, evolve, frozen

from ktpsync.backup._documents import Dropped, PackEntry, PacketEntry, PackIndex
from ktpsync.backup._finder import read_packet
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._pack import PACK_SIZE, PackWriter
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.backup._repository import Repository, Snapshot, current_packs
from ktpsync.backup._retention import Retention, kept
from ktpsync.backup._rework import Rework, delete_dropped, finish_deletion, own_snapshots, packets_to_keep
from ktpsync.backup._run import SnapshotRun
from ktpsync.clock import Clock, SystemClock, utc_from_ms
from ktpsync.errors import DamagedBackupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ktpsync.backup._source import BackupSource
    from ktpsync.keys import StationKey

GARBAGE: Final = 0.3
"""Share of a pack that must be garbage before the rest of it is written again."""


_NEW: Final = "~"
"""Stands for the snapshot that a prune makes; sorts after all names."""


@frozen(kw_only=True)
class PruneReport:
    """What a prune dropped, or would drop.

    Args:
        dry_run: Whether nothing was changed.
        kept: Names of the snapshots that stay, oldest first; the last is the one that the prune made, if it did.
        dropped: Names of the snapshots that go.
        packs_dropped: Packs that go.
        packets_dropped: Packets that go: all of them finished with, and wanted by no kept snapshot.
        bytes_freed: Bytes that become free, less what is written again.
        notes: What stayed though it should go, and why.
    """

    dry_run: bool
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    packs_dropped: int
    packets_dropped: int
    bytes_freed: int
    notes: tuple[str, ...]


def prune(
    source: BackupSource,
    repository: Repository,
    *,
    station: StationKey,
    memory: Path,
    retention: Retention,
    expendable: Iterable[tuple[str, int]] = (),
    garbage: float = GARBAGE,
    dry_run: bool = False,
    index_key: str | None = None,
    include_station_key: bool = False,
    pack_size: int = PACK_SIZE,
    clock: Clock | None = None,
    progress: ProgressCallback = ignore_progress,
) -> PruneReport:
    """Drop this station's old snapshots, and the packets that nobody needs any more.

    A packet goes only if the outbox itself has let go of it and no kept snapshot is from before that. The
    last copy of an undelivered packet is never among them, whatever the policy.

    Args:
        source: The outbox.
        repository: Which.
        station: The key that signs the manifest.
        memory: Folder in the data directory for what is remembered of repositories.
        retention: Which snapshots to keep.
        expendable: Ids of the packets whose bytes the outbox has purged by its rule, each with the outbox
            sequence of the purge.
        garbage: Share of a pack that must be garbage before the rest of it is written again.
        dry_run: Whether to say what would be done and do nothing.
        index_key: The key of the outbox's keyed hashes, as for a backup.
        include_station_key: Whether the private signing key goes into the sealed state, as for a backup.
        pack_size: Bytes after which a new pack is closed.
        clock: The clock to ask.
        progress: Called as packs are written.

    Raises:
        BackupError: The station has no snapshot here, or another process is at work on the repository.
        DamagedBackupError: A manifest that is needed is damaged. Nothing was dropped.
        BackendError: The storage failed.
    """
    remembered = BackupMemory(memory, repository.uuid)
    with remembered.locked():
        run = SnapshotRun(
            source=source,
            repository=repository,
            station=station,
            memory=remembered,
            index_key=index_key,
            include_station_key=include_station_key,
            pack_size=pack_size,
            clock=clock or SystemClock(),
            progress=progress,
        )
        known, head = run.resume_to("prune")
        plan = _make_plan(
            repository,
            head,
            retention=retention,
            expendable=dict(expendable),
            threshold=garbage,
            pack_size=pack_size,
            now=utc_from_ms(run.clock.now_ms()),
        )
        report = plan.report(dry_run=dry_run)
        if not dry_run:
            finish_deletion(repository, plan.lineage.values())
            if plan.new:
                made = run.one(known, head, rework=plan.rework())[1]
                assert made is not None
                delete_dropped(repository, made.manifest.dropped)
                report = evolve(report, kept=(*report.kept, made.ref.name))
            checks = remembered.checks()
            remembered.save_checks(evolve(checks, pruned_ms=run.clock.now_ms()))
        return report


@define(kw_only=True)
class _Plan:
    """What to keep, what to drop and what to write again."""

    repository: Repository
    lineage: dict[str, Snapshot]
    keep: set[str]
    needed: set[str]
    current: dict[str, PackEntry]
    pack_size: int
    dropped_packs: dict[str, PackIndex] = Factory(dict)
    rewritten: dict[str, tuple[PackIndex, frozenset[str]]] = Factory(dict)
    notes: list[str] = Factory(list)

    @property
    def new(self) -> bool:
        """Whether there is anything to drop, or a whole state to be written so that the next prune can."""
        return bool(self.lineage.keys() - self.keep or self.dropped_packs or self.rewritten)

    def rework(self) -> Rework:
        gone = [*self.dropped_packs, *self.rewritten]
        named = {pack.name for name in self.needed for pack in self.lineage[name].manifest.packs}
        dropped_before = {name for s in self.lineage.values() for name in s.manifest.dropped.packs}
        parents = {
            s.manifest.parent.name for n, s in self.lineage.items() if n in self.needed and s.manifest.parent
        }
        return Rework(
            packs=tuple(self.current[name] for name in gone),
            dropped=Dropped(
                # What an earlier prune dropped is named again as long as a kept snapshot still names it.
                snapshots=tuple(sorted((self.lineage.keys() | parents) - self.needed)),
                packs=tuple(sorted({*gone, *(named & dropped_before - self.current.keys())})),
            ),
            writers=self._writers,
        )

    def _writers(self) -> Iterator[PackWriter]:
        writer = PackWriter()
        for name, (index, garbage) in self.rewritten.items():
            wanted = [entry for entry in index.packets if entry.packet_id not in garbage]
            for entry, sealed in packets_to_keep(self.repository, name, wanted):
                writer.add_bytes(entry.packet_id, entry.sha256, sealed)
            if writer.size >= self.pack_size:
                yield writer
                writer = PackWriter()
        if writer.packets:
            yield writer

    def report(self, *, dry_run: bool) -> PruneReport:
        garbage = [e for i in self.dropped_packs.values() for e in i.packets]
        garbage += [e for i, ids in self.rewritten.values() for e in i.packets if e.packet_id in ids]
        states = (s.manifest.state.size for name, s in self.lineage.items() if name not in self.needed)
        return PruneReport(
            dry_run=dry_run,
            kept=tuple(sorted(self.needed)),
            dropped=tuple(sorted(self.lineage.keys() - self.needed)),
            packs_dropped=len(self.dropped_packs) + len(self.rewritten),
            packets_dropped=len(garbage),
            bytes_freed=sum(entry.size for entry in garbage) + sum(states),
            notes=tuple(self.notes),
        )


def _make_plan(
    repository: Repository,
    head: Snapshot,
    *,
    retention: Retention,
    expendable: dict[str, int],
    threshold: float,
    pack_size: int,
    now: datetime,
) -> _Plan:
    lineage = own_snapshots(repository, head)
    keep = _kept(lineage, retention, now)
    needed = {link.ref.name for name in keep for link in repository.chain(lineage[name])}
    oldest = min((lineage[name].manifest.state.sequence for name in keep), default=sys.maxsize)
    plan = _Plan(
        repository=repository,
        lineage=lineage,
        keep=keep,
        needed=needed,
        current={pack.name: pack for pack in current_packs(repository.chain(head))},
        pack_size=pack_size,
    )
    finished = {packet_id for packet_id, sequence in expendable.items() if sequence <= oldest}
    newer: dict[str, tuple[str, PacketEntry]] = {}
    # From the newest pack back: of a packet that is in two packs, the newer copy stays, if it can be read.
    for name, pack in reversed(plan.current.items()):
        try:
            index = repository.index(pack)
        except DamagedBackupError as error:
            plan.notes.append(f"{error} The pack stays as it is.")
            continue
        garbage = frozenset(
            entry.packet_id
            for entry in index.packets
            if entry.packet_id in finished
            or (entry.packet_id in newer and read_packet(repository, *newer[entry.packet_id]) is not None)
        )
        newer |= {e.packet_id: (name, e) for e in index.packets if e.packet_id not in newer}
        garbage_bytes = sum(entry.size for entry in index.packets if entry.packet_id in garbage)
        if len(garbage) == len(index.packets):
            plan.dropped_packs[name] = index
        elif garbage_bytes > threshold * pack.size:
            plan.rewritten[name] = (index, garbage)
    return plan


def _kept(lineage: dict[str, Snapshot], retention: Retention, now: datetime) -> set[str]:
    """Return what stays; where something goes, the snapshot that this prune makes is one of those to keep."""
    made = {name: datetime.fromisoformat(s.manifest.created_at) for name, s in lineage.items()}
    keep = kept(made, retention)
    if keep != set(made):
        keep = kept({**made, _NEW: max(now, *made.values())}, retention) - {_NEW}
    return keep
