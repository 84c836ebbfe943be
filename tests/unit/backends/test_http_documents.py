"""What the centre's JSON says, as values."""

from __future__ import annotations

import pytest

from ktpsync.backends.http._documents import receipt_of, status_page_of

RECEIPT = {
    "packet_id": "01a21309-9f7c-707f-acce-0489d152f294",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 6,
    "stored_at": "2026-05-17T01:00:00Z",
}
CHANGE = {"packet_id": RECEIPT["packet_id"], "status": "UNIQUE", "changed_at": "2026-05-17T01:00:00Z"}
PAGE = {"changes": [CHANGE], "cursor": "7", "more": False}


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


@pytest.mark.parametrize(
    "change",
    [
        {"packet_id": "Dewi Lestari"},
        {"packet_id": None},
        {"sha256": "Dewi Lestari 3578014405920001"},
        {"sha256": 17},
        {"size": "6"},
        {"size": 6.5},
        {"size": float("inf")},
        {"size": [6]},
        {"stored_at": "2026-05-17T01:00:00"},
        {"stored_at": "0001-01-01T00:00:00+14:00"},
        {"stored_at": "9999-12-31T23:59:59-14:00"},
        {"stored_at": None},
        {"location": ["a"]},
    ],
)
def test_what_is_no_receipt_is_none(change: dict[str, object]) -> None:
    """An id and a digest are shown and kept as they are, so they must be such; a moment must be one in UTC, too."""
    assert receipt_of({**RECEIPT, "location": None}).location == ""
    with pytest.raises((KeyError, TypeError, ValueError)):
        receipt_of({**RECEIPT, **change})


@pytest.mark.parametrize(
    ("of_page", "of_change"),
    [
        ({"cursor": None}, {}),
        ({"cursor": 7}, {}),
        ({"more": "no"}, {}),
        ({"more": None}, {}),
        ({"changes": {}}, {}),
        ({"changes": [1]}, {}),
        ({}, {"packet_id": None}),
        ({}, {"packet_id": "Dewi Lestari"}),
        ({}, {"status": None}),
        ({}, {"note": ["a"]}),
        ({}, {"changed_at": "0001-01-01T00:00:00+14:00"}),
    ],
)
def test_what_is_no_page_of_the_feed_is_none(
    of_page: dict[str, object], of_change: dict[str, object]
) -> None:
    """A cursor that is `null` must not be asked for as "None", for ever."""
    assert status_page_of(PAGE).cursor == "7"
    with pytest.raises((KeyError, TypeError, ValueError)):
        status_page_of({**PAGE, "changes": [{**CHANGE, **of_change}], **of_page})
