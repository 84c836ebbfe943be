"""Receipts as JSON text in the database and back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from ktpsync.clock import utc_text
from ktpsync.errors import CorruptError
from ktpsync.outbox._json import encoded, field, quoted
from ktpsync.plugins import Receipt

if TYPE_CHECKING:
    from ktpsync.packet import SealedPacket


def receipt_json(receipt: Receipt) -> str:
    """Return a receipt as JSON text."""
    return _json(receipt, utc_text(receipt.stored_at))


def _json(receipt: Receipt, stored_at: str) -> str:
    details = encoded(dict(receipt.details)) if receipt.details else "{}"
    return (
        f'{{"packet_id":{quoted(receipt.packet_id)},"sha256":{quoted(receipt.sha256)},{field("size", receipt.size)},'
        f'"stored_at":"{stored_at}",{field("location", receipt.location)},"details":{details}}}'
    )


def checked_receipt(receipt: Receipt, packet: SealedPacket, destination: str) -> tuple[str, str]:
    """Refuse a receipt that does not prove what it should; return it as JSON text, and when the packet was stored.

    Raises:
        CorruptError: It names another packet, digest or size, or cannot be kept.
    """
    try:
        stored_at = utc_text(receipt.stored_at)
        text = _json(receipt, stored_at)
        text.encode()
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise CorruptError(
            f"The receipt of {destination} for packet {packet.packet_id} is none that can be kept "
            f"({type(error).__name__}). It is not taken as delivered; tell the author of the backend."
        ) from None
    if (receipt.packet_id, receipt.sha256, receipt.size) != (packet.packet_id, packet.sha256, packet.size):
        raise CorruptError(
            f"The receipt of {destination} for packet {packet.packet_id} names packet "
            f"{receipt.packet_id}, digest {receipt.sha256[:64]} and {receipt.size} bytes; the packet has digest "
            f"{packet.sha256} and {packet.size} bytes. It is not taken as delivered."
        )
    return text, stored_at


def receipt_from_json(text: str) -> Receipt:
    """Return the receipt that :func:`receipt_json` wrote."""
    facts = json.loads(text)
    return Receipt(
        packet_id=facts["packet_id"],
        sha256=facts["sha256"],
        size=facts["size"],
        stored_at=datetime.fromisoformat(facts["stored_at"]),
        location=facts["location"],
        details=facts["details"],
    )


def delivered_bytes(sha256: str, size: int, receipt: str | None) -> tuple[str, int]:
    """Return digest and size under which a destination knows a packet.

    Those of its receipt, where there is one: the packet may have been rewrapped since, but not there.

    Args:
        sha256: The packet's digest on this station.
        size: Its size.
        receipt: The receipt of the destination as :func:`receipt_json` wrote it.
    """
    if receipt is None:
        return sha256, size
    known = receipt_from_json(receipt)
    return known.sha256, known.size
