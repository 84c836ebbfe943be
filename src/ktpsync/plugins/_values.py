"""What backends give back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import Factory, field, frozen


@frozen(kw_only=True)
class Receipt:
    """A destination's proof that it holds a packet.

    Args:
        packet_id: The packet.
        sha256: SHA-256 of the sealed bytes as the destination computed or verified it.
        size: Size of the sealed bytes as the destination holds them.
        stored_at: When the destination stored them first (aware, UTC).
        location: Where they are, in the destination's own words; no secrets, no personal data.
        details: Anything else worth keeping, such as an ETag or a receipt number.
    """

    packet_id: str
    sha256: str
    size: int
    stored_at: datetime
    location: str = ""
    details: Mapping[str, str] = field(default=Factory(dict), eq=False)


@frozen(kw_only=True)
class Health:
    """What a backend found when it was asked how it is.

    Args:
        summary: One sentence for a person.
        free: Bytes that can still be stored, where the destination knows.
        details: Facts for a technician, such as a probed capability or a certificate's expiry.
    """

    summary: str
    free: int | None = None
    details: Mapping[str, str] = Factory(dict)
