"""Whose a spool is: a note in it names its outbox, so that no other place, such as an empty mount point, passes for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ktpsync.packet import SealedPacket

    Recent = Callable[[], Sequence[SealedPacket]]
    """Returns the newest packets that the outbox has in its spool, as its rows say."""

OWNER: Final = "spool-owner.json"


def claim(
    outbox_id: str,
    recent: Recent,
    *,
    used: bool = False,
    read: Callable[[], bytes | None],
    write: Callable[[bytes], None],
    has: Callable[[str], bool],
) -> str | None:
    """Make a place that is nobody's the spool of an outbox, if it can be.

    It can be where the outbox has no packets yet, or where one of its newest is there: spools from before there were
    notes, and copies of a spool.

    Args:
        outbox_id: The outbox.
        recent: Asked where the place is nobody's.
        used: Whether the outbox's own spool was seen there before, by this process: then it has not become nobody's.
        read: Returns the note that is there, ``None`` if there is none.
        write: Writes the note if there is none; the first one stays.
        has: Says whether a packet's bytes are there.

    Returns:
        What is wrong with the place; ``None`` if it is the outbox's.
    """
    owner = named_in(read())
    if owner is None:
        packets = recent()
        if (packets or used) and not any(has(packet.packet_id) for packet in packets):
            return "does not hold this outbox's packets"
        write(json.dumps({"outbox_id": outbox_id}).encode())
        owner = named_in(read())
    return None if owner in {None, outbox_id} else "belongs to another outbox"


def named_in(note: bytes | None) -> str | None:
    """Return the outbox that a note names: none that there is, if it cannot be read, and ``None`` if there is no note."""
    if note is None:
        return None
    try:
        return str(json.loads(note)["outbox_id"])
    except (ValueError, KeyError, TypeError):
        return ""
