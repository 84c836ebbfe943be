"""What a prune and a rewrap share: packets that are written again, and what is deleted after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.backup._documents import Dropped, PackEntry, PackIndex, dropped_keys, pack_key
from ktpsync.backup._pack import PackWriter, read_packets
from ktpsync.errors import DamagedBackupError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.backup._documents import PacketEntry
    from ktpsync.backup._repository import Repository, Snapshot


@frozen(kw_only=True)
class Rework:
    """What a prune or a rewrap changes.

    Args:
        packs: The packs that it drops.
        dropped: All that its manifest names as dropped.
        writers: Yields packs with what is kept of them, filled but not finished.
    """

    packs: tuple[PackEntry, ...]
    dropped: Dropped
    writers: Callable[[], Iterator[PackWriter]]


def packets_to_keep(
    repository: Repository, pack: str, entries: Iterable[PacketEntry]
) -> Iterator[tuple[PacketEntry, bytes]]:
    """Yield packets of a pack that is to be written again.

    Args:
        repository: Where it is.
        pack: Its name.
        entries: Which of its packets; the others are not read.

    Raises:
        DamagedBackupError: One of them is damaged.
    """
    key = pack_key(pack)
    with repository.storage.open(key) as source:
        for entry, sealed in read_packets(source, PackIndex(pack=pack, packets=tuple(entries))):
            if sealed is None:
                raise DamagedBackupError(
                    f"{key}: packet {entry.packet_id} is damaged, so the pack is not written again. "
                    "Run `ktpsync verify --repair-from` first. Nothing was dropped."
                )
            yield entry, sealed


def own_snapshots(repository: Repository, head: Snapshot) -> dict[str, Snapshot]:
    """Return the lineage's snapshots that were not dropped already."""
    found = {
        snapshot.ref.name: snapshot
        for snapshot in repository.readable_snapshots()
        if snapshot.manifest.lineage == head.manifest.lineage
    }
    gone = {name for snapshot in found.values() for name in snapshot.manifest.dropped.snapshots}
    return {name: snapshot for name, snapshot in found.items() if name not in gone}


def finish_deletion(repository: Repository, snapshots: Iterable[Snapshot]) -> None:
    """Delete what an interrupted prune had committed to drop."""
    stored = {info.key for prefix in ("packs/", "snapshots/") for info in repository.storage.list(prefix)}
    for snapshot in snapshots:
        for key in dropped_keys(snapshot.manifest.dropped):
            if key in stored:
                repository.storage.delete(key)


def delete_dropped(repository: Repository, dropped: Dropped) -> None:
    for key in dropped_keys(dropped):
        repository.storage.delete(key)
