"""Where good bytes are put in the place of damaged ones: in a folder, and in storage."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Protocol

from ktpsync.errors import SpoolUnavailableError
from ktpsync.outbox._quarantine import Quarantine
from ktpsync.outbox._spool_objects import digest_key, keys_of
from ktpsync.outbox._tidying import hold_digest

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._folder_spool import FolderSpool
    from ktpsync.outbox._storage_quarantine import StorageQuarantine
    from ktpsync.outbox._storage_spool import StorageSpool


class Mender(Protocol):
    """Mends one kind of spool. Bytes that are not whole are kept in quarantine."""

    def quarantined(self) -> list[str]:
        """Return the ids of the packets of which bytes are in quarantine."""

    def from_quarantine(self, packet_id: str, sha256: str) -> bytes | None:
        """Return a packet's bytes from quarantine, if whole ones are there."""

    def replace(self, packet_id: str, sealed: bytes, sha256: str, *, why: str) -> bool:
        """Let good bytes take the place of damaged or missing ones, durably; return whether they were needed.

        Args:
            packet_id: Whose.
            sealed: The good bytes.
            sha256: Their digest, which the packet's row names.
            why: What is kept with the damaged ones.
        """


class FolderMender:
    """Mends a folder; see :class:`Mender`."""

    def __init__(self, spool: FolderSpool, clock: Clock) -> None:
        self._spool = spool
        self._quarantine = Quarantine(spool, clock)

    def quarantined(self) -> list[str]:
        """Return whose bytes are in quarantine."""
        return self._quarantine.packet_ids()

    def from_quarantine(self, packet_id: str, sha256: str) -> bytes | None:
        """Return a packet's bytes from quarantine, if whole ones are there."""
        found = (_whole(path, sha256) for path in self._quarantine.copies(packet_id))
        return next((sealed for sealed in found if sealed is not None), None)

    def replace(self, packet_id: str, sealed: bytes, sha256: str, *, why: str) -> bool:
        """Move the damaged file away, then write the good one; see :class:`Mender`."""
        path = self._spool.path(packet_id)
        if _whole(path, sha256) is not None:
            return False
        # Another process may be faster, here and below: its bytes have the same digest.
        with contextlib.suppress(FileNotFoundError):
            path.stat()
            self._quarantine.put(path, why)
        with contextlib.suppress(FileExistsError):
            self._spool.write(packet_id, sealed, sha256)
        return True


class StorageMender:
    """Mends storage; see :class:`Mender`. The good bytes are there before the damaged ones go."""

    def __init__(self, database: Database, spool: StorageSpool, quarantine: StorageQuarantine) -> None:
        self._database = database
        self._spool = spool
        self._quarantine = quarantine

    def quarantined(self) -> list[str]:
        """Return whose bytes are in quarantine."""
        return self._quarantine.packet_ids()

    def from_quarantine(self, packet_id: str, sha256: str) -> bytes | None:
        """Return a packet's bytes from quarantine, if whole ones are there."""
        return self._quarantine.whole(packet_id, sha256)

    def replace(self, packet_id: str, sealed: bytes, sha256: str, *, why: str) -> bool:
        """Store the good bytes under the packet's free key, then move the damaged ones away; see :class:`Mender`.

        The row is held meanwhile: nobody else mends, rewraps or purges this packet.

        Raises:
            SpoolUnavailableError: The packet has other bytes, or none, by now.
        """
        self._spool.check()
        objects = self._spool.objects
        with self._database.write() as connection:
            if hold_digest(self._database, connection, packet_id) != sha256:
                raise SpoolUnavailableError(
                    f"Packet {packet_id} was changed by somebody else a moment ago. Nothing was changed; try again."
                )
            damaged: dict[str, bytes] = {}
            for key in keys_of(packet_id, sha256):
                data = objects.read(key)
                if data is not None and hashlib.sha256(data).hexdigest() == sha256:
                    return False
                if data is not None:
                    damaged[key] = data
            free = [key for key in keys_of(packet_id, sha256) if key not in damaged]
            target = free[0] if free else digest_key(packet_id, sha256)
            if target in damaged:
                self._quarantine.put(target, packet_id, damaged.pop(target), why)
            objects.put(target, sealed, sha256=sha256)
            for key, data in damaged.items():
                self._quarantine.put(key, packet_id, data, why)
        return True


def _whole(path: Path, sha256: str) -> bytes | None:
    """Return the bytes of a file if they can be read and have this digest."""
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    return sealed if hashlib.sha256(sealed).hexdigest() == sha256 else None
