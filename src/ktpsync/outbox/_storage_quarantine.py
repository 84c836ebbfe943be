"""Damaged bytes of a spool in storage: kept beside it under other keys, each with the reason, never deleted."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Final

from ktpsync.clock import utc_from_ms
from ktpsync.errors import ConflictError

if TYPE_CHECKING:
    from ktpsync.clock import Clock
    from ktpsync.outbox._spool_objects import SpoolObjects

_PREFIX: Final = "spool-quarantine/"
_SEALED: Final = ".age"
_REASON: Final = ".reason.json"


class StorageQuarantine:
    """The quarantine of one spool in storage.

    Args:
        objects: Where the bytes come from and stay.
        clock: The clock to ask.
    """

    def __init__(self, objects: SpoolObjects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock

    def put(self, key: str, packet_id: str, data: bytes, why: str) -> None:
        """Move an object whose bytes were read out of the spool, with the reason beside it."""
        name = f"{_beginning(packet_id)}{hashlib.sha256(data).hexdigest()}"
        found = utc_from_ms(self._clock.now_ms()).isoformat(timespec="seconds")
        reason = json.dumps({"key": key, "reason": why, "found": found}).encode()
        with contextlib.suppress(ConflictError):  # these very bytes were found before
            self._objects.put(f"{name}{_REASON}", reason)
        self._objects.put(f"{name}{_SEALED}", data)
        self._objects.delete(key)

    def packet_ids(self) -> list[str]:
        """Return the ids of the packets of which bytes are here."""
        names = (info.key.rpartition("/")[2] for info in self._objects.listed(_PREFIX))
        return sorted({name.partition(".")[0] for name in names if name.endswith(_SEALED)})

    def whole(self, packet_id: str, sha256: str) -> bytes | None:
        """Return bytes of a packet that are here, if some have this digest."""
        keys = sorted(info.key for info in self._objects.listed(_beginning(packet_id)))
        found = (self._objects.whole(key, sha256) for key in keys if key.endswith(_SEALED))
        return next((data for data in found if data is not None), None)


def _beginning(packet_id: str) -> str:
    return f"{_PREFIX}{packet_id[-2:]}/{packet_id}."
