"""Packs on their way into the repository: some are built while one is written."""

from __future__ import annotations

import mmap
import sys
import threading
from concurrent.futures import CancelledError, Executor, Future
from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from ktpsync.backup._documents import PackEntry, index_key, pack_key
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._pack import Pack, PackWriter, packed_size
from ktpsync.backup._progress import Progress, ProgressCallback
from ktpsync.backup._repository import Repository
from ktpsync.backup._source import BackupSource
from ktpsync.errors import BackendError, NotFoundError, SpoolError
from ktpsync.files import sha256_of

if TYPE_CHECKING:
    from ktpsync.packet import SealedPacket

IN_FLIGHT: Final = 3
"""Packs in memory: two are built, while the disk writes the third. With all three built at a time it would wait for them,
and then they for it."""

_SLACK: Final = 4 << 20
"""Bytes that a pack may be larger than its size, before its memory must grow."""


def new_buffers(pack_size: int) -> tuple[mmap.mmap, ...]:
    """Return the memory in which packs are built, in turns. It is taken from the system as it is used."""
    return tuple(_memory(pack_size + _SLACK) for _ in range(IN_FLIGHT))


def _memory(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    # Not in large pages: on a machine that has run for a while the kernel takes longer to find them than they save.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


@define
class Tally:
    """What a run has done so far."""

    packs: list[str] = Factory(list)
    packets: int = 0
    pack_bytes: int = 0
    written: int = 0
    packets_expected: int = 0
    bytes_expected: int = 0
    damaged: dict[str, str] = Factory(dict)
    away: dict[str, str] = Factory(dict)
    warnings: list[str] = Factory(list)
    found: list[str] = Factory(list)

    def add_pack(self, entry: PackEntry) -> None:
        self.packs.append(entry.name)
        self.packets += entry.packets
        self.pack_bytes += entry.size
        self.written += entry.size + entry.index_size

    def progress(self) -> Progress:
        return Progress(
            stage="pack",
            bytes_done=self.pack_bytes,
            bytes_total=max(self.bytes_expected, self.pack_bytes),
            packets_done=self.packets,
            packets_total=max(self.packets_expected, self.packets),
        )


@define(kw_only=True)
class PackSender:
    """Sends the packs of one snapshot.

    Args:
        source: The outbox.
        repository: Where to.
        memory: Remembers which packs were sent, until a snapshot names them.
        pack_size: Bytes after which a pack is closed.
        snapshot_size: Bytes of new packets after which the rest is left for another snapshot.
        buffers: Memory to build packs in; nothing else may use it meanwhile.
        tally: Counts what is sent.
        progress: Called as packs are stored.
        workers: Build packs side by side; one at a time is written.
    """

    source: BackupSource
    repository: Repository
    memory: BackupMemory
    pack_size: int
    snapshot_size: int
    buffers: tuple[mmap.mmap, ...]
    tally: Tally
    progress: ProgressCallback
    workers: Executor
    _adopted: list[PackEntry] = Factory(list)
    _sent: list[Future[PackEntry | None]] = Factory(list)
    _packed: dict[str, str] = Factory(dict)
    _medium: threading.Lock = Factory(threading.Lock)
    _building: threading.Semaphore = Factory(lambda: threading.Semaphore(IN_FLIGHT - 1))
    _stopped: threading.Event = Factory(threading.Event)

    def idle(self) -> bool:
        """Return whether there is no pack; waits for the first."""
        return not self._adopted and all(future.result() is None for future in self._sent)

    def results(self) -> list[PackEntry]:
        """Return all packs when the last is stored, in the order of their names."""
        sent = (future.result() for future in self._sent)
        return [*self._adopted, *(entry for entry in sent if entry is not None)]

    def stop(self) -> None:
        """Begin nothing more: whoever interrupted this waits for no more than the pack that is being written."""
        self._stopped.set()

    def adopt(self) -> None:
        """Take over the packs that an interrupted run sent; forget those that never arrived whole."""
        for pending in self.memory.pending_packs():
            entry = pending.entry
            if self._arrived(entry):
                self.repository.put_bytes(index_key(entry.name), pending.index.encode())
                self._adopted.append(entry)
                self._packed |= pending.packets().digests()
                self.tally.add_pack(entry)
            else:
                self.memory.forget_packs({entry.name})

    def _arrived(self, entry: PackEntry) -> bool:
        """Return whether a pack is stored whole, as far as it was proven then or can be read now."""
        storage, key = self.repository.storage, pack_key(entry.name)
        try:
            if storage.stat(key).size != entry.size:
                return False
            # The index follows when the storage has proven the pack. Without one, it may have damaged it.
            if storage.exists(index_key(entry.name)):
                return True
            with storage.open(key) as file:
                found = sha256_of(file)
        except NotFoundError:
            return False
        return found == (entry.sha256, entry.size)

    def send_new(self, lineage: str) -> bool:
        """Send what the repository lacks and what is in no pack of this snapshot yet.

        Args:
            lineage: Whose packets.

        Returns:
            Whether nothing is left to be sent.
        """
        complete = True
        sent = size = 0
        packets: list[SealedPacket] = []
        for packet in self.source.uncopied(lineage):
            if self._packed.get(packet.packet_id) == packet.sha256:
                continue
            if sent + size >= self.snapshot_size:
                complete = False
                break
            self._packed[packet.packet_id] = packet.sha256
            packets.append(packet)
            size += packed_size(packet.size)
            if size >= self.pack_size:
                self._begin(packets)
                sent += size
                packets, size = [], 0
        if packets:
            self._begin(packets)
        return complete

    def _begin(self, packets: list[SealedPacket]) -> None:
        """Have a pack built and stored as soon as there is memory for it."""
        number = len(self._sent)
        if number >= len(self.buffers):
            # It is built in the memory of one that must be stored by then.
            self._sent[-len(self.buffers)].result()
        writer = PackWriter(buffer=self.buffers[number % len(self.buffers)])
        self._sent.append(self.workers.submit(self._build, writer, packets))

    def _build(self, writer: PackWriter, packets: list[SealedPacket]) -> PackEntry | None:
        with self._building:
            for packet in packets:
                self._go_on()
                self._add(writer, packet)
            if not writer.packets:
                return None
            pack = writer.finish()
        return self._store(pack)

    def send(self, writer: PackWriter) -> PackEntry:
        """Finish a pack and store it, remembered before."""
        return self._store(writer.finish())

    def _store(self, pack: Pack) -> PackEntry:
        entry = pack.entry
        self._go_on()
        self.memory.note_pack(entry, pack.index)
        # Several at a time would only make the heads of a disk jump, or share a thin line.
        with self._medium, pack.data:
            self._go_on()
            self.repository.storage.put(pack_key(entry.name), pack.data, size=entry.size, sha256=entry.sha256)
            self.tally.add_pack(entry)
            self.progress(self.tally.progress())
        # The next pack is being written meanwhile.
        self.repository.put_bytes(index_key(entry.name), pack.index)
        return entry

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise CancelledError

    def _add(self, writer: PackWriter, packet: SealedPacket) -> None:
        try:
            writer.add(packet)
        except SpoolError as error:
            self.tally.damaged[packet.packet_id] = str(error)
        except BackendError as error:
            # Its bytes are only on another backup, which is not at hand. The next run asks again.
            self.tally.away[packet.packet_id] = str(error)
