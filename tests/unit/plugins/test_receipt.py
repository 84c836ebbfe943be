"""A receipt is a promise about one packet's bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ktpsync.errors import CorruptError
from ktpsync.plugins import Receipt
from ktpsync.testing import made_up_packet

NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)


def test_it_names_the_packet_that_was_delivered() -> None:
    """With the digest that the destination found, and the size that goes with it."""
    packet = made_up_packet(b"sealed")

    receipt = Receipt.of(
        packet, sha256=packet.sha256, stored_at=NOON, location="shelf 3", details={"number": "17"}
    )

    assert receipt == Receipt(
        packet_id=packet.packet_id, sha256=packet.sha256, size=6, stored_at=NOON, location="shelf 3"
    )
    assert {"number": "17"} == receipt.details
    assert {} == Receipt.of(packet, sha256=packet.sha256, stored_at=NOON).details


def test_there_is_none_for_other_bytes() -> None:
    """Whatever the destination thinks of them."""
    packet, other = made_up_packet(b"sealed"), made_up_packet(b"other")

    with pytest.raises(
        CorruptError, match=f"Packet {packet.packet_id} has SHA-256 {packet.sha256}.*{other.sha256}"
    ):
        Receipt.of(packet, sha256=other.sha256, stored_at=NOON)
