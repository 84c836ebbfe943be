"""What the centre's JSON says, as values."""

from __future__ import annotations

from ktpsync.backends.http._documents import receipt_of


def test_a_receipt_s_place_tells_no_person() -> None:
    """It is kept in the database and shown; the rest of it is fixed in form."""
    document = {
        "packet_id": "01a21309-9f7c-707f-acce-0489d152f294",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "size": 6,
        "stored_at": "2026-05-17T01:00:00Z",
        "location": "https://centre.example/packets/17?nik=3578014405920001",
    }

    receipt = receipt_of(document)

    assert "https://centre.example/packets/17?..." == receipt.location
    assert (document["packet_id"], document["sha256"], 6) == (receipt.packet_id, receipt.sha256, receipt.size)
