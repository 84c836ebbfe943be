"""The packets of one restore, copied out of their packs: two packs at a time, so that two processors are busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final

from attrs import Factory, define

from ktpsync.backup._documents import PackEntry, PacketEntry, PackIndex, pack_key
from ktpsync.backup._finder import told_by_pack
from ktpsync.backup._pack import index_from_pack, read_packets
from ktpsync.backup._progress import Progress, ProgressCallback
from ktpsync.backup._repository import Repository
from ktpsync.backup._source import RestoreTarget
from ktpsync.errors import BackupError, DamagedBackupError, NotFoundError

_AT_A_TIME: Final = 2
"""Packs that are read at a time; of each one packet is in memory."""


@define
class _Copied:
    """What came of copying packets out of one pack."""

    restored: dict[str, str] = Factory(dict)
    damaged: list[str] = Factory(list)
    problems: list[str] = Factory(list)
    size: int = 0


@define(kw_only=True)
class PacketFetcher:
    """Copies packets from a repository to where they are restored.

    Args:
        repository: Where from.
        target: Where to.
        wanted: Says which packet ids.
        progress: Called as packs are done.
        problems: Takes one line for each thing that was wrong.
        restored: The SHA-256 of the packets that are there now, by id.
        damaged: Ids of the packets that a pack does not hold whole.
        size: Bytes of the packets that were copied.
    """

    repository: Repository
    target: RestoreTarget
    wanted: Callable[[str], bool]
    progress: ProgressCallback
    problems: list[str]
    restored: dict[str, str] = Factory(dict)
    damaged: dict[str, None] = Factory(dict)
    size: int = 0
    _stopped: threading.Event = Factory(threading.Event)
    _claimed: set[str] = Factory(set)
    _copying: deque[tuple[Future[_Copied], Progress | None]] = Factory(deque)

    def fetch(self, packs: Sequence[PackEntry], *, broken: bool) -> None:
        """Copy packets.

        Args:
            packs: The packs that the snapshot names, oldest first.
            broken: Whether a manifest could not be read: then packs that none names are looked into as well.

        Raises:
            BackendError: The storage cannot be reached.
            StationFullError: There is no room for them.
        """
        named = {pack.name: pack for pack in packs}
        bytes_total = sum(pack.size for pack in named.values())
        packets_total = sum(pack.packets for pack in named.values())
        bytes_done = packets_done = 0
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="ktpsync-restore") as workers:
            try:
                # Of a packet that is in two packs, the newer copy is the one that the state knows.
                for pack in reversed(named.values()):
                    bytes_done += pack.size
                    packets_done += pack.packets
                    done = Progress(
                        stage="restore",
                        bytes_done=bytes_done,
                        bytes_total=bytes_total,
                        packets_done=packets_done,
                        packets_total=packets_total,
                    )
                    self._begin(workers, pack.name, self._index(pack), done)
                for name in self._unnamed(named) if broken else ():
                    self._begin(workers, name, self._rebuilt_index(name), None)
                self._finish_all_but(0)
            finally:
                self.stop()

    def stop(self) -> None:
        """Begin nothing more: whoever interrupted this waits for no more than the packets that are being written."""
        self._stopped.set()

    def _begin(self, workers: Executor, name: str, index: PackIndex | None, done: Progress | None) -> None:
        """Have the packets that are still lacking copied out of a pack, as soon as a worker is free."""
        packets = index.packets if index is not None else ()
        # Whether this older copy of a packet is needed shows only when the newer one was read.
        copied_elsewhere = any(entry.packet_id in self._claimed for entry in packets)
        self._finish_all_but(0 if copied_elsewhere else _AT_A_TIME - 1)
        lacking = self._lacking(packets)
        self._claimed.update(entry.packet_id for entry in lacking)
        self._copying.append((workers.submit(self._copy, name, lacking), done))

    def _finish_all_but(self, count: int) -> None:
        """Wait, oldest first, until only so many packs are being copied."""
        while len(self._copying) > count:
            future, done = self._copying.popleft()
            copied = future.result()
            self.restored |= copied.restored
            self.damaged |= dict.fromkeys(copied.damaged)
            self.problems += copied.problems
            self.size += copied.size
            self._claimed.difference_update(copied.restored, copied.damaged)
            if done is not None:
                self.progress(done)

    def _lacking(self, packets: Sequence[PacketEntry]) -> list[PacketEntry]:
        lacking = []
        for entry in packets:
            if entry.packet_id in self.restored or not self.wanted(entry.packet_id):
                continue
            if self.target.holds(entry.packet_id, entry.sha256):
                self.restored[entry.packet_id] = entry.sha256
            else:
                lacking.append(entry)
        return lacking

    def _copy(self, name: str, packets: Sequence[PacketEntry]) -> _Copied:
        copied = _Copied()
        if not packets:
            return copied
        key = pack_key(name)
        try:
            source = self.repository.storage.open(key)
        except NotFoundError:
            copied.problems.append(f"{key} is missing.")
            copied.damaged += [entry.packet_id for entry in packets]
            return copied
        with source:
            for entry, sealed in read_packets(source, PackIndex(pack=name, packets=tuple(packets))):
                if self._stopped.is_set():
                    break
                if sealed is None:
                    copied.problems.append(f"{key}: packet {entry.packet_id} is damaged.")
                    copied.damaged.append(entry.packet_id)
                else:
                    self.target.add_packet(entry.packet_id, sealed)
                    copied.restored[entry.packet_id] = entry.sha256
                    copied.size += entry.size
        return copied

    def _unnamed(self, named: Mapping[str, PackEntry]) -> list[str]:
        """Return the packs that no readable manifest names: a lost manifest loses no packet."""
        return [name for name in self.repository.pack_names() if name not in named]

    def _index(self, pack: PackEntry) -> PackIndex | None:
        try:
            return self.repository.index(pack)
        except BackupError as error:
            self.problems.append(str(error))
        return self._rebuilt_index(pack.name)

    def _rebuilt_index(self, name: str) -> PackIndex | None:
        try:
            with self.repository.storage.open(pack_key(name)) as source:
                return index_from_pack(name, source)
        except NotFoundError:
            self.problems.append(f"{pack_key(name)} is missing.")
        except DamagedBackupError as error:
            self.problems.append(str(error))
            return told_by_pack(self.repository, name)
        return None
