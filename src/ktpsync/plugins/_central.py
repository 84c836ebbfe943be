"""Backends that stand for the central service: they also tell what became of a packet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from ktpsync.errors import UnsupportedError
from ktpsync.plugins._backend import Backend, Capability
from ktpsync.plugins._values import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.packet import SealedPacket


@frozen(kw_only=True)
class StatusChange:
    """One change of a packet's registration status at the centre.

    Args:
        packet_id: The packet.
        status: The status in the centre's own words, such as ``PRINT_READY_RECORD``. Unknown ones are kept.
        changed_at: When the centre changed it (aware, UTC).
        note: The centre's explanation, without personal data.
    """

    packet_id: str
    status: str
    changed_at: datetime
    note: str = ""


@frozen(kw_only=True)
class StatusPage:
    """A page of the change feed.

    Args:
        changes: The changes, oldest first.
        cursor: Where to go on; opaque.
        more: Whether there is another page now.
    """

    changes: Sequence[StatusChange]
    cursor: str
    more: bool


class HoldingState(StrEnum):
    """Whether the centre holds a packet."""

    HELD = "held"
    MISSING = "missing"
    CONFLICT = "conflict"


@frozen(kw_only=True)
class Holding:
    """What the centre says of one packet when asked whether it holds it.

    Args:
        packet_id: The packet.
        state: Held, missing, or held with other bytes.
        receipt: The receipt, if held.
    """

    packet_id: str
    state: HoldingState
    receipt: Receipt | None = None


class CentralBackend(Backend):
    """A backend that takes packets and later tells what became of them.

    A centre that lacks one of the two claims only the other, and leaves its method as it is here.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.STATUSES, Capability.RECONCILE})

    def statuses(self, cursor: str | None) -> StatusPage:  # noqa: ARG002 - the interface
        """Return what changed after a cursor; ``None`` starts from the beginning.

        Asking again with the same cursor gives the same changes again, and perhaps more.

        Raises:
            UnsupportedError: The centre tells no statuses (:attr:`Capability.STATUSES` is not claimed).
            BackendError: The centre did not answer.
        """
        raise UnsupportedError(f"A {type(self).__name__} cannot tell registration statuses.")

    def reconcile(self, packets: Iterable[SealedPacket]) -> Iterable[Holding]:  # noqa: ARG002 - the interface
        """Say for each packet whether the centre holds it with this digest. No bytes are sent.

        The packets' ``open`` is not called. One answer for each packet, in any order.

        Raises:
            UnsupportedError: The centre cannot be asked (:attr:`Capability.RECONCILE` is not claimed).
            BackendError: The centre did not answer.
        """
        raise UnsupportedError(f"A {type(self).__name__} cannot say which packets it holds.")
