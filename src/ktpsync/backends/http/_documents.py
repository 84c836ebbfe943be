"""What the centre's JSON says, as values. All of it raises ``KeyError``, ``TypeError`` or ``ValueError``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ktpsync.plain import anonymous
from ktpsync.plugins import Holding, HoldingState, Receipt, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_PACKET_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def receipt_of(document: Mapping[str, object]) -> Receipt:
    """Return a receipt."""
    return Receipt(
        packet_id=_text(document["packet_id"], _PACKET_ID),
        sha256=_text(document["sha256"], _SHA256),
        size=_number(document["size"]),
        stored_at=_moment(document["stored_at"]),
        location=anonymous(_text(document.get("location") or "")),
    )


def holdings_of(packet_ids: Sequence[str], document: Mapping[str, object]) -> list[Holding]:
    """Return what is said of each of these packets."""
    found = {holding.packet_id: holding for holding in map(_holding, _objects(document["holdings"]))}
    return [found[packet_id] for packet_id in packet_ids]


def _holding(document: Mapping[str, object]) -> Holding:
    receipt = document.get("receipt")
    return Holding(
        packet_id=_text(document["packet_id"], _PACKET_ID),
        state=HoldingState(_text(document["state"])),
        receipt=None if receipt is None else receipt_of(_object(receipt)),
    )


def status_page_of(document: Mapping[str, object]) -> StatusPage:
    """Return a page of the change feed."""
    changes = tuple(
        StatusChange(
            packet_id=_text(line["packet_id"], _PACKET_ID),
            status=_text(line["status"]),
            changed_at=_moment(line["changed_at"]),
            note=_text(line.get("note") or ""),
        )
        for line in _objects(document["changes"])
    )
    more = document["more"]
    if not isinstance(more, bool):
        raise TypeError("neither true nor false")
    return StatusPage(changes=changes, cursor=_text(document["cursor"]), more=more)


def _objects(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return [_object(item) for item in value]


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _text(value: object, form: re.Pattern[str] | None = None) -> str:
    """Return a text; ``null`` is none, and must not become a cursor or a status of that name."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    if form is not None and not form.fullmatch(value):
        # What is shown as an id or a digest must be one: it is not looked through for persons.
        raise ValueError("not of its form")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no moment of the calendar in UTC") from error
    return moment
