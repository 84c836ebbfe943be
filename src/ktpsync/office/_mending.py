"""Mending the spool: good copies of damaged, missing or quarantined packets, from wherever they are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.errors import KtpsyncError, WrongStateError
from ktpsync.outbox import DAMAGED, DeliveryState, check_decision

if TYPE_CHECKING:
    from ktpsync.office._good_copies import GoodCopies
    from ktpsync.outbox import Outbox, Suspect

QUARANTINE = "quarantine"


@frozen(kw_only=True)
class MendedPacket:
    """What was done for one packet.

    Args:
        packet_id: Which.
        problem: What was wrong with its bytes: ``damaged``, ``missing``, ``quarantined``; empty if nothing was, and only
            a delivery waited.
        source: Where the good copy is from; ``None`` if there was none.
        requeued: The destinations that it is delivered to again.
        failure: Why the good copy could not be put back; empty if it could.
    """

    packet_id: str
    problem: str
    source: str | None
    requeued: tuple[str, ...]
    failure: str

    @property
    def whole(self) -> bool:
        """Whether the packet's bytes are whole now."""
        return not self.problem or (self.source is not None and not self.failure)


@frozen(kw_only=True)
class MendReport:
    """What became of the packets whose bytes were damaged or missing.

    Args:
        packets: One for each of them.
        asked: The places that were looked into.
        away: Why each of the backups that could not be was passed over, by its name.
    """

    packets: tuple[MendedPacket, ...]
    asked: tuple[str, ...]
    away: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the bytes of all packets are whole now."""
        return all(packet.whole for packet in self.packets)


def mend(outbox: Outbox, copies: GoodCopies, *, read: bool, who: str, why: str) -> MendReport:
    """Put good copies back, packet by packet; see :meth:`Office.mend`."""
    check_decision(who, why)
    packets = [
        _mended(outbox, copies, suspect, who=who, why=why) for suspect in list(outbox.suspects(read=read))
    ]
    return MendReport(packets=tuple(packets), asked=copies.asked, away=copies.away)


def _mended(outbox: Outbox, copies: GoodCopies, suspect: Suspect, *, who: str, why: str) -> MendedPacket:
    source, failure = _bring_back(outbox, copies, suspect, who=who, why=why) if suspect.why else (None, "")
    packet = MendedPacket(
        packet_id=suspect.packet_id, problem=suspect.why, source=source, requeued=(), failure=failure
    )
    if not packet.whole:
        return packet
    return evolve(packet, requeued=_requeue(outbox, suspect.packet_id, who=who, why=why))


def _bring_back(
    outbox: Outbox, copies: GoodCopies, suspect: Suspect, *, who: str, why: str
) -> tuple[str | None, str]:
    """Return where the good copy is from, and why it could not be put back."""
    found = None
    if suspect.sha256 is not None:
        apart = outbox.from_quarantine(suspect.packet_id, suspect.sha256)
        found = None if apart is None else (QUARANTINE, apart)
    found = found or copies.whole(suspect.packet_id, suspect.sha256)
    if found is None:
        return None, ""
    source, sealed = found
    try:
        outbox.put_back(suspect.packet_id, sealed, source=source, who=who, why=why)
    except (KtpsyncError, OSError) as error:
        return source, str(error)
    return source, ""


def _requeue(outbox: Outbox, packet_id: str, *, who: str, why: str) -> tuple[str, ...]:
    """Let a packet go on to the destinations where it was set aside because its bytes were damaged."""
    requeued = []
    for delivery in outbox.status(packet_id).deliveries:
        if delivery.state is DeliveryState.REJECTED and delivery.code == DAMAGED:
            with contextlib.suppress(WrongStateError):  # somebody else decided meanwhile
                outbox.requeue(packet_id, delivery.destination, who=who, why=why)
                requeued.append(delivery.destination)
    return tuple(requeued)
