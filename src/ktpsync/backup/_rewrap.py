"""Giving what a repository holds to new recipients: new headers, a new state, and nothing older left.

A rewrap is a prune that writes every pack again. It is committed by full snapshots, each of which names the packs and
the snapshots that it replaces; what it names is deleted only after. See ``docs/adr/0050-rewrapped-packets.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from attrs import Factory, define, evolve, frozen

from ktpsync.backup._documents import Dropped, PackEntry, PackIndex, pack_key
from ktpsync.backup._memory import BackupMemory, RewrapProgress
from ktpsync.backup._pack import PACK_SIZE, PackWriter, read_packets
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.backup._recipients import note_recipients
from ktpsync.backup._repository import Repository, Snapshot, current_packs
from ktpsync.backup._rework import Rework, delete_dropped, finish_deletion, own_snapshots, packets_to_keep
from ktpsync.backup._run import SnapshotRun
from ktpsync.clock import Clock, SystemClock
from ktpsync.errors import DamagedBackupError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ktpsync.backup._documents import PacketEntry
    from ktpsync.backup._memory import Knowledge
    from ktpsync.backup._source import BackupSource
    from ktpsync.keys import StationKey

PORTION: Final = 4 << 30
"""Bytes of packs that are written again before a snapshot is committed and the old ones are deleted: so much room
is needed besides."""

_WRITTEN_AGAIN: Final = "written again"

Wrap = Callable[[bytes], bytes | None]
Locate = Callable[[str], tuple[str, str] | None]
_Fate = Literal["keep", "rewrap", "drop", "replaced"]


@define(kw_only=True)
class RepositoryRewrapReport:
    """What became of the packets of a repository.

    Args:
        snapshots: Names of the snapshots that were made.
        rewrapped: Packets that have a new header now, those that were copied anew from the spool aside.
        kept: Packets that are still to be delivered, or may be, and kept the header that they have.
        closed: Ids of packets that none of the identities opens, such as those recorded since the recipients changed.
        notes: Packs that stayed as they are because they are damaged.
    """

    snapshots: list[str] = Factory(list)
    rewrapped: int = 0
    kept: int = 0
    closed: list[str] = Factory(list)
    notes: list[str] = Factory(list)

    @property
    def done(self) -> bool:
        """Whether nothing is left that only the former recipients can open."""
        return not (self.kept or self.notes)


def rewrap_repository(
    source: BackupSource,
    repository: Repository,
    *,
    wrap: Wrap,
    locate: Locate,
    to: str,
    moving: Iterable[str] = (),
    recipients: Sequence[str],
    station: StationKey,
    memory: Path,
    index_key: str | None = None,
    include_station_key: bool = False,
    pack_size: int = PACK_SIZE,
    portion: int = PORTION,
    clock: Clock | None = None,
    progress: ProgressCallback = ignore_progress,
) -> RepositoryRewrapReport:
    """Give this station's part of a repository to new recipients.

    Interrupted at any point, everything can be restored, and the next run goes on. The older snapshots of the station
    go: their states are sealed to the former recipients.

    Args:
        source: The outbox. Its own packets were rewrapped before.
        repository: Which.
        wrap: Returns the new bytes of a packet, ``None`` where it cannot be opened.
        locate: Returns where the outbox has a packet (``spool``, ``offloaded``, ``purged``) and its digest there.
        to: A short name of the new recipients of packets.
        moving: Ids of the packets that were left as they are in the spool.
        recipients: age recipients that can restore from now on.
        station: The key that signs the manifests.
        memory: Folder in the data directory for what is remembered of repositories.
        index_key: The key of the outbox's keyed hashes, as for a backup.
        include_station_key: Whether the private signing key goes into the sealed state.
        pack_size: Bytes after which a pack is closed.
        portion: Bytes of packs after which a snapshot is committed.
        clock: The clock to ask.
        progress: Called as packs are written.

    Raises:
        BackupError: The station has no snapshot here, or another process is at work on the repository.
        DamagedBackupError: A manifest that is needed is damaged. Nothing was changed.
        BackendError: The storage failed; what was committed before stays.
    """
    remembered = BackupMemory(memory, repository.uuid)
    report = RepositoryRewrapReport()
    with remembered.locked():
        run = SnapshotRun(
            source=source,
            repository=repository,
            station=station,
            memory=remembered,
            recipients=tuple(recipients),
            include_station_key=include_station_key,
            index_key=index_key,
            pack_size=pack_size,
            clock=clock or SystemClock(),
            progress=progress,
        )
        known, head = run.resume_to("rewrap")
        note_recipients(repository, recipients, station=station.public.key_id, clock=run.clock)
        work = _Work(
            run=run,
            wrap=wrap,
            locate=locate,
            moving=frozenset(moving),
            report=report,
            progress=remembered.rewrapping(to),
            portion=portion,
        )
        work.all(known, head)
    return report


@frozen(kw_only=True)
class _Pack:
    """A pack that is written again, and what becomes of each of its packets."""

    entry: PackEntry
    index: PackIndex
    fates: dict[str, _Fate]

    def needed(self) -> list[PacketEntry]:
        """Return the packets that no newer pack holds."""
        return [entry for entry in self.index.packets if self.fates[entry.packet_id] != "drop"]


@define(kw_only=True)
class _Work:
    """One rewrap, from the plan to the last deletion."""

    run: SnapshotRun
    wrap: Wrap
    locate: Locate
    moving: frozenset[str]
    report: RepositoryRewrapReport
    progress: RewrapProgress
    portion: int

    def all(self, known: Knowledge, head: Snapshot) -> None:
        """Write all packs again, a portion after the other."""
        repository = self.run.repository
        snapshots = own_snapshots(repository, head)
        finish_deletion(repository, snapshots.values())
        plan = self._plan(current_packs(repository.chain(head)))
        sealed_before = any(s.manifest.recipients != self.run.recipients for s in snapshots.values())
        while plan or sealed_before:
            packs, size = [], 0
            while plan and size < self.portion:
                pack = plan.pop(0)
                if self._whole(pack):
                    packs.append(pack)
                    size += pack.entry.size
            if not (packs or sealed_before):
                break
            sealed_before = False
            known, made, _ = self.run.one(known, head, rework=self._rework(packs, snapshots))
            assert made is not None
            delete_dropped(repository, made.manifest.dropped)
            self.report.snapshots.append(made.ref.name)
            head, snapshots = made, {made.ref.name: made}
        self.run.memory.save(evolve(known, last_backup_ms=self.run.clock.now_ms()))

    def _plan(self, packs: Sequence[PackEntry]) -> list[_Pack]:
        """Return the packs that must be written again, oldest first."""
        indexes = {}
        newest: dict[str, str] = {}
        for pack in packs:
            try:
                index = self.run.repository.index(pack)
            except DamagedBackupError as error:
                self.report.notes.append(f"{error} The pack stays as it is.")
                continue
            indexes[pack.name] = (pack, index)
            newest.update((entry.packet_id, pack.name) for entry in index.packets)
        plan = []
        for name, (pack, index) in indexes.items():
            fates = {
                entry.packet_id: self._fate(entry, newest=newest[entry.packet_id] == name, pack=name)
                for entry in index.packets
            }
            if any(fate != "keep" for fate in fates.values()):
                plan.append(_Pack(entry=pack, index=index, fates=fates))
        return plan

    def _fate(self, entry: PacketEntry, *, newest: bool, pack: str) -> _Fate:
        if not newest:
            return "drop"
        found = self.locate(entry.packet_id)
        location, sha256 = found or ("purged", entry.sha256)
        if location == "spool" and sha256 != entry.sha256:
            return "replaced"
        if location == "purged":
            return "keep" if pack in self.progress.packs else "rewrap"
        if entry.packet_id in self.moving or (location == "offloaded" and pack < self.progress.began):
            self.report.kept += 1
        return "keep"

    def _whole(self, pack: _Pack) -> bool:
        """Return whether what is kept of a pack can be read; else the pack stays, and is told of."""
        try:
            with self.run.repository.storage.open(pack_key(pack.entry.name)) as source:
                needed = PackIndex(pack=pack.entry.name, packets=tuple(pack.needed()))
                damaged = [
                    entry.packet_id for entry, sealed in read_packets(source, needed) if sealed is None
                ]
        except NotFoundError:
            damaged = ["all"]
        if damaged:
            self.report.notes.append(
                f"{pack_key(pack.entry.name)} is damaged (packets: {', '.join(damaged)}) and stays as it is. "
                "Run `ktpsync verify --repair-from`, then this again."
            )
        return not damaged

    def _rework(self, packs: Sequence[_Pack], snapshots: dict[str, Snapshot]) -> Rework:
        gone = {pack.entry.name for pack in packs}
        parents = {s.manifest.parent.name for s in snapshots.values() if s.manifest.parent}
        return Rework(
            packs=tuple(pack.entry for pack in packs),
            dropped=Dropped(snapshots=tuple(sorted(snapshots.keys() | parents)), packs=tuple(sorted(gone))),
            writers=lambda: self._writers(packs),
        )

    def _writers(self, packs: Sequence[_Pack]) -> Iterator[PackWriter]:
        copied = self._just_copied()
        # What keeps its header for now is apart from the rest, as it is to be looked at again by the next run.
        done, kept = self._new_writer(), PackWriter()
        for pack in packs:
            wanted = [
                entry
                for entry in pack.needed()
                if not self._is_there(entry, pack.fates[entry.packet_id], copied)
            ]
            for entry, sealed in packets_to_keep(self.run.repository, pack.entry.name, wanted):
                if pack.fates[entry.packet_id] == "rewrap":
                    self._add(done, entry, sealed)
                else:
                    kept.add_bytes(entry.packet_id, entry.sha256, sealed)
            if done.size >= self.run.pack_size:
                yield done
                done = self._new_writer()
            if kept.size >= self.run.pack_size:
                yield kept
                kept = PackWriter()
        yield from (writer for writer in (done, kept) if writer.packets)

    def _new_writer(self) -> PackWriter:
        writer = PackWriter()
        self.progress = evolve(self.progress, packs=(*self.progress.packs, writer.name))
        self.run.memory.save_rewrapping(self.progress)
        return writer

    def _add(self, writer: PackWriter, entry: PacketEntry, sealed: bytes) -> None:
        new = self.wrap(sealed)
        if new is None:
            self.report.closed.append(entry.packet_id)
            writer.add_bytes(entry.packet_id, entry.sha256, sealed)
        else:
            writer.add_bytes(entry.packet_id, hashlib.sha256(new).hexdigest(), new)
            self.report.rewrapped += 1

    def _is_there(self, entry: PacketEntry, fate: _Fate, copied: dict[str, set[str]]) -> bool:
        """Return whether the packs that this snapshot adds hold already what a packet is to be: the old bytes may go."""
        digests = copied.get(entry.packet_id, set())
        if fate == "replaced":
            found = self.locate(entry.packet_id)
            return found is not None and found[1] in digests
        if fate == "keep":
            return entry.sha256 in digests
        return _WRITTEN_AGAIN in digests

    def _just_copied(self) -> dict[str, set[str]]:
        """Return the digests of the packets in the packs that this snapshot adds.

        Those from the spool, and what a run that was interrupted had written again.
        """
        digests: dict[str, set[str]] = {}
        for pending in self.run.memory.pending_packs():
            marks = {_WRITTEN_AGAIN} if pending.entry.name in self.progress.packs else set()
            for packet in pending.packets().packets:
                digests.setdefault(packet.packet_id, set()).update({packet.sha256, *marks})
        return digests
