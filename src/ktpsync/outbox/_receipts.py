"""Receipts as JSON text in the database and back."""

from __future__ import annotations

import json
from datetime import datetime

from ktpsync.clock import utc_text
from ktpsync.plugins import Receipt

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def receipt_json(receipt: Receipt) -> str:
    """Return a receipt as JSON text."""
    return _json(
        {
            "packet_id": receipt.packet_id,
            "sha256": receipt.sha256,
            "size": receipt.size,
            "stored_at": utc_text(receipt.stored_at),
            "location": receipt.location,
            "details": dict(receipt.details),
        }
    )


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
