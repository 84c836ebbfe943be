"""A folder as storage and a folder as outbox: real files, as little else as possible."""

# ruff: noqa: D102, ARG002 - the interfaces that these classes fill in document the methods and name the arguments

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from ktpsync import age, files
from ktpsync.backup import Repository, RestoreReport, SnapshotReport, VerifyReport, backup, restore, verify
from ktpsync.errors import ConflictError, CorruptError, NotFoundError
from ktpsync.keys import StationKey
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import Health, ObjectInfo, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


class FolderStorage(StorageBackend):
    """Objects as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.puts: list[tuple[str, int]] = []

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        data = source.read()
        if (len(data), hashlib.sha256(data).hexdigest()) != (size, sha256):
            raise CorruptError(key)
        path = self.folder / key
        if path.exists():
            if path.read_bytes() != data:
                raise ConflictError(key)
            return self.stat(key)
        files.make_folder(path.parent)
        files.write_atomic(path, data, replace=False)
        self.puts.append((key, size))
        return self.stat(key)

    def open(self, key: str) -> BinaryIO:
        try:
            return (self.folder / key).open("rb")
        except FileNotFoundError:
            raise NotFoundError(key) from None

    def stat(self, key: str) -> ObjectInfo:
        try:
            found = (self.folder / key).stat()
        except FileNotFoundError:
            raise NotFoundError(key) from None
        return ObjectInfo(key=key, size=found.st_size, modified=datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for path in self.folder.rglob("*"):
            key = path.relative_to(self.folder).as_posix()
            if path.is_file() and key.startswith(prefix) and not key.endswith(files.TEMPORARY_SUFFIX):
                yield self.stat(key)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def check(self) -> Health:
        return Health(summary="A folder.")


class FolderSource:
    """An outbox of files: sealed packets, and one JSON line per change of state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: list[dict[str, object]] = []
        self.held: dict[str, dict[str, str]] = {}

    def add(self, size: int, *, seed: int) -> str:
        """Store a packet of random bytes and return its id."""
        sealed = random.Random(seed).randbytes(size)
        packet_id = new_packet_id()
        (self.folder / f"{packet_id}.age").write_bytes(sealed)
        self.changes.append(
            {
                "packet": packet_id,
                "sha256": hashlib.sha256(sealed).hexdigest(),
                "size": size,
                "state": "pending",
            }
        )
        return packet_id

    def add_many(self, count: int, size: int, *, first: int = 0) -> list[str]:
        """Store packets of random bytes, each of so many, and return their ids."""
        return [self.add(size, seed=seed) for seed in range(first, first + count)]

    def change(self, packet_id: str, state: str) -> None:
        """Record that a packet is in another state."""
        self.changes.append({"packet": packet_id, "state": state})

    def sequence(self) -> int:
        return len(self.changes)

    def export(self, after: int = 0) -> Iterator[Mapping[str, object]]:
        yield from self.changes[after:]

    def register_copy_target(self, target: str) -> None:
        self.held.setdefault(target, {})

    def lacking(self, target: str) -> tuple[int, int]:
        sizes = [packet.size for packet in self.uncopied(target)]
        return len(sizes), sum(sizes)

    def uncopied(self, target: str) -> Iterator[SealedPacket]:
        for change in list(self.changes):
            if "sha256" in change and change["packet"] not in self.held[target]:
                name = str(change["packet"])
                yield SealedPacket.from_file(
                    name, str(change["sha256"]), int(str(change["size"])), self.folder / f"{name}.age"
                )

    def mark_copied(
        self, target: str, packets: Mapping[str, str], snapshot: str, *, verified_ms: int | None = None
    ) -> None:
        self.held[target].update(dict.fromkeys(packets, snapshot))
        self.changes.append({"copied": snapshot})

    def copied(self, target: str) -> Iterator[str]:
        yield from sorted(self.held[target])

    def lose_copies(self, target: str, packet_ids: Iterable[str], *, why: str) -> None:
        for packet_id in packet_ids:
            self.held[target].pop(packet_id, None)
        self.changes.append({"lost": why})

    def give_up_copies(self, target: str, *, why: str) -> None:
        self.held[target].clear()
        self.changes.append({"given up": why})

    def packets(self) -> list[dict[str, object]]:
        """Return the changes that concern packets."""
        return [change for change in self.changes if "packet" in change]


class FolderTarget:
    """Where a restore puts packets and state."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.added: list[str] = []
        self.records: list[Mapping[str, object]] = []

    def holds(self, packet_id: str, sha256: str) -> bool:
        path = self.folder / f"{packet_id}.age"
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256

    def plan(self, records: Iterable[Mapping[str, object]]) -> Callable[[str], bool]:
        assert all(records)
        return lambda _packet_id: True

    def add_packet(self, packet_id: str, sealed: bytes) -> None:
        files.write_atomic(self.folder / f"{packet_id}.age", sealed)
        self.added.append(packet_id)

    def import_state(self, records: Iterable[Mapping[str, object]]) -> Sequence[str]:
        self.records = [json.loads(json.dumps(record)) for record in records if "packet" in record]
        return ()


class Bench:
    """A station with an outbox, a repository and the recovery identity."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("spool", "disk", "memory"):
            (folder / name).mkdir()
        self.source = FolderSource(folder / "spool")
        self.storage = FolderStorage(folder / "disk")
        self.memory = folder / "memory"
        self.station = StationKey.generate()
        self.identity = age.generate_identity("x25519")
        self.repository = Repository.create(self.storage, recipients=[str(self.identity.recipient)])

    def backup(self, **options: Any) -> SnapshotReport:
        """Back up as the station does."""
        return backup(self.source, self.repository, station=self.station, memory=self.memory, **options)

    def verify(self, **options: Any) -> VerifyReport:
        """Verify as the station does."""
        return verify(self.repository, trusted=[self.station.public], memory=self.memory, **options)

    def restore(self, target: FolderTarget | None = None, **options: Any) -> RestoreReport:
        """Restore with the recovery identity."""
        return restore(self.repository, target or self.target(), identities=[self.identity], **options)

    def target(self, name: str = "restored") -> FolderTarget:
        """Return a place to restore to."""
        return FolderTarget(self.folder / name)

    def spool(self) -> dict[str, bytes]:
        """Return the sealed bytes of all packets by file name."""
        return {path.name: path.read_bytes() for path in (self.folder / "spool").iterdir()}

    def restored(self, name: str = "restored") -> dict[str, bytes]:
        """Return what a restore wrote, by file name."""
        return {path.name: path.read_bytes() for path in (self.folder / name).iterdir()}

    def files(self, pattern: str) -> list[Path]:
        """Return files of the repository, oldest first."""
        return sorted((self.folder / "disk").glob(pattern))

    def flip(self, pattern: str, position: int, *, number: int = 0) -> None:
        """Flip one bit of a file of the repository."""
        path = self.files(pattern)[number]
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a station with an empty outbox and an empty repository."""
    return Bench(tmp_path)
