"""Texts that are put together by hand are what ``json`` writes: chains of hashes of earlier releases go on with them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from attrs import evolve

from ktpsync.outbox._audit import chain_hash, entry
from ktpsync.outbox._receipts import checked_receipt, receipt_from_json, receipt_json
from ktpsync.packet import SealedPacket
from ktpsync.plugins import Receipt

NASTY = [
    "",
    "plain",
    'a "quoted" \\ word',
    "line\nend\ttab\r\x00\x1f\x7f",
    "Nusa Tenggara \u00e9 \u2028 \U0001f5f3",
]


def dumped(value: object) -> str:
    """Return what ``json`` writes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("text", NASTY)
def test_an_entry_and_its_hash(text: str) -> None:
    """Facts are in the order of their names, those that are empty left out."""
    told = entry(
        "event", at_ms=5, packet_id=text, destination=None, who=text, told=text, b=7, a="x", none=None
    )
    facts = {"a": "x", "b": 7} | ({"told": text} if text else {})
    assert dumped(facts) == told.detail
    assert "" == entry("event", at_ms=5, why="").detail
    chained = dumped([9, 5, "event", text, None, text, told.detail])
    assert hashlib.sha256(f"before\n{chained}".encode()).hexdigest() == chain_hash("before", told, 9)
    assert dumped({"n": True}) == entry("event", at_ms=5, n=True).detail


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("details", [{}, {"etag": 'a "b"', "n": "\u00e9"}])
def test_a_receipt(text: str, details: dict[str, str]) -> None:
    """It comes back as it was given."""
    packet = SealedPacket.from_bytes("01890a5d-ac96-774b-bcce-b302099a8100", "0" * 64, b"sealed")
    receipt = Receipt.of(
        packet,
        sha256=packet.sha256,
        stored_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        location=text,
        details=details,
    )
    stored_at = "2026-01-02T03:04:05.678Z"
    facts = {"packet_id": packet.packet_id, "sha256": packet.sha256, "size": 6, "stored_at": stored_at}
    assert dumped({**facts, "location": text, "details": details}) == receipt_json(receipt)
    assert (receipt_json(receipt), stored_at) == checked_receipt(receipt, packet, "usb-a")
    assert receipt == receipt_from_json(receipt_json(receipt))
    assert details == receipt_from_json(receipt_json(receipt)).details
    other = evolve(receipt, location=None)  # type: ignore[arg-type]
    assert '"location":null' in receipt_json(other)
