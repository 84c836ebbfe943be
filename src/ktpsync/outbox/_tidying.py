"""One object for each packet of a spool in storage: what an interrupted rewrap or repair left besides it goes.

Only with the packet's row held, and only after the bytes that the row names were read and are whole. Bytes that are
neither these nor what a rewrap has made go into quarantine and are kept.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from ktpsync.outbox._spool_objects import keys_of, packet_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool_objects import SpoolObjects
    from ktpsync.outbox._storage_quarantine import StorageQuarantine

_HOLD: Final = """
UPDATE ktpsync_packet SET size = size WHERE packet_id = :packet_id AND location = 'spool' RETURNING sha256
"""
_REWRAPPED: Final = """
SELECT detail FROM ktpsync_audit WHERE packet_id = :packet_id AND event = 'rewrapped'
"""


def hold_digest(database: Database, connection: Connection, packet_id: str) -> str | None:
    """Keep others from changing which bytes a packet has, until the transaction ends; return their digest.

    ``None`` for a packet whose bytes are not in the spool.
    """
    found: str | None = connection.execute(database.sql(_HOLD), {"packet_id": packet_id}).scalar()
    return found


class Tidying:
    """Tidies the storage of one outbox."""

    def __init__(self, database: Database, objects: SpoolObjects, quarantine: StorageQuarantine) -> None:
        self._database = database
        self._objects = objects
        self._quarantine = quarantine

    def all(self, *, before_ms: int | None) -> int:
        """Tidy every packet that has several objects; return how many were tidied.

        Args:
            before_ms: Leave packets alone that have an object from this moment or later, in milliseconds since 1970.
        """
        return self.packets(
            packet_id
            for packet_id, infos in self._objects.packets()
            if len(infos) > 1
            and (before_ms is None or all(info.modified.timestamp() * 1000 < before_ms for info in infos))
        )

    def packets(self, packet_ids: Iterable[str]) -> int:
        """Tidy these packets; return how many had anything to remove."""
        return sum(self._one(packet_id) for packet_id in packet_ids)

    def _one(self, packet_id: str) -> bool:
        with self._database.write() as connection:
            sha256 = hold_digest(self._database, connection, packet_id)
            if sha256 is None:
                return False
            keys = self._objects.of(packet_id)
            if len(keys) < 2:  # noqa: PLR2004 - with one there is nothing to remove
                return False
            likely = [key for key in reversed(keys_of(packet_id, sha256)) if key in keys]
            kept = next((key for key in likely if self._objects.whole(key, sha256) is not None), None)
            if kept is None:
                return False
            needless = {sha256, *self._former(connection, packet_id)}
            for key in keys:
                if key != kept:
                    self._remove(key, packet_id, needless)
            return True

    def _remove(self, key: str, packet_id: str, needless: set[str]) -> None:
        data = self._objects.read(key)
        if data is None:
            return
        owner = packet_of(key)
        found = hashlib.sha256(data).hexdigest()
        if found in needless or (owner is not None and owner[1] == found):
            self._objects.delete(key)
        else:
            self._quarantine.put(
                key, packet_id, data, "it is damaged; whole bytes of the packet are in the spool"
            )

    def _former(self, connection: Connection, packet_id: str) -> set[str]:
        rows = connection.execute(self._database.sql(_REWRAPPED), {"packet_id": packet_id}).scalars()
        return {str(json.loads(detail).get("before")) for detail in rows}
