"""Repairing packs from good copies of their packets.

A pack is a function of its packets and their order. So a damaged one is not patched but made again, byte for
byte, and has the digest that the snapshot recorded: no manifest changes, and no key is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from ktpsync.backup._documents import (
    MARKER_KEY,
    PackEntry,
    PackIndex,
    dump,
    index_key,
    manifest_key,
    pack_key,
    signature_key,
)
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._pack import PackWriter, index_from_pack, read_packets
from ktpsync.errors import BackupError, DamagedBackupError, NotFoundError, RepositoryError

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.backup._repository import Repository, Snapshot

GoodCopy = Callable[[str], bytes | None]
"""Returns the sealed bytes of a packet, or ``None`` where that place has none. Its digest is checked."""


@frozen(kw_only=True)
class RepairReport:
    """What a repair mended.

    Args:
        repaired: Keys of the files that are whole again.
        unrepaired: One line for each damaged file that is not, with what it lacks.
        away: Why places could not be asked for good copies, by name: once they can be, a repair may do more.
    """

    repaired: tuple[str, ...]
    unrepaired: tuple[str, ...]
    away: Mapping[str, str] = field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing damaged is left among the packs and indexes."""
        return not self.unrepaired


def repair(
    repository: Repository, sources: Sequence[GoodCopy], *, memory: Path | None = None
) -> RepairReport:
    """Make damaged or missing packs and indexes, and the repository's marker, whole again.

    What is still good in a damaged pack is used; the rest comes from the sources: the spool, another
    repository, the centre. Damaged manifests and states are not mended; a new full backup makes up for them. Once this station has made
    that, a damaged manifest is put below ``damaged/``, where no verification stops at it.

    Args:
        repository: Which.
        sources: Where good copies may be, the best first.
        memory: Folder in the data directory for what is remembered of repositories, if the repository is
            this station's: no backup runs meanwhile.

    Raises:
        BackupInUseError: A backup of this station to this repository is running.
        BackendError: The storage failed.
    """
    if memory is not None:
        remembered = BackupMemory(memory, repository.uuid)
        with remembered.locked():
            found = repair(repository, sources)
            known = remembered.load()
            aside, left = _set_aside(repository, known.head.name if known is not None and known.head else "")
        return RepairReport(repaired=(*found.repaired, *aside), unrepaired=(*found.unrepaired, *left))
    repaired: list[str] = []
    unrepaired: list[str] = []
    if repository.trouble is not None:
        marker = dump(repository.marker)
        _replace(repository, MARKER_KEY, marker, hashlib.sha256(marker).hexdigest())
        repaired.append(MARKER_KEY)
    for pack in _packs(repository):
        try:
            repaired += _repair_pack(repository, pack, sources)
        except DamagedBackupError as error:
            unrepaired.append(str(error))
    return RepairReport(repaired=tuple(repaired), unrepaired=tuple(unrepaired))


def _set_aside(repository: Repository, head: str) -> tuple[list[str], list[str]]:
    """Put manifests that cannot be read, and that this station's newest snapshot does without, out of the way.

    Returns:
        Keys of those that were, and one line for each that was not.
    """
    snapshots: dict[str, Snapshot] = {}
    damaged: dict[str, DamagedBackupError] = {}
    for name in repository.snapshot_names():
        try:
            snapshots[name] = repository.snapshot(name)
        except DamagedBackupError as error:
            damaged[name] = error
        except RepositoryError:
            continue  # of a newer release
    parents = {one.manifest.parent.name for one in snapshots.values() if one.manifest.parent is not None}
    whole = head in snapshots and snapshots[head].manifest.complete
    aside, left = [], []
    for name, trouble in damaged.items():
        if whole and name not in parents:
            for key in (signature_key(name), manifest_key(name)):
                with contextlib.suppress(NotFoundError), repository.storage.open(key) as source:
                    repository.put_bytes(f"damaged/{key}", source.read())
                repository.storage.delete(key)
            aside.append(manifest_key(name))
        else:
            left.append(f"{trouble} Make a backup, which copies what it held again, and repair then.")
    return aside, left


def _packs(repository: Repository) -> list[PackEntry]:
    packs: dict[str, PackEntry] = {}
    gone: set[str] = set()
    for snapshot in repository.readable_snapshots():
        packs.update((pack.name, pack) for pack in snapshot.manifest.packs)
        gone.update(snapshot.manifest.dropped.packs)
    return [pack for name, pack in packs.items() if name not in gone]


def _repair_pack(repository: Repository, pack: PackEntry, sources: Sequence[GoodCopy]) -> list[str]:
    key = pack_key(pack.name)
    stored = _read(repository, key, pack.size)
    whole = hashlib.sha256(stored).hexdigest() == pack.sha256
    if not whole:
        # An interrupted repair may have left a good copy.
        aside = _read(repository, _aside(key), pack.size)
        stored = aside if hashlib.sha256(aside).hexdigest() == pack.sha256 else stored
    try:
        index = repository.index(pack)
        index_whole = True
    except BackupError:
        index = index_from_pack(pack.name, io.BytesIO(stored))
        index_whole = False
    mended = []
    if not whole:
        _replace(repository, key, _made_again(pack, index, stored, sources), pack.sha256)
        mended.append(key)
    if not index_whole:
        _replace(repository, index_key(pack.name), dump(index), pack.index_sha256)
        mended.append(index_key(pack.name))
    return mended


def _read(repository: Repository, key: str, size: int) -> bytes:
    """Return what there is of an object."""
    try:
        with repository.storage.open(key) as source:
            return source.read(size)
    except (NotFoundError, OSError):
        return b""


def _made_again(pack: PackEntry, index: PackIndex, stored: bytes, sources: Sequence[GoodCopy]) -> bytes:
    writer = PackWriter(pack.name)
    lacking = []
    for entry, found in read_packets(io.BytesIO(stored), index):
        sealed = found if found is not None else _good_copy(entry.packet_id, entry.sha256, sources)
        if sealed is None:
            lacking.append(entry.packet_id)
        else:
            writer.add_bytes(entry.packet_id, entry.sha256, sealed)
    if lacking:
        raise DamagedBackupError(
            f"{pack_key(pack.name)}: no good copy of packets {', '.join(lacking)} was found."
        )
    return writer.finish().data.read()


def _good_copy(packet_id: str, sha256: str, sources: Sequence[GoodCopy]) -> bytes | None:
    for source in sources:
        sealed = source(packet_id)
        if sealed is not None and hashlib.sha256(sealed).hexdigest() == sha256:
            return sealed
    return None


def _replace(repository: Repository, key: str, data: bytes, sha256: str) -> None:
    """Put good bytes in the place of damaged ones; at every moment one of both is there."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedBackupError(f"{key} cannot be made again: the snapshot recorded another digest.")
    repository.put_bytes(_aside(key), data)
    repository.storage.delete(key)
    repository.put_bytes(key, data)
    repository.storage.delete(_aside(key))


def _aside(key: str) -> str:
    return f"repair/{key}"
