"""What goes into the outbox and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import Factory, field, frozen

from ktpsync.outbox._receipts import checked_receipt
from ktpsync.outbox._states import DeliveryState
from ktpsync.packet import SealedPacket
from ktpsync.plain import plain
from ktpsync.plugins import Receipt, StatusChange
from ktpsync.records import Problem


@frozen(kw_only=True)
class DestinationSpec:
    """A configured destination, as far as the outbox needs to know it.

    Args:
        name: Its name in the configuration.
        required: Whether a packet's bytes are kept until this destination has given a receipt.
    """

    name: str
    required: bool = True


@frozen(kw_only=True)
class Submission:
    """One sealed packet on its way into the outbox.

    Args:
        sealed: The sealed bytes.
        packet_id: UUIDv7 in canonical form.
        sha256: SHA-256 of ``sealed`` in lower-case hexadecimal; verified before anything is stored.
        reference: The application's own id of the enrollment, free of personal data. Unique.
        fingerprint: Keyed hash of the enrollment's content: tells a repeated submission from a different one.
        person: Keyed hash of the person's NIK, for lookup and the warning about a second enrollment.
        urgent: Whether it goes before all packets that are not.
    """

    sealed: bytes = field(repr=False)
    packet_id: str
    sha256: str
    reference: str | None = None
    fingerprint: bytes | None = field(default=None, repr=False)
    person: bytes | None = field(default=None, repr=False)
    urgent: bool = False


@frozen(kw_only=True)
class Submitted:
    """What became of a submission.

    Args:
        packet: The packet that the outbox holds: the first one where the reference was known already.
        created: Whether this call stored it.
        same_person: Ids of packets of the same person that no destination has got yet. A reason to
            ask whether this person was recorded twice.
        warnings: What the outbox finds doubtful: a packet to be replaced that is another person's, or that it does not
            have. :func:`ktpsync.records.problems` tells the enrollment's own.
    """

    packet: SealedPacket
    created: bool
    same_person: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def packet_id(self) -> str:
        """The packet's id."""
        return self.packet.packet_id

    @property
    def sha256(self) -> str:
        """SHA-256 of the sealed bytes in hexadecimal."""
        return self.packet.sha256

    @property
    def size(self) -> int:
        """Size of the sealed bytes."""
        return self.packet.size


@frozen(kw_only=True)
class Lease:
    """The right to deliver one packet to one destination until a moment.

    Args:
        delivery_id: The delivery's number in the outbox.
        destination: The destination's name.
        packet: The packet; ``packet.open()`` reads it from the spool.
        owner: Who holds the lease: a random name of one opened outbox.
        fence: The lease's number. A higher one takes the right away from all lower ones.
        urgent: Whether the packet goes before others.
        attempts: How often the packet was claimed for this destination, this time included.
        failures: How many attempts failed by the packet's own doing.
        failing_ms: For how long it has been failing, in milliseconds, counted with care for clock jumps.
        last_failure_ms: When it failed last, in milliseconds since 1970; ``None``: never.
    """

    delivery_id: int
    destination: str
    packet: SealedPacket
    owner: str = field(repr=False)
    fence: int
    urgent: bool = False
    attempts: int = 1
    failures: int = 0
    failing_ms: int = 0
    last_failure_ms: int | None = None


@frozen(kw_only=True)
class Delivered:
    """The destination gave a receipt.

    Args:
        lease: The right to say so.
        receipt: The proof.

    Attributes:
        kept: The receipt as it is kept, and when the packet was stored, both as text.

    Raises:
        CorruptError: The receipt names another packet, digest or size, or cannot be kept.
    """

    lease: Lease
    receipt: Receipt
    kept: tuple[str, str] = field(init=False, eq=False, repr=False)

    @kept.default
    def _checked(self) -> tuple[str, str]:
        return checked_receipt(self.receipt, self.lease.packet, self.lease.destination)


@frozen(kw_only=True)
class Failed:
    """The attempt failed by the packet's own doing; it waits ``delay_ms`` for the next one."""

    lease: Lease
    code: str
    reason: str = field(converter=plain)
    delay_ms: int
    failing_ms: int


@frozen(kw_only=True)
class Rejected:
    """The packet is refused for good, or damaged; a person must look."""

    lease: Lease
    code: str
    reason: str = field(converter=plain)


@frozen(kw_only=True)
class Returned:
    """The packet goes back without blame.

    Args:
        lease: What is given back.
        unavailable: Whether the destination could not be reached, which counts against the
            destination; otherwise nothing is said of it, as at a graceful stop.
        reason: What was found: for the destination's state where it could not be reached, else for the delivery's.
        retry_after_ms: How long the destination asked everybody to wait.
        delay_ms: How long this packet lets others go first.
    """

    lease: Lease
    unavailable: bool = False
    reason: str = field(default="", converter=plain)
    retry_after_ms: int | None = None
    delay_ms: int = 0


Outcome = Delivered | Failed | Rejected | Returned
"""How one attempt ended."""


@frozen(kw_only=True)
class PacketView:
    """What the outbox knows of a packet.

    Args:
        packet_id: Its id.
        sha256: SHA-256 of the sealed bytes.
        size: Their size.
        reference: The application's own id, if given.
        urgent: Whether it goes first.
        created_at: When it was submitted, by the station's clock.
        location: ``spool``, ``offloaded`` (only a verified backup has the bytes) or ``purged``.
        status: The registration status in the centre's own words, if it has spoken.
        status_at: When the centre set it.
    """

    packet_id: str
    sha256: str
    size: int
    reference: str | None
    urgent: bool
    created_at: datetime
    location: str
    status: str | None
    status_at: datetime | None


@frozen(kw_only=True)
class DeliveryView:
    """One delivery as a person sees it.

    Args:
        packet_id: The packet.
        destination: The destination.
        state: Where it stands.
        attempts: Attempts so far that reached the destination or were under way when a process died.
        failures: Those that failed by the packet's own doing.
        due_at: When the next attempt may start, or when the lease ends.
        code: Short code of the last failure or refusal.
        reason: Its text.
        receipt: The destination's proof, once delivered.
        settled_at: When it was delivered, rejected, cancelled or handled.
    """

    packet_id: str
    destination: str
    state: DeliveryState
    attempts: int
    failures: int
    due_at: datetime
    code: str | None
    reason: str | None
    receipt: Receipt | None
    settled_at: datetime | None


@frozen(kw_only=True)
class AuditEntry:
    """One entry of the audit trail.

    Args:
        seq: Its number in the chain; ``None`` while a caller's transaction on PostgreSQL has just
            been committed and nobody has chained it yet.
        at_ms: When, in milliseconds since 1970 by the clock of the machine that wrote it.
        event: What happened, such as ``submitted`` or ``delivered``.
        packet_id: The packet it happened to, if one.
        destination: The destination it happened at, if one.
        who: The person or program that asked for it; empty for couriers.
        detail: More facts as JSON text.
        hash: The chain's value: SHA-256 over the one before and this entry.
    """

    seq: int | None
    at_ms: int
    event: str
    packet_id: str | None
    destination: str | None
    who: str
    detail: str
    hash: str | None


@frozen(kw_only=True)
class PacketStatus:
    """All that the outbox knows of one packet.

    Args:
        packet: The packet.
        deliveries: One per destination.
        registration_status: The centre's latest word, or ``None``.
        statuses: All of the centre's words, oldest first.
        history: The audit trail's entries on this packet, oldest first.
    """

    packet: PacketView
    deliveries: tuple[DeliveryView, ...]
    registration_status: str | None
    statuses: tuple[StatusChange, ...]
    history: tuple[AuditEntry, ...]


@frozen(kw_only=True)
class DestinationState:
    """What the outbox knows of a destination itself, shared by all processes.

    Args:
        name: The destination.
        required: Whether purging waits for its receipt.
        paused: Why it is stopped until a person resumes it, or ``None``.
        breaker: ``closed`` (works), ``open`` (believed unreachable), ``probing`` (somebody is asking it)
            or ``trial`` (it answered; one packet at a time until it has taken one).
        probe_at_ms: When it may be asked again, in milliseconds since 1970; 0 unless ``open`` or ``probing``.
        throttled_until_ms: Until when it asked for patience, in milliseconds since 1970; 0 if it did not.
        failing: Whether it gave no answer when it was tried last, though it is not believed unreachable yet.
        last_error: What was found when it failed last.
        cursor: Where the status feed goes on.
        settings: What was set at run time over the configuration.
        delivered: How many packets it has given a receipt for.
        epoch: Rises each time the breaker opens.
    """

    name: str
    required: bool
    paused: str | None
    breaker: str
    probe_at_ms: int
    throttled_until_ms: int
    failing: bool
    last_error: str | None
    cursor: str | None
    settings: Mapping[str, str]
    delivered: int
    epoch: int


@frozen(kw_only=True)
class DestinationSummary:
    """Counts of one destination.

    Args:
        state: The destination itself.
        pending: Deliveries that wait.
        leased: Deliveries that couriers hold.
        rejected: Deliveries that wait for a person.
        damaged: Of these, those whose bytes on this station are damaged: no destination has refused them.
        not_registered: Of these, those that a centre holds and whose person it could not register.
        delivered: Deliveries with a receipt.
        open_bytes: Sealed bytes still to deliver.
        oldest_at: When the oldest packet still to deliver was submitted.
        unusable: Why it can never be used as it is configured, as :meth:`Office.summary` knows; empty if it can.
    """

    state: DestinationState
    pending: int
    leased: int
    rejected: int
    damaged: int = 0
    not_registered: int = 0
    delivered: int
    open_bytes: int
    oldest_at: datetime | None
    unusable: str = ""


@frozen(kw_only=True)
class StatusApplied:
    """What a page of the centre's feed changed.

    Args:
        changes: The changes that were new, each with the status before.
        unknown: Ids of packets that this outbox does not know.
        resent: Ids of packets that the centre has asked for again; they are pending.
        refused: Ids of packets whose person the centre could not register, each with the reason; they are rejected.
    """

    changes: Sequence[tuple[StatusChange, str | None]]
    unknown: Sequence[str] = Factory(tuple)
    resent: Sequence[str] = Factory(tuple)
    refused: Sequence[tuple[str, str]] = Factory(tuple)


@frozen(kw_only=True)
class HoldingsApplied:
    """What reconciling with a destination changed; ids of packets.

    Args:
        delivered: Now marked delivered, because the destination holds them.
        requeued: Now pending again, because it does not hold what was marked delivered.
        conflicts: Now rejected, because it holds other bytes.
    """

    delivered: Sequence[str]
    requeued: Sequence[str]
    conflicts: Sequence[str]
