"""Which packets a restore is to bring back, where it is not all of them."""

from __future__ import annotations

import uuid

from attrs import frozen


@frozen(kw_only=True)
class Selection:
    """Packets by id, or by when they were recorded. What is not given does not limit.

    Args:
        packet_ids: The packets; all if empty.
        since_ms: The first moment, in milliseconds since 1970-01-01 UTC.
        until_ms: The moment before which they must have been recorded, likewise.
    """

    packet_ids: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def __call__(self, packet_id: str) -> bool:
        """Return whether a packet is wanted; the moment is the one in its UUIDv7."""
        if self.packet_ids and packet_id not in self.packet_ids:
            return False
        recorded_ms = uuid.UUID(packet_id).int >> 80
        since_ms, until_ms = self.since_ms or 0, self.until_ms
        return since_ms <= recorded_ms and (until_ms is None or recorded_ms < until_ms)
