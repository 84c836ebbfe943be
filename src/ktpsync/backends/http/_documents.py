"""What the centre's JSON says, as values. All of it raises ``KeyError``, ``TypeError`` or ``ValueError``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ktpsync.plain import anonymous
from ktpsync.plugins import Holding, HoldingState, Receipt, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def receipt_of(document: Mapping[str, object]) -> Receipt:
    """Return a receipt."""
    return Receipt(
        packet_id=str(document["packet_id"]),
        sha256=str(document["sha256"]),
        size=int(str(document["size"])),
        stored_at=_moment(document["stored_at"]),
        location=anonymous(str(document.get("location", ""))),
    )


def holdings_of(packet_ids: Sequence[str], document: Mapping[str, object]) -> list[Holding]:
    """Return what is said of each of these packets."""
    found = {holding.packet_id: holding for holding in map(_holding, _objects(document["holdings"]))}
    return [found[packet_id] for packet_id in packet_ids]


def _holding(document: Mapping[str, object]) -> Holding:
    receipt = document.get("receipt")
    return Holding(
        packet_id=str(document["packet_id"]),
        state=HoldingState(str(document["state"])),
        receipt=None if receipt is None else receipt_of(_object(receipt)),
    )


def status_page_of(document: Mapping[str, object]) -> StatusPage:
    """Return a page of the change feed."""
    changes = tuple(
        StatusChange(
            packet_id=str(line["packet_id"]),
            status=str(line["status"]),
            changed_at=_moment(line["changed_at"]),
            note=str(line.get("note", "")),
        )
        for line in _objects(document["changes"])
    )
    return StatusPage(changes=changes, cursor=str(document["cursor"]), more=bool(document["more"]))


def _objects(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return [_object(item) for item in value]


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment
