"""Finding single packets in a repository: to take them out, to deliver what was offloaded, to repair."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from attrs import evolve, frozen

from ktpsync import files
from ktpsync.backup._documents import PacketEntry, PackIndex, index_key, load, pack_key
from ktpsync.backup._pack import read_packets, what_is_left
from ktpsync.errors import BackupError, DamagedBackupError, NotFoundError, UnknownPacketError
from ktpsync.packet import called
from ktpsync.plugins import Capability

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.backup._repository import Repository

T = TypeVar("T")

_KEPT_INDEXES: Final = 64


def read_packet(
    repository: Repository, pack: str, entry: PacketEntry, *, from_medium: bool = False
) -> bytes | None:
    """Return a packet's bytes out of a pack if they are there and intact; of the rest no more is read than must be.

    Args:
        repository: Where from.
        pack: The pack's name.
        entry: Where in it.
        from_medium: Whether the page cache may not answer for the disk.

    Raises:
        BackendError: The storage cannot be reached.
    """
    storage, key = repository.storage, pack_key(pack)
    try:
        if Capability.PARTS in storage.capabilities:
            with storage.open_part(key, entry.offset, entry.size) as source:
                part = PackIndex(pack=pack, packets=(evolve(entry, offset=0),))
                ((_, sealed),) = read_packets(source, part)
        else:
            opened = repository.open_from_medium(key) if from_medium else storage.open(key)
            with opened as source:
                ((_, sealed),) = read_packets(source, PackIndex(pack=pack, packets=(entry,)))
    except (NotFoundError, OSError):
        return None
    return sealed


def told_by_pack(repository: Repository, name: str) -> PackIndex | None:
    """Return what a pack that may be damaged tells itself; ``None`` if it is missing. All of it is read.

    Raises:
        BackendError: The storage cannot be reached, or went away meanwhile.
    """
    storage, key = repository.storage, pack_key(name)
    try:
        size = storage.stat(key).size
        with storage.open(key) as source:
            told = what_is_left(name, source, size)
    except NotFoundError:
        told = None
    repository.still_there()
    return told


class PacketFinder:
    """Reads single packets of a repository, whatever lineage they are of.

    Goes by the pack indexes, and believes only bytes whose digest holds. Packs are named in the order of time
    and so are packets: the first pack made after a packet is asked first.

    Args:
        repository: Which.
        packs: Names of the packs to look in; all that are there if not given.
        from_medium: Whether packets are read from the medium, not from the page cache.
    """

    def __init__(
        self, repository: Repository, *, packs: Iterable[str] | None = None, from_medium: bool = False
    ) -> None:
        self._repository = repository
        self._names: list[str] | None = None if packs is None else sorted(packs)
        self._from_medium = from_medium
        self._indexes: dict[str, tuple[PacketEntry, ...] | None] = {}
        self._told: dict[str, tuple[PacketEntry, ...]] = {}

    def read(self, packet_id: str, sha256: str | None = None) -> bytes:
        """Return the sealed bytes of a packet.

        Args:
            packet_id: Which.
            sha256: Their digest, where it is known from elsewhere; that of the pack's index if not given.

        Raises:
            UnknownPacketError: No pack holds it.
            DamagedBackupError: Every copy in the repository is damaged.
            BackendError: The storage cannot be reached.
        """
        found, doubtful = False, []
        for name in self._ordered(packet_id):
            index = self._index(name)
            entries = [entry for entry in index or () if entry.packet_id == packet_id]
            if (sealed := self._first_whole(name, entries, sha256)) is not None:
                return sealed
            found = found or bool(entries)
            if index is None or entries:
                doubtful.append(name)
        # Before a packet is said to be lost, the packs themselves are asked: an index may be damaged alone.
        for name in doubtful:
            entries = [entry for entry in self._told_by_pack(name) if entry.packet_id == packet_id]
            if (sealed := self._first_whole(name, entries, sha256)) is not None:
                return sealed
            found = found or bool(entries)
        if found:
            raise DamagedBackupError(
                f"Packet {packet_id} is damaged in repository {self._repository.uuid}. Look for another copy."
            )
        raise UnknownPacketError(
            f"Repository {self._repository.uuid} does not hold packet {called(packet_id)}."
        )

    def open(self, packet_id: str, sha256: str) -> BinaryIO:
        """Return a file object over the verified bytes of a packet, as the spool asks for offloaded ones.

        Raises:
            UnknownPacketError: No pack holds it.
            DamagedBackupError: Every copy in the repository is damaged.
            BackendError: The storage cannot be reached.
        """
        return io.BytesIO(self.read(packet_id, sha256))

    def _first_whole(self, name: str, entries: Iterable[PacketEntry], sha256: str | None) -> bytes | None:
        for entry in entries:
            if sha256 in {None, entry.sha256}:
                sealed = read_packet(self._repository, name, entry, from_medium=self._from_medium)
                if sealed is not None:
                    return sealed
        return None

    def _ordered(self, packet_id: str) -> list[str]:
        """Return the packs, those first that most likely hold a packet."""
        if self._names is None:
            self._names = self._repository.pack_names()
        later = [name for name in self._names if name > packet_id]
        return later + [name for name in reversed(self._names) if name <= packet_id]

    def _index(self, name: str) -> tuple[PacketEntry, ...] | None:
        """Return what a pack's index tells; ``None`` if it is lost or cannot be read."""
        with contextlib.suppress(KeyError):
            return self._indexes[name]
        key = index_key(name)
        try:
            known = load(PackIndex, self._repository.read(key), key).packets
        except BackupError:
            known = None
        return _kept(self._indexes, name, known)

    def _told_by_pack(self, name: str) -> tuple[PacketEntry, ...]:
        """Return what a pack tells itself. All of it is read."""
        with contextlib.suppress(KeyError):
            return self._told[name]
        told = told_by_pack(self._repository, name)
        return _kept(self._told, name, () if told is None else told.packets)


def _kept(indexes: dict[str, T], name: str, index: T) -> T:
    if len(indexes) >= _KEPT_INDEXES:
        indexes.pop(next(iter(indexes)))
    indexes[name] = index
    return index


@frozen(kw_only=True)
class ExtractReport:
    """What was taken out of a repository.

    Args:
        written: The files, by packet id.
        problems: One line for each packet that could not be taken out.
    """

    written: dict[str, Path]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all packets were taken out."""
        return not self.problems


def extract(repository: Repository, packet_ids: Iterable[str], into: Path) -> ExtractReport:
    """Take single sealed packets out of a repository. No key is needed; they stay sealed.

    Args:
        repository: Where from.
        packet_ids: Which.
        into: The folder to write ``<packet id>.age`` files to; nothing in it is overwritten.

    Raises:
        BackendError: The storage cannot be reached.
        OSError: A file cannot be written.
    """
    finder = PacketFinder(repository)
    files.make_folder(into)
    written: dict[str, Path] = {}
    problems = []
    for packet_id in packet_ids:
        path = into / f"{packet_id}.age"
        try:
            files.write_atomic(path, finder.read(packet_id), replace=False)
            written[packet_id] = path
        except FileExistsError:
            problems.append(f"Packet {packet_id}: {path} exists already and was left as it is.")
        except (BackupError, UnknownPacketError) as error:
            problems.append(str(error))
    return ExtractReport(written=written, problems=tuple(problems))
