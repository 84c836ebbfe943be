"""The base class of all backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Self

from attrs import field, frozen

from ktpsync.clock import Clock, SystemClock
from ktpsync.errors import UnsupportedError

if TYPE_CHECKING:
    from ktpsync.packet import SealedPacket
    from ktpsync.plugins._values import Health, Receipt


class Capability(StrEnum):
    """What some backends of a kind can do and others cannot. The conformance kit tests both.

    What is claimed must work. What is not claimed raises :class:`ktpsync.errors.UnsupportedError`.
    """

    RESUMABLE = "resumable"
    """An interrupted delivery goes on where it stopped (any backend)."""

    PARTS = "parts"
    """A part of an object can be read without the rest: :meth:`StorageBackend.open_part`."""

    STATUSES = "statuses"
    """Tells what became of packets: :meth:`CentralBackend.statuses`."""

    RECONCILE = "reconcile"
    """Says which packets it holds: :meth:`CentralBackend.reconcile`."""


@frozen(kw_only=True)
class BackendContext:
    """What ktpsync gives to every backend it makes.

    Args:
        name: The destination's name in the configuration, for messages.
        state_folder: A folder of the backend's own for what it may forget, such as the offset of an
            interrupted upload. It may not exist yet. ``None``: keep no state.
        clock: The clock to ask.
    """

    name: str
    state_folder: Path | None = None
    clock: Clock = field(factory=SystemClock, repr=False)


class Backend(ABC):
    """A place that sealed packets are delivered to.

    Instances are used by several threads at once. A subclass is made as ``factory(config, context)``
    and must do no input or output in its constructor.

    Every method raises only subclasses of :class:`ktpsync.errors.BackendError`; the class says what
    happens next (see there), the message tells a person.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def deliver(self, packet: SealedPacket) -> Receipt:
        """Store the packet durably and return a receipt.

        Idempotent: the same packet id with the same digest gives the same receipt, however often it
        is called and even if an earlier call's answer was lost.

        Args:
            packet: The sealed packet; ``packet.open()`` gives its bytes, as often as needed.

        Returns:
            The receipt, with the digest as the destination holds it, never copied from ``packet``.

        Raises:
            UnavailableError: Not reachable now; try again later.
            ThrottledError: Try again after ``retry_after`` seconds.
            ConflictError: Other bytes are held under this packet id.
            RejectedError: Refused for good.
            QuotaError: An allowance is used up.
            AuthError: The credentials are not accepted.
            CorruptError: What is held, or what was given, is damaged.
        """

    @abstractmethod
    def check(self) -> Health:
        """Ask the destination whether it would take a packet now. Cheap; stores nothing.

        Raises:
            BackendError: It would not; the class and the message say why.
        """

    def fetch(self, packet_id: str) -> BinaryIO:
        """Return a file object over the sealed bytes of a packet that was delivered here.

        They mend a damaged copy elsewhere. The caller closes the file, and checks the digest of what it
        gets. What breaks later, while it is read, is raised as :class:`OSError` or a
        :class:`ktpsync.errors.BackendError`.

        Args:
            packet_id: Which.

        Raises:
            UnsupportedError: This kind of place gives nothing back; the default.
            NotFoundError: It does not hold the packet.
        """
        raise UnsupportedError(f"This backend does not give packets back, so not packet {packet_id} either.")

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Free connections and handles. Called once; no other call follows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
