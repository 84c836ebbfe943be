"""One verification of a repository, from the manifests to the last byte."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from attrs import Factory, define

from ktpsync import files
from ktpsync.age import Identity
from ktpsync.backup._documents import (
    MARKER_KEY,
    Manifest,
    PackEntry,
    PackIndex,
    RecipientsEntry,
    dropped_keys,
    index_key,
    load,
    manifest_key,
    pack_key,
    signature_key,
    state_key,
)
from ktpsync.backup._findings import Depth, OpenPacket, Problem, VerifyReport
from ktpsync.backup._genuine import chain_problems, memory_problems, signer_problems
from ktpsync.backup._memory import Knowledge
from ktpsync.backup._pack import index_from_pack, read_packets
from ktpsync.backup._progress import Progress, ProgressCallback
from ktpsync.backup._recipients import RECIPIENTS_PREFIX, recipient_history
from ktpsync.backup._repository import Repository
from ktpsync.backup._sample import Sample, everything, sample
from ktpsync.backup._source import BackupSource, mark_copied
from ktpsync.backup._state import OpenedState
from ktpsync.errors import (
    AgeError,
    BackupError,
    CorruptError,
    DamagedBackupError,
    NoMatchingIdentityError,
    NotFoundError,
    PacketError,
    RecordError,
    RepositoryError,
    UnknownStationError,
)
from ktpsync.keys import StationPublicKey
from ktpsync.plugins import ObjectInfo
from ktpsync.units import counted

if TYPE_CHECKING:
    from ktpsync.backup._recipients import RecipientsSince
    from ktpsync.backup._repository import Snapshot


@define(kw_only=True)
class Check:
    """One verification from start to end."""

    repository: Repository
    depth: Depth
    identities: tuple[Identity, ...]
    open_packet: OpenPacket | None
    trusted: frozenset[StationPublicKey] | None
    known: Knowledge | None
    recall: Callable[[], Knowledge | None]
    cursor: str
    copies: Callable[[str, str | None], Sequence[str]] | None
    share: float | None
    besides: Collection[str]
    progress: ProgressCallback
    source: BackupSource | None
    former: Callable[[], bool] | None
    whole: dict[str, PackEntry] = Factory(dict)
    lost: dict[str, dict[str, str]] = Factory(dict)
    replaced: dict[str, set[str]] = Factory(dict)
    strangers: set[str] = Factory(set)
    closed: int = 0
    own: dict[str, str] = Factory(dict)
    problems: list[Problem] = Factory(list)
    older: dict[str, None] = Factory(dict)
    older_snapshots: list[str] = Factory(list)
    changed: bool = False
    notes: list[str] = Factory(list)
    objects: dict[str, ObjectInfo] = Factory(dict)
    bytes_read: int = 0
    packets_done: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    packets_total: int = 0

    def all(self) -> VerifyReport:
        # Manifests before the list of files: what a backup that runs meanwhile adds is then in both or in none.
        snapshots = self._manifests()
        if self.depth is Depth.OPEN:
            history = recipient_history(self.repository)
            self._refuse_others(snapshots.values(), history)
            self.changed = self._recipients_changed(history)
        for prefix in ("packs/", "snapshots/"):
            self.objects.update((info.key, info) for info in self.repository.storage.list(prefix))
        dropped_snapshots = {name for s in snapshots.values() for name in s.manifest.dropped.snapshots}
        dropped_packs = {name for s in snapshots.values() for name in s.manifest.dropped.packs}
        snapshots = {name: s for name, s in snapshots.items() if name not in dropped_snapshots}
        self.problems += chain_problems(snapshots, dropped_snapshots)
        if self.trusted is not None:
            self.problems += signer_problems(snapshots, self.trusted, self.known, self.notes)
        self.problems += memory_problems(snapshots, self.known, self.recall())
        packs = {
            pack.name: pack
            for snapshot in snapshots.values()
            for pack in snapshot.manifest.packs
            if pack.name not in dropped_packs
        }
        ours = {pack.name for s in snapshots.values() if self._is_ours(s) for pack in s.manifest.packs}
        self.strangers = packs.keys() - ours
        part = self._part(packs, snapshots)
        self.cursor = part.cursor
        chosen = [pack for name, pack in packs.items() if name in part.packs]
        self.bytes_total = sum(pack.size for pack in chosen)
        self.packets_total = sum(pack.packets for pack in chosen)
        for snapshot in snapshots.values():
            self._state(snapshot, read=snapshot.ref.name in part.states)
            if self.known is not None and snapshot.manifest.lineage == self.known.lineage:
                self.own.update((pack.name, snapshot.ref.name) for pack in snapshot.manifest.packs)
        for pack in chosen:
            self._pack(pack)
        self._replaced(packs)
        if self.repository.trouble is not None:
            self._report(MARKER_KEY, self.repository.trouble)
        if self.closed:
            packets = counted(self.closed, "packet", "packets")
            self.notes.append(f"{packets} of other stations could not be opened here; their bytes are whole.")
        self._history()
        self._leftovers(snapshots, packs)
        self._forgive(snapshots)
        return VerifyReport(
            repository=self.repository.uuid,
            depth=self.depth,
            snapshots=len(snapshots),
            packs=len(chosen),
            packets=self.packets_total,
            bytes_read=self.bytes_read,
            problems=tuple(self.problems),
            older=tuple(self.older),
            older_snapshots=tuple(self.older_snapshots),
            notes=tuple(self.notes),
        )

    def tell(self, source: BackupSource, now_ms: int) -> None:
        """Tell the outbox which packets were read back whole, and which are lost in every pack of this station."""
        if self.known is None:
            return
        whole: set[tuple[str, str]] = set()
        newest: dict[str, str] = {}
        for name, pack in sorted(self.whole.items()):
            if name in self.own:
                with contextlib.suppress(BackupError):
                    packets = self.repository.index(pack).digests()
                    mark_copied(source, self.known.lineage, packets, self.own[name], verified_ms=now_ms)
                    whole.update(packets.items())
                    newest.update(dict.fromkeys(packets, name))
        # Of a packet with a new header the former bytes in an older pack are no copy.
        lost = {
            packet_id
            for name, packets in self.lost.items()
            if name in self.own
            for packet_id, sha256 in packets.items()
            if (packet_id, sha256) not in whole and newest.get(packet_id, "") < name
        }
        if lost:
            why = f"verification of repository {self.repository.uuid} found them damaged or missing"
            source.lose_copies(self.known.lineage, sorted(lost), why=why)

    def _part(self, packs: dict[str, PackEntry], snapshots: dict[str, Snapshot]) -> Sample:
        if self.share is None:
            return everything(packs, snapshots)
        return sample(packs, snapshots, share=self.share, cursor=self.cursor, besides=self.besides)

    def _forgive(self, snapshots: dict[str, Snapshot]) -> None:
        """Take back what was said of files that a prune dropped meanwhile, or was just deleting."""
        if not self.problems:
            return
        gone = {key for snapshot in snapshots.values() for key in dropped_keys(snapshot.manifest.dropped)}
        for name in self.repository.snapshot_names():
            if name not in snapshots:
                with contextlib.suppress(BackupError):
                    gone.update(dropped_keys(self.repository.snapshot(name).manifest.dropped))
        self.problems = [problem for problem in self.problems if problem.key not in gone]

    def _report(
        self, key: str, message: str, packet_id: str | None = None, sha256: str | None = None
    ) -> None:
        elsewhere = tuple(self.copies(packet_id, sha256)) if packet_id and self.copies else ()
        self.problems.append(Problem(key=key, message=message, packet_id=packet_id, elsewhere=elsewhere))

    def _manifests(self) -> dict[str, Snapshot]:
        found = {}
        for name in self.repository.snapshot_names():
            try:
                found[name] = self.repository.snapshot(name)
            except (DamagedBackupError, RepositoryError) as error:
                self._report(manifest_key(name), str(error).removeprefix(f"{manifest_key(name)}: "))
        return found

    def _is_ours(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot is one whose signer must be trusted; see :func:`signer_problems`."""
        return (
            self.trusted is None
            or self.known is None
            or snapshot.signer in self.trusted
            or snapshot.manifest.lineage == self.known.lineage
        )

    def _state(self, snapshot: Snapshot, *, read: bool) -> None:
        manifest = snapshot.manifest
        key = state_key(manifest.name)
        if not self._present(key, manifest.state.size) or self.depth is Depth.LIST or not read:
            return
        if not self._digest_holds(key, manifest.state.sha256):
            self._report(
                key, "Its bytes differ from what the snapshot recorded; the outbox state in it is damaged."
            )
        elif self.depth is Depth.OPEN:
            self._open_state(key, manifest, ours=self._is_ours(snapshot))

    def _open_state(self, key: str, manifest: Manifest, *, ours: bool) -> None:
        try:
            with self.repository.open_from_medium(key) as sealed:
                state = OpenedState(sealed, self.identities, key)
            expected = (manifest.repository, manifest.name, manifest.state.after, manifest.state.sequence)
            head = state.head
            if (head.repository, head.snapshot, head.after, head.sequence) != expected:
                self._report(key, "It is the state of another snapshot.")
            for _ in state.records():
                pass
        except NoMatchingIdentityError as error:
            if not ours:
                return
            if self.changed and not self._names_us(manifest.recipients):
                self.older_snapshots.append(manifest.name)
            else:
                self._report(key, str(error))
        except (AgeError, DamagedBackupError) as error:
            self._report(key, str(error))

    def _pack(self, pack: PackEntry) -> None:
        key = pack_key(pack.name)
        index_there = self._present(index_key(pack.name), pack.index_size)
        if not self._present(key, pack.size):
            self._packets(pack, None)
        elif self.depth is not Depth.LIST:
            intact = self._digest_holds(key, pack.sha256)
            if intact:
                self.whole[pack.name] = pack
            if index_there and not self._digest_holds(index_key(pack.name), pack.index_sha256):
                self._report(index_key(pack.name), "It differs from what the snapshot recorded.")
            if not intact:
                self._report(key, "Its bytes differ from what the snapshot recorded.")
            if not intact or self.depth is Depth.OPEN:
                self._packets(pack, key)
        self.bytes_done += pack.size
        self.packets_done += pack.packets
        self.progress(
            Progress(
                stage="verify",
                bytes_done=self.bytes_done,
                bytes_total=self.bytes_total,
                packets_done=self.packets_done,
                packets_total=self.packets_total,
            )
        )

    def _packets(self, pack: PackEntry, key: str | None) -> None:
        """Look at each packet of a pack; at none of them if the pack is lost."""
        index, trusted = self._index(pack, key)
        if not trusted:
            self.replaced[pack.name] = set()
        if index is None:
            self._report(
                pack_key(pack.name),
                f"The index is unreadable too: which {pack.packets} packets it held is not known from here.",
            )
        elif key is None:
            self.lost[pack.name] = index.digests()
            for entry in index.packets:
                self._report(pack_key(pack.name), "lost with its pack.", entry.packet_id, entry.sha256)
        else:
            with self.repository.open_from_medium(key) as source:
                for entry, sealed in read_packets(source, index):
                    if sealed is None:
                        self.repository.still_there()
                        self.lost.setdefault(pack.name, {})[entry.packet_id] = entry.sha256
                        self._report(key, "its bytes are damaged.", entry.packet_id, entry.sha256)
                        continue
                    if not trusted:
                        self.replaced[pack.name].add(entry.packet_id)
                    if self.depth is Depth.OPEN and self.open_packet is not None:
                        self._open_packet(pack.name, entry.packet_id, sealed)

    def _replaced(self, packs: dict[str, PackEntry]) -> None:
        """Name what is lost with packs whose index is damaged too: all that the outbox misses in the others."""
        names = [name for name in self.replaced if name in self.own]
        if not names or self.share is not None or self.source is None or self.known is None:
            return
        held: set[str] = set()
        for name in self.own.keys() & packs.keys():
            index, trusted = self._index(packs[name], pack_key(name) if name in self.whole else None)
            if index is not None and (trusted or name in self.whole):
                gone = self.lost.get(name, {})
                held.update(entry.packet_id for entry in index.packets if entry.packet_id not in gone)
        held.update(packet_id for name in names for packet_id in self.replaced[name])
        for packet_id in self.source.copied(self.known.lineage):
            if packet_id not in held:
                self.lost.setdefault(names[0], {})[packet_id] = ""
                self._report(pack_key(names[0]), "it is in no pack any more.", packet_id)

    def _open_packet(self, pack: str, packet_id: str, sealed: bytes) -> None:
        assert self.open_packet is not None
        key = pack_key(pack)
        try:
            self.open_packet(packet_id, sealed)
        except (NoMatchingIdentityError, UnknownStationError) as error:
            if pack in self.strangers:
                self.closed += 1
            elif self.changed and isinstance(error, NoMatchingIdentityError):
                self.older[packet_id] = None
            else:
                self._report(key, f"it does not open: {error}", packet_id)
        except (AgeError, PacketError, RecordError) as error:
            self._report(key, f"it does not open: {error}", packet_id)

    def _recipients_changed(self, history: Sequence[RecipientsSince]) -> bool:
        """Return whether the identities are those of the recipients that the station has now, and had others before.

        A packet whose bytes are whole, and which they do not open, was then sealed before and not rewrapped yet.
        """
        if self.former is not None and self.former():
            return True
        stations = {"", *(station.key_id for station in self.trusted or ())}
        own = [line for line in history if line.station in stations]
        return len(own) > 1 and self._names_us(own[-1].recipients)

    def _refuse_others(self, snapshots: Collection[Snapshot], history: Sequence[RecipientsSince]) -> None:
        """Refuse identities that open nothing here: what they do not open is not damaged."""
        newest = {snapshot.manifest.lineage: snapshot.manifest for snapshot in snapshots}
        lately = {line.station: line for line in history}
        now = [last.recipients for last in newest.values()] + [last.recipients for last in lately.values()]
        if not any(self._names_us(recipients) for recipients in now):
            raise NoMatchingIdentityError(
                "The identity file is of nobody to whom this backup is sealed now, so nothing was opened, and nothing is said "
                "of its packets. Give the identity file of one of its recipients; after a change of keys that is the new one."
            )

    def _names_us(self, recipients: Collection[str]) -> bool:
        return any(str(identity.recipient) in recipients for identity in self.identities)

    def _index(self, pack: PackEntry, key: str | None) -> tuple[PackIndex | None, bool]:
        """Return a pack's index, from the pack itself if the index is damaged, and whether it is the one recorded."""
        with contextlib.suppress(BackupError):
            return self.repository.index(pack), True
        if key is not None:
            with contextlib.suppress(DamagedBackupError), self.repository.open_from_medium(key) as source:
                return index_from_pack(pack.name, source), False
        return None, False

    def _present(self, key: str, size: int) -> bool:
        """Return whether an object can be read; say what is wrong with it."""
        info = self.objects.get(key)
        if info is None:
            self._report(key, "It is missing.")
        elif info.size != size:
            self._report(key, f"It has {info.size} bytes instead of {size}.")
        return info is not None

    def _digest_holds(self, key: str, expected: str) -> bool:
        try:
            with self.repository.open_from_medium(key) as source:
                sha256, size = files.sha256_of(source)
        except (OSError, NotFoundError, CorruptError):
            self.repository.still_there()
            return False
        self.bytes_read += size
        return sha256 == expected

    def _history(self) -> None:
        for info in self.repository.storage.list(RECIPIENTS_PREFIX):
            try:
                load(RecipientsEntry, self.repository.read(info.key), info.key)
            except (DamagedBackupError, RepositoryError) as error:
                self._report(info.key, str(error))

    def _leftovers(self, snapshots: dict[str, Snapshot], packs: dict[str, PackEntry]) -> None:
        named = {key for pack in packs for key in (pack_key(pack), index_key(pack))}
        for name in snapshots:
            named |= {manifest_key(name), signature_key(name), state_key(name)}
        extra = sorted(self.objects.keys() - named)
        if extra:
            self.notes.append(
                f"{counted(len(extra), 'file belongs', 'files belong')} to no snapshot, such as {extra[0]}: an interrupted or running "
                "backup left them, or a snapshot was taken away."
            )
