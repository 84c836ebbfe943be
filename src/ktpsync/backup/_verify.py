"""Finding out what is wrong with a repository, and saying so packet by packet."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO

from attrs import Factory, define, frozen

from ktpsync import files
from ktpsync.age import Identity
from ktpsync.backup._documents import (
    Manifest,
    PackEntry,
    PackIndex,
    index_key,
    manifest_key,
    pack_key,
    signature_key,
    state_key,
)
from ktpsync.backup._memory import BackupMemory, Knowledge
from ktpsync.backup._pack import index_from_pack, read_packets
from ktpsync.backup._progress import Progress, ProgressCallback, ignore_progress
from ktpsync.backup._repository import Repository
from ktpsync.backup._state import OpenedState
from ktpsync.errors import (
    AgeError,
    BackupError,
    CorruptError,
    DamagedBackupError,
    NotFoundError,
    PacketError,
    RecordError,
    RepositoryError,
)
from ktpsync.keys import StationPublicKey
from ktpsync.plugins import ObjectInfo

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.backup._repository import Snapshot

OpenPacket = Callable[[str, bytes], object]
"""Opens sealed bytes that should be those of a packet id, and raises where they are not."""


class Depth(Enum):
    """How closely a verification looks."""

    LIST = "list"
    """All there, with the right sizes; manifests, signatures and chains hold."""

    READ = "read"
    """Every byte read back from the medium and compared with its digest. No key is needed."""

    OPEN = "open"
    """Every packet and every state opened with an identity as well."""


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong.

    Args:
        key: The file in the repository.
        message: What is wrong with it.
        packet_id: The packet that is damaged by it, where it is one.
        elsewhere: Where else a good copy of that packet is.
    """

    key: str
    message: str
    packet_id: str | None = None
    elsewhere: tuple[str, ...] = ()

    def __str__(self) -> str:
        packet = f"packet {self.packet_id}: " if self.packet_id else ""
        copies = ""
        if self.packet_id:
            copies = (
                f" Good copy: {', '.join(self.elsewhere)}." if self.elsewhere else " No other copy is known."
            )
        return f"{self.key}: {packet}{self.message}{copies}"


@frozen(kw_only=True)
class VerifyReport:
    """What a verification found.

    Args:
        repository: UUID of the repository.
        depth: How closely it looked.
        snapshots: Snapshots whose manifests hold.
        packs: Packs that they name.
        packets: Packets in these packs.
        bytes_read: Bytes of packs, indexes and states read back.
        problems: All that is wrong.
        notes: What is odd but no damage, such as files left by an interrupted backup.
    """

    repository: str
    depth: Depth
    snapshots: int
    packs: int
    packets: int
    bytes_read: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def damaged_packets(self) -> tuple[str, ...]:
        """Ids of the packets that the repository does not hold whole any more."""
        return tuple(dict.fromkeys(p.packet_id for p in self.problems if p.packet_id is not None))

    def raise_if_damaged(self) -> None:
        """Turn problems into an error.

        Raises:
            DamagedBackupError: Something is wrong.
        """
        if self.problems:
            raise DamagedBackupError(
                f"The backup repository {self.repository} is damaged in {len(self.problems)} places, "
                f"{len(self.damaged_packets)} packets among them. Bring good copies with "
                "`ktpsync verify --repair-from`, and make a backup to another disk.",
                damaged=[str(problem) for problem in self.problems],
            )


def verify(
    repository: Repository,
    *,
    depth: Depth = Depth.READ,
    identities: Sequence[Identity] = (),
    open_packet: OpenPacket | None = None,
    trusted: Iterable[StationPublicKey] | None = None,
    memory: Path | None = None,
    copies: Callable[[str], Sequence[str]] | None = None,
    progress: ProgressCallback = ignore_progress,
) -> VerifyReport:
    """Check a repository.

    Args:
        repository: Which.
        depth: How closely to look.
        identities: age identities of the recovery recipients, for ``Depth.OPEN``.
        open_packet: Opens a packet and checks its signature and schema, for ``Depth.OPEN``.
        trusted: The public keys of stations that may have signed; any key if not given.
        memory: The folder given to :func:`backup`, so that what vanished is noticed.
        copies: Says where else a good copy of a packet is.
        progress: Called as packs are read.

    Returns:
        What was found; damage raises nothing.

    Raises:
        BackendError: The storage cannot be reached.
    """
    known = BackupMemory(memory, repository.uuid).load() if memory is not None else None
    check = _Check(
        repository=repository,
        depth=depth,
        identities=tuple(identities),
        open_packet=open_packet,
        trusted=frozenset(trusted) if trusted is not None else None,
        known=known,
        copies=copies,
        progress=progress,
    )
    return check.all()


@define(kw_only=True)
class _Check:
    """One verification from start to end."""

    repository: Repository
    depth: Depth
    identities: tuple[Identity, ...]
    open_packet: OpenPacket | None
    trusted: frozenset[StationPublicKey] | None
    known: Knowledge | None
    copies: Callable[[str], Sequence[str]] | None
    progress: ProgressCallback
    problems: list[Problem] = Factory(list)
    notes: list[str] = Factory(list)
    objects: dict[str, ObjectInfo] = Factory(dict)
    bytes_read: int = 0
    packets_done: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    packets_total: int = 0

    def all(self) -> VerifyReport:
        for prefix in ("packs/", "snapshots/"):
            self.objects.update((info.key, info) for info in self.repository.storage.list(prefix))
        snapshots = self._manifests()
        dropped_snapshots = {name for s in snapshots.values() for name in s.manifest.dropped.snapshots}
        dropped_packs = {name for s in snapshots.values() for name in s.manifest.dropped.packs}
        self._chains(snapshots, dropped_snapshots)
        self._trust(snapshots)
        self._remembered(snapshots)
        packs = {
            pack.name: pack
            for snapshot in snapshots.values()
            for pack in snapshot.manifest.packs
            if pack.name not in dropped_packs
        }
        self.bytes_total = sum(pack.size for pack in packs.values())
        self.packets_total = sum(pack.packets for pack in packs.values())
        for snapshot in snapshots.values():
            self._state(snapshot.manifest)
        for pack in packs.values():
            self._pack(pack)
        self._leftovers(snapshots, packs)
        return VerifyReport(
            repository=self.repository.uuid,
            depth=self.depth,
            snapshots=len(snapshots),
            packs=len(packs),
            packets=self.packets_total,
            bytes_read=self.bytes_read,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
        )

    def _report(self, key: str, message: str, packet_id: str | None = None) -> None:
        elsewhere = tuple(self.copies(packet_id)) if packet_id and self.copies else ()
        self.problems.append(Problem(key=key, message=message, packet_id=packet_id, elsewhere=elsewhere))

    def _manifests(self) -> dict[str, Snapshot]:
        found = {}
        for name in self.repository.snapshot_names():
            try:
                found[name] = self.repository.snapshot(name)
            except (DamagedBackupError, RepositoryError) as error:
                self._report(manifest_key(name), str(error))
        return found

    def _chains(self, snapshots: dict[str, Snapshot], dropped: set[str]) -> None:
        children = Counter(s.manifest.parent.name for s in snapshots.values() if s.manifest.parent)
        for name, count in children.items():
            if count > 1:
                self._report(manifest_key(name), f"{count} snapshots continue it; only one can be genuine.")
        for name, snapshot in snapshots.items():
            manifest = snapshot.manifest
            parent = manifest.parent
            if parent is None:
                if manifest.kind == "delta":
                    self._report(manifest_key(name), "It needs a parent but names none.")
                continue
            before = snapshots.get(parent.name)
            if before is None:
                if parent.name not in dropped or manifest.kind == "delta":
                    self._report(
                        manifest_key(parent.name), f"It is missing or damaged, and {name} continues it."
                    )
                continue
            if before.ref != parent or before.manifest.lineage != manifest.lineage:
                self._report(
                    manifest_key(parent.name),
                    f"It is not the snapshot that {name} continues: another was put in its place.",
                )
            elif manifest.kind == "delta" and manifest.state.after > before.manifest.state.sequence:
                self._report(manifest_key(name), "Its state does not continue that of its parent.")

    def _trust(self, snapshots: dict[str, Snapshot]) -> None:
        if self.trusted is None:
            return
        others: Counter[str] = Counter()
        for name, snapshot in snapshots.items():
            if snapshot.signer in self.trusted:
                continue
            if self.known is None or snapshot.manifest.lineage == self.known.lineage:
                self._report(
                    manifest_key(name),
                    f"It was signed by station key {snapshot.signer.key_id}, which is not among the trusted ones.",
                )
            else:
                others[snapshot.signer.key_id] += 1
        for key_id, count in others.items():
            self.notes.append(f"{count} snapshots are those of another station, with key {key_id}.")

    def _remembered(self, snapshots: dict[str, Snapshot]) -> None:
        known = self.known
        if known is None or known.head is None:
            return
        head = snapshots.get(known.head.name)
        if head is None or head.ref != known.head:
            self._report(
                manifest_key(known.head.name),
                "This station committed this snapshot last, but it is missing, damaged or another one: "
                "an older state of the repository was put in its place.",
            )
        newer = [
            name
            for name, snapshot in snapshots.items()
            if snapshot.manifest.lineage == known.lineage and name > known.head.name and name != known.pending
        ]
        if newer:
            self._report(
                manifest_key(newer[-1]),
                "It continues this station's snapshots, but this station does not remember it: "
                "either the data directory is an older copy, or the snapshot is not genuine.",
            )

    def _state(self, manifest: Manifest) -> None:
        key = state_key(manifest.name)
        if not self._present(key, manifest.state.size) or self.depth is Depth.LIST:
            return
        if not self._digest_holds(key, manifest.state.sha256):
            self._report(
                key, "Its bytes differ from what the snapshot recorded; the outbox state in it is damaged."
            )
        elif self.depth is Depth.OPEN:
            self._open_state(key, manifest)

    def _open_state(self, key: str, manifest: Manifest) -> None:
        try:
            with self._open(key) as sealed:
                state = OpenedState(sealed, self.identities, key)
            expected = (manifest.repository, manifest.name, manifest.state.after, manifest.state.sequence)
            head = state.head
            if (head.repository, head.snapshot, head.after, head.sequence) != expected:
                self._report(key, "It is the state of another snapshot.")
            for _ in state.records():
                pass
        except (AgeError, DamagedBackupError) as error:
            self._report(key, str(error))

    def _pack(self, pack: PackEntry) -> None:
        key = pack_key(pack.name)
        index_there = self._present(index_key(pack.name), pack.index_size)
        if not self._present(key, pack.size):
            self._packets(pack, None)
        elif self.depth is not Depth.LIST:
            intact = self._digest_holds(key, pack.sha256)
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
        index = self._index(pack, key)
        if index is None:
            self._report(
                pack_key(pack.name),
                f"The index is unreadable too: which {pack.packets} packets it held is not known from here.",
            )
        elif key is None:
            for entry in index.packets:
                self._report(pack_key(pack.name), "lost with its pack.", entry.packet_id)
        else:
            with self._open(key) as source:
                for entry, sealed in read_packets(source, index):
                    if sealed is None:
                        self._report(key, "its bytes are damaged.", entry.packet_id)
                    elif self.depth is Depth.OPEN and self.open_packet is not None:
                        self._open_packet(key, entry.packet_id, sealed)

    def _open_packet(self, key: str, packet_id: str, sealed: bytes) -> None:
        assert self.open_packet is not None
        try:
            self.open_packet(packet_id, sealed)
        except (AgeError, PacketError, RecordError) as error:
            self._report(key, f"it does not open: {error}", packet_id)

    def _index(self, pack: PackEntry, key: str | None) -> PackIndex | None:
        """Return a pack's index, from the pack itself if the index is damaged; none if that is too."""
        with contextlib.suppress(BackupError):
            return self.repository.index(pack)
        if key is not None:
            with contextlib.suppress(DamagedBackupError), self._open(key) as source:
                return index_from_pack(pack.name, source)
        return None

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
            with self._open(key) as source:
                sha256, size = files.sha256_of(source)
        except (OSError, NotFoundError, CorruptError):
            return False
        self.bytes_read += size
        return sha256 == expected

    def _open(self, key: str) -> BinaryIO:
        """Open an object so that it is read from the medium, not from the page cache."""
        source = self.repository.storage.open(key)
        with contextlib.suppress(OSError, AttributeError):
            files.drop_page_cache(source)
        return source

    def _leftovers(self, snapshots: dict[str, Snapshot], packs: dict[str, PackEntry]) -> None:
        named = {key for pack in packs for key in (pack_key(pack), index_key(pack))}
        for name in snapshots:
            named |= {manifest_key(name), signature_key(name), state_key(name)}
        extra = sorted(self.objects.keys() - named)
        if extra:
            self.notes.append(
                f"{len(extra)} files belong to no snapshot, such as {extra[0]}: an interrupted or running "
                "backup left them, or a snapshot was taken away."
            )
