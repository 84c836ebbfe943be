"""Packs on their way into the repository: one is built while the one before is written."""

from __future__ import annotations

import mmap
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from ktpsync.backup._documents import PackEntry, index_key, pack_key
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._pack import Pack, PackWriter
from ktpsync.backup._progress import Progress, ProgressCallback
from ktpsync.backup._repository import Repository
from ktpsync.backup._source import BackupSource
from ktpsync.errors import BackendError, NotFoundError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.packet import SealedPacket

_SLACK: Final = 4 << 20
"""Bytes that a pack may be larger than its size, before its memory must grow."""


def new_buffers(pack_size: int) -> tuple[mmap.mmap, ...]:
    """Return the memory in which packs are built, in turns."""
    return tuple(mmap.mmap(-1, pack_size + _SLACK) for _ in range(2))


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

    def expect(self, packets: Iterable[SealedPacket]) -> None:
        for packet in packets:
            self.packets_expected += 1
            self.bytes_expected += packet.size

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
        uploader: Writes packs, one after the other.
    """

    source: BackupSource
    repository: Repository
    memory: BackupMemory
    pack_size: int
    snapshot_size: int
    buffers: tuple[mmap.mmap, ...]
    tally: Tally
    progress: ProgressCallback
    uploader: Executor
    _adopted: list[PackEntry] = Factory(list)
    _sent: list[Future[PackEntry]] = Factory(list)
    _packed: dict[str, str] = Factory(dict)

    @property
    def idle(self) -> bool:
        """Whether there is no pack."""
        return not self._adopted and not self._sent

    def results(self) -> list[PackEntry]:
        """Return all packs when the last is stored, in the order in which they were built."""
        return [*self._adopted, *(future.result() for future in self._sent)]

    def adopt(self) -> None:
        """Take over the packs that an interrupted run sent; forget those that never arrived whole."""
        for pending in self.memory.pending_packs():
            entry = pending.entry
            try:
                arrived = self.repository.storage.stat(pack_key(entry.name)).size == entry.size
            except NotFoundError:
                arrived = False
            if arrived:
                self.repository.put_bytes(index_key(entry.name), pending.index.encode())
                self._adopted.append(entry)
                self._packed |= pending.packets().digests()
                self.tally.add_pack(entry)
            else:
                self.memory.forget_packs({entry.name})

    def send_new(self, lineage: str) -> bool:
        """Send what the repository lacks and what is in no pack of this snapshot yet.

        Args:
            lineage: Whose packets.

        Returns:
            Whether nothing is left to be sent.
        """
        complete = True
        stored = 0
        writer = self._new_writer()
        for packet in self.source.uncopied(lineage):
            if self._packed.get(packet.packet_id) == packet.sha256:
                continue
            if stored + writer.size >= self.snapshot_size:
                complete = False
                break
            self._packed[packet.packet_id] = packet.sha256
            self._add(writer, packet)
            if writer.size >= self.pack_size:
                stored += writer.size
                self._sent.append(self.uploader.submit(self.send, writer))
                writer = self._new_writer()
        if writer.packets:
            self._sent.append(self.uploader.submit(self.send, writer))
        return complete

    def send(self, writer: PackWriter) -> PackEntry:
        """Finish a pack and store it, remembered before."""
        pack = writer.finish()
        self.memory.note_pack(pack.entry, pack.index)
        self._put(pack)
        return pack.entry

    def _put(self, pack: Pack) -> None:
        entry = pack.entry
        with pack.data:
            self.repository.storage.put(pack_key(entry.name), pack.data, size=entry.size, sha256=entry.sha256)
        self.repository.put_bytes(index_key(entry.name), pack.index)
        self.tally.add_pack(entry)
        self.progress(self.tally.progress())

    def _new_writer(self) -> PackWriter:
        number = len(self._sent)
        if number >= len(self.buffers):
            # The next pack is built in the memory of one that must be stored by then.
            self._sent[-len(self.buffers)].result()
        return PackWriter(buffer=self.buffers[number % len(self.buffers)])

    def _add(self, writer: PackWriter, packet: SealedPacket) -> None:
        try:
            writer.add(packet)
        except SpoolError as error:
            self.tally.damaged[packet.packet_id] = str(error)
        except BackendError as error:
            # Its bytes are only on another backup, which is not at hand. The next run asks again.
            self.tally.away[packet.packet_id] = str(error)
