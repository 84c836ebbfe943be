"""What backends give back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Self

from attrs import Factory, field, frozen

from ktpsync.errors import CorruptError

if TYPE_CHECKING:
    from ktpsync.packet import SealedPacket


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

    @classmethod
    def of(
        cls,
        packet: SealedPacket,
        *,
        sha256: str,
        stored_at: datetime,
        location: str = "",
        details: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the receipt for a packet, if it is these bytes that the destination holds.

        Args:
            packet: What was to be delivered.
            sha256: SHA-256 in hexadecimal of what the destination holds, as it computed or verified it itself.
            stored_at: When the destination stored them first (aware, UTC).
            location: Where they are; see the class.
            details: Anything else worth keeping.

        Raises:
            CorruptError: The destination holds other bytes.
        """
        if sha256 != packet.sha256:
            raise CorruptError(
                f"Packet {packet.packet_id} has SHA-256 {packet.sha256}, and what is held in its place has "
                f"{sha256}: there is no receipt for it."
            )
        return cls(
            packet_id=packet.packet_id,
            sha256=sha256,
            size=packet.size,
            stored_at=stored_at,
            location=location,
            details=details or {},
        )


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
