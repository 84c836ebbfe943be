"""Packs: plain tar files of sealed packets, with an index beside them."""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import uuid6
from attrs import frozen

from ktpsync import files
from ktpsync.backup._documents import PackEntry, PacketEntry, PackIndex, dump
from ktpsync.errors import DamagedBackupError, SpoolError

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator, Mapping

    from ktpsync.packet import SealedPacket

PACK_SIZE: Final = 64 << 20
"""Bytes after which a pack is closed. Up to three packs are held in memory while a backup runs."""

_BLOCK: Final = tarfile.BLOCKSIZE
_SECTOR: Final = 4096
_LIST_SUFFIX: Final = ".sha256"
_PACKET_SUFFIX: Final = ".age"


def packed_size(size: int) -> int:
    """Return how many bytes of a pack a packet of so many bytes takes."""
    return _BLOCK + size + -size % _BLOCK


@frozen(kw_only=True)
class Pack:
    """A finished pack on its way into the repository."""

    entry: PackEntry
    data: BinaryIO
    index: bytes


class PackWriter:
    """Builds one pack in memory. Nothing is staged on the station's disk, which may be full.

    Args:
        name: UUIDv7 of the pack; a new one if not given.
        buffer: Memory to use, at least for the first packets; nothing else may use it meanwhile.
    """

    def __init__(self, name: str | None = None, buffer: mmap.mmap | None = None) -> None:
        self.name = name or str(uuid6.uuid7())
        self.size = 0
        self._buffer: bytearray | mmap.mmap = bytearray(_BLOCK) if buffer is None else buffer
        self._packets: list[PacketEntry] = []

    @property
    def packets(self) -> int:
        """Packets so far."""
        return len(self._packets)

    def add(self, packet: SealedPacket) -> None:
        """Append a packet whose bytes are what they should be.

        Raises:
            SpoolError: The bytes are missing, or not those of the packet; nothing was appended.
        """
        start = self.size
        try:
            with packet.open() as source:
                place = self._append_header(packet.packet_id + _PACKET_SUFFIX, packet.size)
                whole = _read_exactly(source, place)
        except OSError as error:
            self.size = start
            raise SpoolError(
                f"Packet {packet.packet_id}: its sealed bytes cannot be read ({error.strerror}). "
                "`ktpsync doctor --read` says what to do."
            ) from error
        if not whole or hashlib.sha256(place).hexdigest() != packet.sha256:
            self.size = start
            raise SpoolError(
                f"Packet {packet.packet_id}: its sealed bytes are damaged. "
                "`ktpsync doctor --read` says what to do."
            )
        self._note(packet.packet_id, packet.sha256, packet.size)

    def add_bytes(self, packet_id: str, sha256: str, sealed: bytes) -> None:
        """Append a packet whose bytes were already checked against its digest."""
        self._append_header(packet_id + _PACKET_SUFFIX, len(sealed))[:] = sealed
        self._note(packet_id, sha256, len(sealed))

    def finish(self) -> Pack:
        """Append the digest list and the end of the archive."""
        listing = "".join(f"{packet.sha256}  {packet.packet_id}.age\n" for packet in self._packets).encode()
        self._append_header(self.name + _LIST_SUFFIX, len(listing))[:] = listing
        self._take(len(listing) + -len(listing) % _BLOCK)
        self._place(2 * _BLOCK)[:] = bytes(2 * _BLOCK)
        self._take(2 * _BLOCK)
        data = memoryview(self._buffer)[: self.size]
        index = dump(PackIndex(pack=self.name, packets=tuple(self._packets)))
        sha256 = hashlib.sha256(data).hexdigest()
        entry = PackEntry(
            name=self.name,
            sha256=sha256,
            size=self.size,
            packets=len(self._packets),
            index_sha256=hashlib.sha256(index).hexdigest(),
            index_size=len(index),
        )
        return Pack(
            entry=entry,
            data=cast("BinaryIO", files.MemoryFile(data, sha256)),
            index=index,
        )

    def _note(self, packet_id: str, sha256: str, size: int) -> None:
        self._packets.append(PacketEntry(packet_id=packet_id, sha256=sha256, offset=self.size, size=size))
        self._take(size + -size % _BLOCK)

    def _append_header(self, name: str, size: int) -> memoryview:
        """Append the header of a member and return where its bytes belong, padded with zeros."""
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o600
        padding = -size % _BLOCK
        place = self._place(_BLOCK + size + padding)
        place[:_BLOCK] = member.tobuf(tarfile.USTAR_FORMAT)
        place[_BLOCK + size :] = bytes(padding)
        self._take(_BLOCK)
        return place[_BLOCK : _BLOCK + size]

    def _place(self, size: int) -> memoryview:
        end = self.size + size
        if end > len(self._buffer):
            # A new one: the old one may still be looked at through a view.
            grown = bytearray(end + end // 4)
            grown[: self.size] = memoryview(self._buffer)[: self.size]
            self._buffer = grown
        return memoryview(self._buffer)[self.size : end]

    def _take(self, size: int) -> None:
        self.size += size


def _read_exactly(source: BinaryIO, place: memoryview) -> bool:
    """Fill a place in memory; return whether the source has just as many bytes."""
    done = 0
    while done < len(place):
        count = source.readinto(place[done:])  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks readinto
        if not count:
            return False
        done += count
    return not source.read(1)


def read_packets(source: BinaryIO, index: PackIndex) -> Iterator[tuple[PacketEntry, bytes | None]]:
    """Yield every packet of a pack with its verified bytes, or ``None`` where they are damaged.

    Goes by the index alone, so that damage to the archive's own headers costs no packet, and neither does a
    bad sector in another packet.

    Args:
        source: The pack, at its start.
        index: Its verified index.
    """
    position = 0
    for entry in sorted(index.packets, key=lambda packet: packet.offset):
        try:
            if source.seekable():
                source.seek(entry.offset)
            else:
                position += _skip(source, entry.offset - position)
            sealed = source.read(entry.size)
        except OSError:
            sealed = b""
        position += len(sealed)
        intact = len(sealed) == entry.size and hashlib.sha256(sealed).hexdigest() == entry.sha256
        yield entry, sealed if intact else None


def index_from_pack(name: str, source: BinaryIO) -> PackIndex:
    """Rebuild the index of a pack from the pack itself.

    Raises:
        DamagedBackupError: The archive cannot be read to its end, or lacks its digest list.
    """
    places: dict[str, tuple[int, int]] = {}
    digests: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                if member.name == name + _LIST_SUFFIX:
                    listing = archive.extractfile(member)
                    digests = _digests(listing.read().decode("ascii").splitlines()) if listing else {}
                else:
                    places[member.name] = (member.offset_data, member.size)
    except (tarfile.TarError, UnicodeDecodeError, OSError, EOFError):
        places = {}
    if not digests or digests.keys() != places.keys():
        raise DamagedBackupError(f"packs/{name}.tar: its digest list cannot be read: the file is damaged.")
    return _index(name, places, digests)


def what_is_left(name: str, source: BinaryIO, size: int) -> PackIndex:
    """Return the index of what can still be found in a pack whose index is lost and which is damaged itself.

    Goes from header to header, over those that cannot be read, as tar does by hand. A packet is found if its header and
    its line in the digest list are whole.

    Args:
        name: The pack's name.
        source: The pack, at its start.
        size: Its bytes.
    """
    data = _readable(source, size)
    places: dict[str, tuple[int, int]] = {}
    digests: dict[str, str] = {}
    position = 0
    while position + _BLOCK <= len(data):
        try:
            member = tarfile.TarInfo.frombuf(data[position : position + _BLOCK], "ascii", "strict")
        except (tarfile.TarError, UnicodeDecodeError):
            position += _BLOCK
            continue
        position += _BLOCK
        if member.name == name + _LIST_SUFFIX:
            listing = data[position : position + member.size].decode("ascii", "replace")
            digests = _digests(listing.split("\n"))
        else:
            places[member.name] = (position, member.size)
        position += max(member.size + -member.size % _BLOCK, 0)
    return _index(name, places, digests)


def _digests(listing: Iterable[str]) -> dict[str, str]:
    """Return the digests in the lines of a digest list, by file name."""
    return {line[66:]: line[:64] for line in listing}


def _index(name: str, places: Mapping[str, tuple[int, int]], digests: Mapping[str, str]) -> PackIndex:
    """Return the index of the packets that have both a place and a digest."""
    packets = (
        PacketEntry(
            packet_id=file.removesuffix(_PACKET_SUFFIX), sha256=digests[file], offset=offset, size=size
        )
        for file, (offset, size) in places.items()
        if file in digests
    )
    return PackIndex(pack=name, packets=tuple(packets))


def _readable(source: BinaryIO, size: int) -> bytes:
    """Return a file's bytes, with zeros where a disk cannot read them."""
    data = bytearray()
    while len(data) < size:
        try:
            if source.seekable():
                source.seek(len(data))
            sector = source.read(min(_SECTOR, size - len(data)))
        except OSError:
            sector = bytes(min(_SECTOR, size - len(data)))
        if not sector:
            break
        data += sector
    return bytes(data)


def _skip(source: BinaryIO, count: int) -> int:
    skipped = 0
    while skipped < count and (data := source.read(min(count - skipped, _BLOCK * 128))):
        skipped += len(data)
    return skipped
