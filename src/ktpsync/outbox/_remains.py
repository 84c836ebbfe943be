"""What can still be read of a damaged SQLite database, packet by packet."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Self

from ktpsync.outbox._audit import REBUILT, entry
from ktpsync.outbox._states import DeliveryState
from ktpsync.outbox._transfer import COLUMNS, as_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SETTLED = frozenset(state.value for state in DeliveryState) - {"pending", "leased"}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "packet_id": (str,),
    "sha256": (str,),
    "size": (int,),
    "reference": (str, type(None)),
    "fingerprint": (str, type(None)),
    "person": (str, type(None)),
    "urgent": (int,),
    "created_ms": (int,),
    "location": (str,),
    "status": (str, type(None)),
    "status_ms": (int, type(None)),
}
_DECISION = "(who <> '' OR event = 'destination-paused') AND seq IS NOT NULL"
_UPKEEP = ("purged", "offloaded")
"""Events that name who asked for them, and that say of bytes where they are: the rows tell that."""


class Remains:
    """Reads a damaged database without changing it. What cannot be read, or is not what it should be, is not there.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            self._connection.row_factory = sqlite3.Row
        except sqlite3.Error:
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def record(self, packet_id: str, *, at_ms: int) -> dict[str, object] | None:
        """Return what is known of a packet, for an empty outbox to take in; ``None`` if nothing is.

        Only what cannot be asked again is kept: the application's reference, the keyed hashes, receipts and
        people's decisions. Whatever was open is pending again, and statuses come again from the centre.
        """
        rows = self._rows("packet", "packet_id = ?", packet_id)
        if len(rows) != 1 or not all(isinstance(rows[0][name], kinds) for name, kinds in _KINDS.items()):
            return None
        packet = rows[0] | {"status": None, "status_ms": None}
        deliveries = [
            row for row in self._rows("delivery", "packet_id = ?", packet_id) if _proven(row, packet)
        ]
        decisions = self._decisions("packet_id = ?", packet_id)
        decided = {(item["event"], item["dest"]) for item in decisions}
        told = [
            entry(
                str(row["state"]),
                at_ms=at_ms,
                packet_id=packet_id,
                destination=str(row["dest"]),
                source="damaged database",
            )
            for row in deliveries
            if (row["state"], row["dest"]) not in decided
        ]
        return {
            "kind": "packet",
            "packet": packet,
            "deliveries": deliveries,
            "statuses": [],
            "audit": [*decisions, *(as_record(item) for item in told)],
        }

    def version(self) -> str | None:
        """Return the revision of the schema; ``None`` if it cannot be read."""
        return next((str(row[0]) for row in self._read("SELECT version_num FROM ktpsync_version")), None)

    def office(self, *, at_ms: int) -> Iterator[dict[str, object]]:
        """Yield records of what is of no single packet: how far the former trail came, people's decisions and what holds by them."""
        last = self._read(
            "SELECT seq, hash FROM ktpsync_audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
        )
        end = {"seq": last[0][0], "hash": last[0][1]} if last else {}
        yield {"kind": "audit", "audit": as_record(entry(REBUILT, at_ms=at_ms, **end))}
        for row in self._rows("destination", "kind = ?", "courier"):
            if _decided(row):
                # Statuses are asked for from the beginning: those that the database had are not taken over.
                yield {"kind": "destination", "destination": {**row, "cursor": None}}
        for item in self._decisions("packet_id IS NULL AND ? = ''", ""):
            yield {"kind": "audit", "audit": item}

    def _decisions(self, where: str, value: str) -> list[dict[str, object]]:
        """Return the entries of the trail that say what people decided, as not yet chained."""
        return [
            {**row, "seq": None, "hash": None}
            for row in self._rows("audit", f"{where} AND {_DECISION} ORDER BY seq", value)
            if row["event"] not in _UPKEEP and isinstance(row["at_ms"], int)
        ]

    def elsewhere(self) -> Iterator[str]:
        """Yield the ids of packets whose bytes were offloaded or purged, as far as they can be read."""
        if self._connection is None:
            return
        try:
            for row in self._connection.execute(
                "SELECT packet_id FROM ktpsync_packet WHERE location <> 'spool'"
            ):
                yield str(row[0])
        except sqlite3.Error:
            return

    def _rows(self, table: str, where: str, value: str) -> list[dict[str, object]]:
        names = ", ".join(COLUMNS[table])
        return [
            {name: item.hex() if isinstance(item, bytes) else item for name, item in dict(row).items()}
            for row in self._read(f"SELECT {names} FROM ktpsync_{table} WHERE {where}", value)
        ]

    def _read(self, statement: str, *values: str) -> list[sqlite3.Row]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error:
            return []


def _decided(row: Mapping[str, object]) -> bool:
    """Return whether a destination is as a person has made it, not as it is from the start; what is mixed up is not."""
    try:
        settings = json.loads(str(row["settings"]))
    except ValueError:
        return False
    flags = (row["required"], row["active"])
    sound = isinstance(row["paused"], str | None) and isinstance(settings, dict) and {*flags} <= {0, 1}
    return sound and (row["paused"] is not None or bool(settings))


def _proven(row: Mapping[str, object], packet: Mapping[str, object]) -> bool:
    """Return whether a delivery is settled, and if it is delivered, by a receipt for these very bytes."""
    state, dest, receipt = row["state"], row["dest"], row["receipt"]
    if state not in _SETTLED or not isinstance(dest, str) or dest.startswith("repository:"):
        return False
    if state != DeliveryState.DELIVERED.value:
        return True
    try:
        facts = json.loads(str(receipt))
        return bool((facts["sha256"], facts["size"]) == (packet["sha256"], packet["size"]))
    except (ValueError, KeyError, TypeError):
        return False
