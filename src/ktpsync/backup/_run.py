"""One run of a backup under its lock: packs first, then the state, then the signed manifest that commits it."""

from __future__ import annotations

import hashlib
import mmap
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import uuid6
from attrs import Factory, evolve, field, frozen

from ktpsync.backup._documents import (
    Chain,
    Dropped,
    Manifest,
    PackEntry,
    SnapshotRef,
    StateEntry,
    Station,
    Totals,
    dump,
    manifest_key,
    signature_key,
    state_key,
)
from ktpsync.backup._memory import BackupMemory, Knowledge
from ktpsync.backup._progress import ProgressCallback
from ktpsync.backup._repository import Repository, Snapshot, current_packs
from ktpsync.backup._sending import IN_FLIGHT, PackSender, Tally, new_buffers
from ktpsync.backup._source import BackupSource, mark_copied
from ktpsync.backup._state import SealedState, StateHead, seal_state
from ktpsync.clock import Clock, utc_from_ms, utc_text
from ktpsync.errors import BackupError, DamagedBackupError
from ktpsync.keys import StationKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.backup._rework import Rework

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_STAMP_LENGTH: Final = 16


@frozen(kw_only=True)
class SnapshotRun:
    """One backup from start to end, under the lock."""

    source: BackupSource
    repository: Repository
    station: StationKey
    memory: BackupMemory
    recipients: tuple[str, ...] | None = None
    include_station_key: bool = False
    index_key: str | None
    pack_size: int
    snapshot_size: int = sys.maxsize
    clock: Clock
    progress: ProgressCallback
    tally: Tally = Factory(Tally)
    buffers: tuple[mmap.mmap, ...] = field(
        default=Factory(lambda self: new_buffers(self.pack_size), takes_self=True), repr=False
    )

    def resume(self) -> tuple[Knowledge, Snapshot | None]:
        """Return the snapshot to continue; none where a new lineage begins."""
        known = self.memory.load()
        if known is None:
            return self._new_lineage(), None
        self.source.register_copy_target(known.lineage)
        try:
            if known.pending is not None and self.repository.storage.exists(manifest_key(known.pending)):
                made = self.repository.snapshot(known.pending)
                if made.manifest.parent == known.head:
                    known = self._settle(known, made)
                else:
                    # It was committed in this copy of the memory's future: it is not to be collected.
                    known = evolve(known, pending=None)
            known = self._forget_pending(known)
            if known.head is None:
                return known, None
            head = self.repository.snapshot(known.head.name)
        except DamagedBackupError as error:
            return self._after_damage(f"{error} All packets are copied again."), None
        if head.ref != known.head:
            told = (
                f"{manifest_key(head.ref.name)} is not the snapshot that this station made. "
                "All packets are copied again; run `ktpsync verify`."
            )
            return self._after_damage(told), None
        if self._continued_elsewhere(head):
            told = (
                "The repository holds newer snapshots of this station than the station remembers: its data "
                "directory is an older copy. All packets are copied again, beside the newer snapshots."
            )
            self.tally.warnings.append(told)
            return self._new_lineage(told), None
        return known, head

    def resume_to(self, purpose: str) -> tuple[Knowledge, Snapshot]:
        """Return the snapshot to continue, where there must be one.

        Args:
            purpose: What is to be done with it, for the message.

        Raises:
            BackupError: The station has no snapshot here.
            DamagedBackupError: It is gone, damaged or another one.
        """
        known, head = self.resume()
        if self.tally.found:
            raise DamagedBackupError(f"{self.tally.found[0]} Make a backup first.")
        if head is None:
            raise BackupError(
                f"There is no snapshot of this station to {purpose} in this repository. Make a backup first."
            )
        return known, head

    def _forget_pending(self, known: Knowledge) -> Knowledge:
        """Collect what an interrupted commit left; its packs stay for the next one."""
        if known.pending is not None:
            self.repository.storage.delete(state_key(known.pending))
            self.repository.storage.delete(signature_key(known.pending))
            known = evolve(known, pending=None)
            self.memory.save(known)
        return known

    def _alone_in_lineage(self, head: Snapshot | None) -> None:
        """Look once more before the commit: sending may have taken hours.

        Raises:
            BackupError: Another living copy of this station has gone on from the same snapshot meanwhile.
        """
        if head is not None and self._continued_elsewhere(head):
            raise BackupError(
                "Another copy of this station has made a backup here meanwhile: was it restored on a second machine? "
                "Nothing is lost; run this again, and all packets are copied beside the other one's snapshots."
            )

    def _continued_elsewhere(self, head: Snapshot) -> bool:
        newer = self.repository.readable_snapshots(after=head.ref.name)
        return any(other.manifest.lineage == head.manifest.lineage for other in newer)

    def _after_damage(self, told: str) -> Knowledge:
        """Begin anew beside what cannot be continued; a person is to see to it."""
        self.tally.found.append(told)
        self.memory.note_damage(self.clock.now_ms())
        return self._new_lineage(told)

    def _new_lineage(self, why: str | None = None) -> Knowledge:
        former = self.memory.load()
        known = Knowledge(lineage=str(uuid.uuid4()))
        self.source.register_copy_target(known.lineage)
        self.memory.save(known)
        if why and former is not None:
            self.source.give_up_copies(former.lineage, why=why)
        return known

    def one(
        self, known: Knowledge, head: Snapshot | None, *, full: bool = False, rework: Rework | None = None
    ) -> tuple[Knowledge, Snapshot | None, bool]:
        """Commit one snapshot, or nothing if nothing is new.

        Args:
            known: What the station remembers.
            head: The snapshot to continue.
            full: Whether it must be a full one.
            rework: What a prune writes again and drops.

        Returns:
            What the station remembers now, the snapshot, and whether everything is in it.
        """
        with ThreadPoolExecutor(max_workers=IN_FLIGHT, thread_name_prefix="ktpsync-backup") as workers:
            sender = PackSender(
                source=self.source,
                repository=self.repository,
                memory=self.memory,
                pack_size=self.pack_size,
                snapshot_size=self.snapshot_size,
                buffers=self.buffers,
                tally=self.tally,
                progress=self.progress,
                workers=workers,
            )
            try:
                return self._one(sender, known, head, full=full, rework=rework)
            finally:
                sender.stop()

    def _one(
        self,
        sender: PackSender,
        known: Knowledge,
        head: Snapshot | None,
        *,
        full: bool,
        rework: Rework | None,
    ) -> tuple[Knowledge, Snapshot | None, bool]:
        recipients = self.recipients or (
            head.manifest.recipients if head else self.repository.marker.recipients
        )
        if head is not None and set(recipients) != set(head.manifest.recipients):
            # A restore replays a chain of states; with parts that are sealed to others, nobody could replay it.
            full = True
        # A whole state costs what the backlog costs: only a prune, which that frees, writes one unasked.
        full = full or known.full_next or head is None or rework is not None
        try:
            before = current_packs(self.repository.chain(head)) if full and head else []
        except DamagedBackupError as error:
            known, head, before = self._after_damage(f"{error} All packets are copied again."), None, []
        after = 0 if full or head is None else head.manifest.state.sequence
        name = self._new_name(head)
        sender.adopt()
        complete = sender.send_new(known.lineage)
        sequence = self.source.sequence()
        state_head = StateHead(
            repository=self.repository.uuid,
            snapshot=name,
            after=after,
            sequence=sequence,
            station_key=self.station.to_pem().decode() if self.include_station_key else None,
            index_key=self.index_key,
        )
        quiet = sequence == known.quiet_at and sender.idle()
        if head is not None and quiet and not full and rework is None:
            return known, None, True
        # The last packs are still on their way while the state is sealed.
        state = seal_state(state_head, self.source.export(after), recipients)
        try:
            if complete:
                # What was recorded meanwhile and stands in the state; and a few more, which a restore takes too.
                complete = sender.send_new(known.lineage)
            packs = sender.results()
            dropped = rework.dropped if rework else Dropped()
            if rework is not None:
                packs += [sender.send(writer) for writer in rework.writers()]
                before = [pack for pack in before if pack.name not in dropped.packs]
            entry = StateEntry(sha256=state.sha256, size=state.size, after=after, sequence=sequence)
            manifest = Manifest(
                repository=self.repository.uuid,
                name=name,
                lineage=known.lineage,
                created_at=utc_text(utc_from_ms(self.clock.now_ms())),
                kind="full" if full else "delta",
                complete=complete and not self.tally.damaged and not self.tally.away,
                parent=head.ref if head else None,
                station=Station(
                    key_id=self.station.public.key_id, public_key=self.station.public.to_pem().decode()
                ),
                recipients=tuple(recipients),
                state=entry,
                packs=(*before, *packs),
                dropped=dropped,
                chain=_chain(head, entry, full=full),
                totals=_totals(head, packs, rework.packs if rework else ()),
            )
            self._alone_in_lineage(head)
            known, made = self._commit(known, manifest, state)
        finally:
            state.close()
        return known, made, complete

    def _commit(self, known: Knowledge, manifest: Manifest, state: SealedState) -> tuple[Knowledge, Snapshot]:
        data = dump(manifest)
        signature = self.station.sign(data)
        known = evolve(known, pending=manifest.name)
        self.memory.save(known)
        storage = self.repository.storage
        storage.put(state_key(manifest.name), state.data, size=state.size, sha256=state.sha256)
        self.repository.put_bytes(signature_key(manifest.name), signature)
        self.repository.put_bytes(manifest_key(manifest.name), data)
        self.tally.written += state.size + len(signature) + len(data)
        ref = SnapshotRef(name=manifest.name, sha256=hashlib.sha256(data).hexdigest())
        made = Snapshot(manifest=manifest, ref=ref, signer=self.station.public)
        return self._settle(known, made), made

    def _settle(self, known: Knowledge, made: Snapshot) -> Knowledge:
        """Note everywhere that a snapshot is committed. Done again after a crash, it changes nothing."""
        named = {pack.name for pack in made.manifest.packs}
        sequence = self.source.sequence()
        marks = 0
        for pending in self.memory.pending_packs():
            if pending.entry.name in named:
                marks += mark_copied(self.source, known.lineage, pending.packets().digests(), made.ref.name)
        quiet = sequence == made.manifest.state.sequence and self.source.sequence() == sequence + marks
        quiet_at = sequence + marks if quiet else None
        known = evolve(known, head=made.ref, pending=None, full_next=False, quiet_at=quiet_at)
        self.memory.save(known)
        self.memory.forget_packs(named)
        return known

    def _new_name(self, head: Snapshot | None) -> str:
        """Return a name that sorts after the parent's, also where the clock jumped back."""
        moment = utc_from_ms(self.clock.now_ms())
        if head is not None:
            before = datetime.strptime(head.ref.name[:_STAMP_LENGTH], _STAMP).replace(tzinfo=UTC)
            moment = max(moment, before + timedelta(seconds=1))
        return f"{moment.strftime(_STAMP)}-{uuid6.uuid7()}"


def _chain(head: Snapshot | None, state: StateEntry, *, full: bool) -> Chain:
    if full or head is None:
        return Chain(length=0, full_bytes=state.size, delta_bytes=0)
    before = head.manifest.chain
    return Chain(
        length=before.length + 1, full_bytes=before.full_bytes, delta_bytes=before.delta_bytes + state.size
    )


def _totals(head: Snapshot | None, packs: Sequence[PackEntry], dropped: Sequence[PackEntry]) -> Totals:
    before = head.manifest.totals if head else Totals(packs=0, packets=0, bytes=0)
    return Totals(
        packs=before.packs + len(packs) - len(dropped),
        packets=before.packets + sum(p.packets for p in packs) - sum(p.packets for p in dropped),
        bytes=before.bytes + sum(p.size for p in packs) - sum(p.size for p in dropped),
    )
