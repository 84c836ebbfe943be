"""The outbox: durable memory of what was recorded and where it has got to."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Self

from ktpsync.clock import SystemClock
from ktpsync.errors import LeaseLostError, OutboxError
from ktpsync.files import create_private, make_folder
from ktpsync.outbox._audit import AuditTrail, check_decision, entry
from ktpsync.outbox._breaker import BreakerPolicy
from ktpsync.outbox._central import Central
from ktpsync.outbox._copies import Copies
from ktpsync.outbox._database import Database
from ktpsync.outbox._deliveries import Deliveries
from ktpsync.outbox._destinations import Destinations
from ktpsync.outbox._examine import Examiner
from ktpsync.outbox._folder_spool import FolderSpool
from ktpsync.outbox._identity import outbox_id
from ktpsync.outbox._intake import Intake
from ktpsync.outbox._limits import Limits
from ktpsync.outbox._marking import Marking
from ktpsync.outbox._mending import Mending
from ktpsync.outbox._migrate import migrate
from ktpsync.outbox._orphans import Orphans
from ktpsync.outbox._recovery import Recovery
from ktpsync.outbox._rewrap import Rewrapping, ever_rewrapped
from ktpsync.outbox._rewrap_folder import FolderSwitch
from ktpsync.outbox._spool_kinds import mender_of, switch_of, tidying_of, trail_notes_of
from ktpsync.outbox._states import DeliveryState
from ktpsync.outbox._storage import Storage
from ktpsync.outbox._transfer import Transfer
from ktpsync.outbox._unrecorded import Unrecorded
from ktpsync.outbox._values import (
    Delivered,
    Failed,
    Rejected,
    Returned,
    Submission,
)
from ktpsync.outbox._views import Views
from ktpsync.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from threading import Event

    from sqlalchemy.engine import Connection

    from ktpsync.clock import Clock
    from ktpsync.errors import PacketError
    from ktpsync.outbox._examine import Examination
    from ktpsync.outbox._mending import Suspect
    from ktpsync.outbox._recovery import UnrecordedBytes
    from ktpsync.outbox._rewrap import RewrapReport
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._storage import StorageView
    from ktpsync.outbox._values import (
        DeliveryView,
        DestinationSpec,
        DestinationState,
        DestinationSummary,
        HoldingsApplied,
        Lease,
        Outcome,
        PacketStatus,
        PacketView,
        StatusApplied,
        Submitted,
    )
    from ktpsync.packet import SealedPacket
    from ktpsync.plugins import Holding, Receipt, StatusPage


class Outbox:
    """The packets of one station or office and their deliveries. Made by :meth:`open`.

    Thread-safe; several processes, with PostgreSQL on several machines, may open the same one.

    Attributes:
        spool: The sealed bytes.
        audit: The audit trail.
        owner: This opened outbox's random name as a holder of leases.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        *,
        clock: Clock,
        random: Random,
        limits: Limits,
        recovering: bool = False,
        looking: bool = False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._listeners: list[Event] = []
        self._shared_time = database.kind == "postgresql" and isinstance(clock, SystemClock)
        self.spool = spool
        self.owner = secrets.token_hex(8)
        self.audit = AuditTrail(database, clock)
        self.outbox_id = outbox_id(database, spool, clock, recovering=recovering, looking=looking)
        self._destinations = Destinations(database, self.audit, clock, random, BreakerPolicy())
        self._storage = Storage(database, spool, self.audit, clock, limits)
        self._unrecorded = unrecorded = Unrecorded(database, spool)
        self._intake = Intake(
            database,
            spool,
            self.audit,
            clock,
            storage=self._storage,
            unrecorded=unrecorded,
            outbox_id=self.outbox_id,
        )
        self._deliveries = Deliveries(database, spool, self.audit, self._destinations, clock)
        self._copies = Copies(database, spool, self.audit, self._destinations, clock)
        self._central = Central(database, spool, self.audit, self._destinations, clock)
        self._transfer = Transfer(database, self.audit, clock, outbox_id=self.outbox_id)
        self._views = Views(database, spool, self._destinations, clock)
        if not recovering:  # whose the spool is, is decided when its records are there
            self._claim_spool()
        self._orphans = Orphans(
            spool,
            self.audit,
            self._views,
            unrecorded,
            clock,
            tidying=tidying_of(database, spool, clock),
            notes=trail_notes_of(spool),
            outbox_id=self.outbox_id,
            rebuildable=database.own and isinstance(spool, FolderSpool),
        )
        self._marking = Marking(spool, self._views, self._orphans, clock)

    @classmethod
    def open(
        cls,
        database: Path | str,
        spool: Path | Spool,
        *,
        destinations: Sequence[DestinationSpec] = (),
        schema: str | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        recovering: bool = False,
        looking: bool = False,
    ) -> Self:
        """Open an outbox, creating or upgrading its tables if needed.

        Args:
            database: A path for SQLite, or a SQLAlchemy URL; PostgreSQL where machines share an outbox.
            spool: The folder of sealed bytes; with several machines, a shared one, or a :class:`StorageSpool`, which is
                the outbox's from now on and closed with it.
            destinations: Where every packet goes. New ones get deliveries of the packets in the spool, a part after the
                other: submissions go on meanwhile, and get theirs. One that is missing here keeps its deliveries until :meth:`retire`.
            schema: PostgreSQL schema of the tables; it must exist.
            limits: When to refuse submissions because there is no room.
            clock: The clock to ask.
            random: Where jitter comes from.
            recovering: Whether the spool may hold packets that a new database does not know, because their
                records are going to be imported or recovered. Otherwise a new database on such a spool is refused: the one
                that knew them is missing. A new database becomes that of the outbox to which storage belongs.
            looking: With ``recovering``, whether a new database is to stay a new one: only :meth:`unrecorded` is of use then.

        Raises:
            SchemaVersionError: The database is newer than this release.
            OutboxDamagedError: The database is damaged or missing, or the file is none.
            ConfigError: The database is neither SQLite nor PostgreSQL.
            OutboxError: A destination is new, and a transaction that submits has been open for a minute (PostgreSQL).
        """
        if isinstance(database, Path):
            make_folder(database.parent, mode=0o700)
            # SQLite gives its journals the mode of the database.
            create_private(database)
        store = Database(database, schema=schema)
        try:
            migrate(store)
            opened = cls(
                store,
                FolderSpool(spool) if isinstance(spool, Path) else spool,
                clock=clock or SystemClock(),
                random=random or SystemRandom(),
                limits=limits or Limits(),
                recovering=recovering,
                looking=looking,
            )
            for spec in destinations:
                opened._destinations.register(spec)
            if isinstance(opened.spool, FolderSpool):
                FolderSwitch(store, opened.spool).recover()
        except BaseException:
            store.close()
            if not isinstance(spool, Path):
                spool.close()
            raise
        return opened

    def close(self) -> None:
        """Close the database and the spool. Leases that are held end by themselves.

        Later calls raise :class:`~ktpsync.errors.ClosedError`; a second time it does nothing.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self.spool.close)
            stack.callback(self._database.close)
            self._marking.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- in ---

    def submit(
        self,
        sealed: bytes,
        *,
        packet_id: str,
        sha256: str,
        reference: str | None = None,
        fingerprint: bytes | None = None,
        person: bytes | None = None,
        urgent: bool = False,
        connection: Connection | None = None,
    ) -> Submitted:
        """Store one sealed packet; see :class:`Submission` for the arguments.

        Returns only when the bytes are durable in the spool and the rows are committed. With
        ``connection`` the rows join the caller's transaction instead, and the packet exists when the
        caller commits.

        Returns:
            The packet. Under a known ``reference`` with the same ``fingerprint`` it is the first one,
            ``created`` is false and nothing new is kept.

        Raises:
            DigestError: ``sealed`` does not have this digest; nothing was stored.
            ReferenceConflictError: Another enrollment has this reference; nothing was stored.
            StationFullError: The disk has no room, or a limit is reached; nothing was stored.
            SpoolUnavailableError: The spool's disk, share or storage is away; nothing was recorded.
            ConfigError: ``connection`` does not lead to this outbox.
        """
        submission = Submission(
            sealed=sealed,
            packet_id=packet_id,
            sha256=sha256,
            reference=reference,
            fingerprint=fingerprint,
            person=person,
            urgent=urgent,
        )
        submitted = self._intake.submit(submission, self._now(), connection)
        self._marking.stored([submitted], joined=connection is not None)
        self._wake()
        return submitted

    def submit_many(
        self, submissions: Sequence[Submission], *, connection: Connection | None = None
    ) -> list[Submitted | OutboxError | PacketError]:
        """Store several packets with one commit and shared waits for the disk.

        Returns:
            For each submission, in order, what :meth:`submit` would have returned or raised.

        Raises:
            StationFullError: The disk has no room, or a limit is reached; nothing was stored.
        """
        results = self._intake.submit_many(submissions, self._now(), connection)
        self._marking.stored(results, joined=connection is not None)
        self._wake()
        return results

    def collect_orphans(self) -> int:
        """Tidy the spool, and look whether the database is the one that knew the spool's packets.

        Bytes go that rows say are not here any more: those that a crash left after their purge, and half-written ones. Bytes
        without a row stay, whatever left them: a rollback, or a packet whose row an older database lacks.

        Returns:
            How many packets' files were removed.

        Raises:
            OutboxDamagedError: The database is an older copy than the one that knew the spool's packets. Nothing
                was removed.
        """
        return self._orphans.collect()

    def check_database(self) -> None:
        """Look, with one query, whether the database is the one that last knew the spool's packets, if that is a folder.

        Raises:
            OutboxDamagedError: It is an older copy, or another one.
        """
        if isinstance(self.spool, FolderSpool):
            self._orphans.check_notes()

    def can_be_written(self) -> bool:
        """Return whether the database's disk can be written to; one that fails is often made read-only by the system."""
        return self._database.can_write()

    def records_for_nobody(self) -> bool:
        """Return whether the newest packet has neither a destination nor a backup to go to, not even one that was retired."""
        return self._views.newest_goes_nowhere()

    def created_ms(self) -> int:
        """Return when the outbox was made, in milliseconds since 1970."""
        query = self._database.sql("SELECT created_ms FROM ktpsync_outbox WHERE id = 1")
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def storage(self) -> StorageView:
        """Return the room on the station's disk, for how long it lasts, and warnings."""
        return self._storage.view()

    def purge(
        self,
        retention: timedelta,
        *,
        who: str,
        prove: Callable[[SealedPacket], bool],
        repositories: Collection[str] | None = None,
    ) -> list[str]:
        """Drop the bytes of packets that nobody needs any more; their rows and history stay.

        That is: every required destination holds a receipt, the centre's status is final and older than the
        retention time by the centre's own clock, and a verified backup has them and still gives them back.

        Args:
            retention: How long the centre's final word must have stood.
            who: Who asked for it.
            prove: As for :meth:`offload`: says of a packet whether a backup gives its bytes back whole, now.
            repositories: UUIDs of those that can be read now. All that are known, if not given.

        Returns:
            The ids of the packets.

        Raises:
            SpoolUnavailableError: The spool's disk or share is away; nothing was purged.
        """
        retention_ms = round(retention.total_seconds() * 1000)
        return self._storage.purge(retention_ms=retention_ms, who=who, prove=prove, repositories=repositories)

    def offload(
        self,
        wanted: int,
        *,
        who: str,
        prove: Callable[[SealedPacket], bool],
        repositories: Collection[str] | None = None,
        away: Collection[str] = (),
        since_ms: int = 0,
        copies: int = 1,
    ) -> int:
        """Drop spool bytes of packets that a verified backup has, oldest first; ``spool.fetch`` brings them back.

        Args:
            wanted: Bytes to free.
            who: Who asked for it.
            prove: Says of a packet whether enough of the backups still give its bytes back whole, now: what was
                verified may be damaged since. Raises ``UnavailableError`` where it cannot tell any more, which ends it.
            repositories: UUIDs of those that can be read now, one of which must hold a packet. All that are known, if
                not given.
            away: UUIDs of those that cannot be read now, and whose copies count if they were read back lately.
            since_ms: Since when, in milliseconds since 1970.
            copies: How many of both must hold a packet.

        Returns:
            Bytes freed.
        """
        return self._storage.offload(
            wanted=wanted,
            who=who,
            prove=prove,
            repositories=repositories,
            away=away,
            since_ms=since_ms,
            copies=copies,
        )

    def rewrap(
        self, wrap: Callable[[bytes], bytes | None], *, to: str, who: str, held: bool = False
    ) -> RewrapReport:
        """Give packets in the spool new headers, so that others can open them; run again, it goes on.

        Their payloads stay the same, their digests do not. The old bytes live until the new ones are durable and
        recorded. A packet that may be on its way to a destination is left as it is, as are offloaded ones.
        Backups take the new bytes at their next run; no backup may run meanwhile.

        Args:
            wrap: Returns the new bytes of a packet, ``None`` where it cannot be opened.
            to: A short name of the new recipients: what was rewrapped to them last is not done again.
            who: Who decided, for the audit trail.
            held: Whether packets get new headers too that a destination gave a receipt for and may ask for again, or could not
                register. If it is given one of these again, it refuses the other bytes, and a person must see to it.

        Raises:
            OutboxError: Another process is rewrapping.
            StationFullError: The database's disk has no room.
            OSError: The spool's disk did not take the new bytes; what was done before stays.
        """
        self._database.check()
        return self._rewrapping().all(wrap, to=to, who=who, held=held)

    def rewrapped(self) -> bool:
        """Return whether any packet was ever rewrapped; without an index, for what takes its time anyway."""
        return ever_rewrapped(self._database)

    # --- out ---

    def claim(self, destination: str, limit: int, lease: float, *, owner: str | None = None) -> list[Lease]:
        """Lease up to ``limit`` due packets for a destination, urgent ones first.

        Args:
            destination: Its name.
            limit: How many at most. Claim only what can be started at once: the lease runs for all.
            lease: Seconds until the leases end if they are not renewed.
            owner: Who holds them; this opened outbox if not given.
        """
        self.audit.chain()
        self._storage.recount()
        return self._deliveries.claim(
            destination, limit=limit, lease_ms=round(lease * 1000), owner=owner or self.owner, now=self._now()
        )

    def renew(self, leases: Sequence[Lease], lease: float) -> list[Lease]:
        """Prolong leases by ``lease`` seconds from now.

        Returns:
            Those that are lost: another courier holds them, or they are settled.
        """
        return self._deliveries.renew(leases, lease_ms=round(lease * 1000), now=self._now())

    def apply(self, destination: str, outcomes: Sequence[Outcome]) -> list[Lease]:
        """Write down how several attempts ended, with one commit.

        Returns:
            The leases that were lost meanwhile; their outcomes were not written.
        """
        lost = self._deliveries.apply(destination, outcomes, now=self._now())
        self._storage.recount()
        return lost

    def settle(self, lease: Lease, receipt: Receipt) -> None:
        """Write down that a packet is delivered.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
            CorruptError: The receipt does not name the packet's digest.
        """
        self._apply_one(Delivered(lease=lease, receipt=receipt))

    def fail(
        self, lease: Lease, *, code: str, reason: str, delay: float = 0, failing_ms: int | None = None
    ) -> None:
        """Write down a failure by the packet's own doing; it is due again after ``delay`` seconds.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
        """
        self._apply_one(
            Failed(
                lease=lease,
                code=code,
                reason=reason,
                delay_ms=round(delay * 1000),
                failing_ms=lease.failing_ms if failing_ms is None else failing_ms,
            )
        )

    def reject(self, lease: Lease, *, code: str, reason: str) -> None:
        """Write down a refusal for good.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
        """
        self._apply_one(Rejected(lease=lease, code=code, reason=reason))

    def release(self, lease: Lease) -> None:
        """Give a packet back without an attempt.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
        """
        self._apply_one(Returned(lease=lease))

    def next_due_ms(self, destination: str) -> int | None:
        """Return when the next packet is due or its lease ends, in milliseconds since 1970; ``None``: never."""
        return self._deliveries.next_due_ms(destination)

    def unpark(self, destination: str, lease: float) -> int:
        """Bring back packets that a clock which jumped back has put into the far future.

        Returns:
            How many.
        """
        return self._deliveries.unpark(destination, lease_ms=round(lease * 1000), now=self._now())

    def recall(self, destination: str) -> int:
        """Let packets be tried now whose bytes were not at hand: the backup disk may be plugged in, or the spool back.

        Returns:
            How many.
        """
        return self._deliveries.recall(destination, now=self._now())

    # --- destinations ---

    def destination(self, name: str) -> DestinationState:
        """Return what all processes know of a destination.

        Raises:
            UnknownDestinationError: It was never registered.
        """
        return self._destinations.state(name)

    def destinations(self) -> list[DestinationState]:
        """Return what all processes know of each destination. Counts nothing, unlike :meth:`summary`."""
        return self._destinations.states()

    def start_probe(self, name: str) -> bool:
        """Return whether this caller, and nobody else, may ask an unreachable destination now."""
        return self._destinations.start_probe(name)

    def probe_soon(self, name: str) -> None:
        """Let an unreachable destination be asked again now, because a person wants it."""
        self._destinations.probe_soon(name)

    def end_probe(self, name: str, *, error: str | None = None) -> None:
        """Write down what a probe found; no error means that the destination answered."""
        self._destinations.end_probe(name, error=error)

    def throttle(self, name: str, seconds: float) -> None:
        """Let nobody ask a destination for so long, because it has asked for that; a day at most."""
        self._destinations.throttle(name, round(seconds * 1000))

    def pause(self, name: str, *, reason: str, who: str = "") -> bool:
        """Stop a destination until somebody resumes it; return whether it was running."""
        return self._destinations.pause(name, reason=reason, who=who)

    def stopped_since_ms(self, name: str) -> int | None:
        """Return when a destination was stopped last, in milliseconds since 1970.

        ``None``: it never was, or the audit trail does not reach back so far.
        """
        return self._destinations.stopped_since_ms(name)

    def resume(self, name: str, *, who: str) -> bool:
        """Let a destination work again that is paused, or has asked to wait; return whether it was."""
        resumed = self._destinations.resume(name, who=who)
        self._wake()
        return resumed

    def ask_anew(self, name: str) -> bool:
        """Forget until when a destination has asked to wait, as when it has another address now; return whether it had."""
        asked = self._destinations.ask_anew(name)
        self._wake()
        return asked

    def set_settings(self, name: str, settings: Mapping[str, str], *, who: str) -> None:
        """Keep settings made at run time for a destination; they hold over the configuration."""
        self._destinations.set_settings(name, settings, who=who)

    def retire(self, name: str, *, who: str, why: str) -> int:
        """Stop a destination for good and cancel what it has not got; return how many were cancelled."""
        return self._destinations.retire(name, who=who, why=why)

    # --- people ---

    def requeue(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Send a packet again, with its history kept.

        Raises:
            UnknownPacketError: There is no such delivery.
        """
        self._deliveries.decide(
            packet_id, destination, DeliveryState.PENDING, event="requeued", who=who, why=why, now=self._now()
        )
        self._wake()

    def cancel(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Decide that a packet does not go to a destination.

        Raises:
            UnknownPacketError: There is no such delivery.
        """
        self._deliveries.decide(
            packet_id,
            destination,
            DeliveryState.CANCELLED,
            event="cancelled",
            who=who,
            why=why,
            now=self._now(),
        )

    def handled(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Mark a delivery as settled in another way.

        Raises:
            UnknownPacketError: There is no such delivery.
        """
        self._deliveries.decide(
            packet_id, destination, DeliveryState.HANDLED, event="handled", who=who, why=why, now=self._now()
        )

    # --- questions ---

    def status(self, packet_id: str) -> PacketStatus:
        """Return all that is known of a packet.

        Raises:
            UnknownPacketError: The outbox has no such packet.
        """
        return self._views.status(packet_id)

    def locate(self, packet_id: str) -> tuple[str, str] | None:
        """Return where a packet's bytes are (``spool``, ``offloaded``, ``purged``) and their SHA-256.

        ``None`` for a packet that the outbox does not know.
        """
        return self._views.locate(packet_id)

    def newest(self) -> SealedPacket | None:
        """Return the packet that was recorded last, of those in the spool."""
        return next(iter(self._views.recent()), None)

    def find(self, *, reference: str | None = None, person: bytes | None = None) -> list[PacketView]:
        """Return the packets with a reference, or of a person by keyed hash, oldest first."""
        return self._views.find(reference=reference, person=person)

    def person(self, packet_id: str, *, connection: Connection | None = None) -> bytes | None:
        """Return the keyed hash of the person of a packet; ``None`` where it is not known, as after a rebuild.

        Args:
            packet_id: The packet.
            connection: The caller's own, in whose transaction the packet may be.

        Raises:
            UnknownPacketError: The outbox does not have it.
        """
        return self._views.person(packet_id, connection)

    def packets(self) -> Iterator[PacketView]:
        """Yield all packets in the order of their making, in constant memory."""
        return self._views.packets()

    def rejected(self, destination: str | None = None) -> Iterator[DeliveryView]:
        """Yield the deliveries that wait for a person."""
        return self._views.rejected(destination)

    def deliveries(
        self,
        destination: str | None = None,
        state: DeliveryState | None = None,
        *,
        registration_status: str | None = None,
    ) -> Iterator[DeliveryView]:
        """Yield deliveries in the order of their making, in constant memory.

        Args:
            destination: Only those to one destination.
            state: Only those in one state.
            registration_status: Only those of packets that have this status at the centre.
        """
        return self._views.deliveries(destination, state, registration_status)

    def summary(self, destination: str | None = None) -> list[DestinationSummary]:
        """Return counts per destination, or for one of them."""
        return self._views.summary(destination)

    def registration_statuses(self) -> dict[str, int]:
        """Return how many packets have which of the centre's statuses; those without one are left out."""
        return self._views.registration_statuses()

    # --- centre ---

    def apply_statuses(self, destination: str, page: StatusPage) -> StatusApplied:
        """Keep a page of the centre's feed and its cursor, in one transaction.

        A packet that the centre asks for again (``PACKET_RETRY``) is pending again, with its history kept; one whose
        person it could not register (``ENROLL_FAILURE_AT_CENTRAL``) is rejected, with its receipt kept.

        Returns:
            The changes that were new. Observers are to be told of these, once this has returned.
        """
        applied = self._central.apply_statuses(destination, page, now=self._now())
        if applied.resent:
            self._wake()
        return applied

    def to_reconcile(self, destination: str) -> Iterator[SealedPacket]:
        """Yield every packet that a destination was, or is to be, given."""
        return self._central.to_reconcile(destination)

    def apply_holdings(self, destination: str, holdings: Iterable[Holding]) -> HoldingsApplied:
        """Make the deliveries agree with what a destination says it holds."""
        applied = self._central.apply_holdings(destination, holdings, now=self._now())
        self._wake()
        return applied

    # --- backup ---

    def sequence(self) -> int:
        """Return a number that rises with every change of state."""
        return self.audit.sequence()

    def export(self, after: int = 0) -> Iterator[dict[str, object]]:
        """Yield the state of every packet that changed since a sequence, from one consistent read.

        Args:
            after: What :meth:`sequence`, or the first record's ``sequence``, said then; 0 for everything.

        Yields:
            Records that JSON can hold: one ``outbox``, then ``destination``, ``packet`` and ``audit``.
        """
        return self._transfer.export(after)

    def import_state(
        self,
        records: Iterable[Mapping[str, object]],
        *,
        former: Callable[[], tuple[int, str]] | None = None,
    ) -> int:
        """Take exported records into an empty outbox; a later record of a packet replaces an earlier one.

        What was leased is pending again; receipts are kept.

        Args:
            records: The records.
            former: Where they are of a part of the packets: says after the last record with which entry, by number and hash,
                the trail ends that they are from. What they have of it is chained anew.

        Returns:
            How many packets there are now.

        Raises:
            OutboxError: The outbox is not empty, or the records have a newer format.
        """
        return self._transfer.import_state(records, former=former)

    def register_copy_target(self, repository: str) -> None:
        """Make a backup repository known by its UUID."""
        self._copies.register(repository)

    def lacking(self, repository: str) -> tuple[int, int]:
        """Return how many packets a repository lacks, and how many bytes they have together."""
        return self._copies.lacking(repository)

    def oldest_lacking_ms(self, repository: str) -> int | None:
        """Return when the oldest packet that a repository lacks was recorded, in milliseconds since 1970; ``None``: it lacks none."""
        return self._copies.oldest_lacking_ms(repository)

    def uncopied(self, repository: str) -> Iterator[SealedPacket]:
        """Yield the packets that a repository lacks. The cost follows their number, not the backlog."""
        return self._copies.uncopied(repository)

    def mark_copied(
        self, repository: str, packets: Mapping[str, str], snapshot: str, *, verified_ms: int | None = None
    ) -> None:
        """Write down that a snapshot of a repository has packets.

        Args:
            repository: Its UUID.
            packets: The SHA-256 of the bytes that it holds, by packet id; again with ``verified_ms`` once they
                were read back. Of a packet that has other bytes by now it holds no copy.
            snapshot: The snapshot's name.
            verified_ms: When they were read back and verified, in milliseconds since 1970.
        """
        self._copies.mark(repository, packets, snapshot=snapshot, verified_ms=verified_ms)

    def copied(self, repository: str) -> Iterator[str]:
        """Yield the ids of the packets that a backup repository is noted to hold, purged ones left out."""
        return self._copies.copied(repository)

    def lose_copies(self, repository: str, packet_ids: Iterable[str], *, why: str) -> None:
        """Write down that a repository holds packets damaged or not at all: the next backup copies them again.

        Args:
            repository: Its UUID.
            packet_ids: The packets. Those whose bytes were purged stay as they are.
            why: What was found.
        """
        self._copies.lose(repository, packet_ids, why=why)

    def give_up_copies(self, repository: str, *, why: str) -> None:
        """Count the copies of a repository no more: nothing is purged or offloaded because of them."""
        self._copies.give_up(repository, why=why)

    def forget_copies(self, repository: str, *, name: str, who: str, why: str) -> None:
        """Count the copies of a repository no more, because nobody backs up to it any longer.

        Args:
            repository: Its UUID.
            name: The backup's name, for messages and the audit trail.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Raises:
            WrongStateError: It alone holds packets that may still have to be delivered; nothing was changed.
            ConfigError: Nobody, or no reason, is named.
        """
        check_decision(who, why)
        self._copies.forget(repository, name=name, who=who, why=why)

    def copy_targets(self) -> list[str]:
        """Return the UUIDs of the backup repositories whose copies count."""
        return self._copies.targets()

    @property
    def shared(self) -> bool:
        """Whether other machines may work with the same outbox."""
        return self._database.kind != "sqlite"

    def copy_holders(self, packet_id: str) -> tuple[str, ...]:
        """Return the UUIDs of the backup repositories that hold a packet."""
        return self._copies.holders(packet_id)

    def verified_copies(self, packet_id: str) -> dict[str, int]:
        """Return when a packet's copies were read back last, in milliseconds since 1970, by the repository's UUID."""
        return self._copies.verified(packet_id)

    def unverified(self, repository: str, *, since_ms: int = 0) -> bool:
        """Return whether a repository holds packets of the spool that it did not give back whole yet.

        Args:
            repository: Its UUID.
            since_ms: Since when, in milliseconds since 1970.
        """
        return self._copies.unverified(repository, since_ms=since_ms)

    def awaited_copies(self, at_hand: Iterable[str] = ()) -> dict[str, int]:
        """Return, by repository that holds them, how many offloaded packets wait to be delivered.

        Args:
            at_hand: UUIDs of repositories that can be read now: what they hold waits for no other.
        """
        return self._copies.awaited(at_hand)

    # --- doctor ---

    def examine(self, *, read: bool = False) -> Examination:
        """Look whether the database, the sealed files and the audit trail agree. Nothing is changed.

        Args:
            read: Also read every sealed file and compare its digest, and check all of the database.
        """
        return Examiner(
            self._database, self.spool, self.audit, self._views, self._clock, orphans=self._orphans
        ).examine(read=read)

    def tell(self, event: str, *, who: str, why: str, **facts: str | None) -> None:
        """Tell in the audit trail what a person has decided about the office itself.

        Args:
            event: What.
            who: Who.
            why: Why.
            facts: What else there is to know of it.
        """
        told = entry(event, at_ms=self._clock.now_ms(), who=plain(who), why=why, **facts)
        with self._database.write() as connection:
            self.audit.append(connection, [told])

    def adopt_spool(self, *, who: str, why: str) -> None:
        """Take the spool's folder or storage as it is, though it holds none of the outbox's packets: the former one is lost.

        Until somebody decides that, such a folder is taken for the mount point of a disk that is away, and such storage for
        another place by mistake. The packets that were in the former one are missing from now on, and can be put back.

        Args:
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Raises:
            SpoolUnavailableError: The place is another outbox's.
            ConfigError: Nobody, or no reason, is named.
        """
        check_decision(who, why)
        self._database.check()
        if self.spool.adopt(self.outbox_id):
            self._mending().tell_adopted(who=who, why=why)

    def suspects(self, *, read: bool = False) -> Iterator[Suspect]:
        """Yield the packets whose bytes are damaged, missing or in quarantine, or wait for a person because they were.

        Args:
            read: Also read every sealed file; else only sizes, and the files that a courier found damaged.
        """
        return self._mending().suspects(read=read)

    def from_quarantine(self, packet_id: str, sha256: str) -> bytes | None:
        """Return a packet's bytes from quarantine, if whole ones were put there."""
        return self._mending().from_quarantine(packet_id, sha256)

    def put_back(self, packet_id: str, sealed: bytes, *, source: str, who: str, why: str) -> None:
        """Let good bytes take the place of damaged or missing ones in the spool, durably. Whole ones stay.

        The damaged ones go into quarantine. A packet that the database does not know any more gets its rows again, and
        goes to all destinations.

        Args:
            packet_id: Which.
            sealed: Its bytes.
            source: Where they are from, for the audit trail.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Raises:
            DigestError: They are other bytes than the packet's; nothing was changed.
            SpoolError: The packet's bytes are not to be in the spool; nothing was changed.
            StationFullError: The disk has no room. Damaged bytes are in quarantine then.
        """
        mending = self._mending()
        located = self.locate(packet_id)
        if located is None:
            sha256 = hashlib.sha256(sealed).hexdigest()
            self.submit(sealed, packet_id=packet_id, sha256=sha256)
            mending.tell(packet_id, sha256, source=source, who=who, why=why)
        else:
            mending.put_back(packet_id, sealed, located, source=source, who=who, why=why)

    def unrecorded(self, *, since_ms: int | None = None) -> Iterator[UnrecordedBytes]:
        """Yield what the spool has and the database does not know, such as after an older copy of it was put back.

        What was stored in the last ten minutes is left out: somebody may be recording it.

        Args:
            since_ms: All packets recorded since then, in milliseconds since 1970; and those of before that a mark shows to
                have been committed. Without it, of a folder with marks these alone, and else all: nothing tells a rollback's.
        """
        self._claim_spool()
        return self._recovery().found(since_ms)

    def recover(self, found: UnrecordedBytes, *, who: str, why: str) -> bool:
        """Give bytes that :meth:`unrecorded` has found their rows; the packet goes to all destinations.

        Args:
            found: The bytes.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Returns:
            Whether they were taken. Those that cannot be a packet are not, nor those that somebody else has taken.

        Raises:
            ConfigError: Nobody, or no reason, is named.
        """
        check_decision(who, why)
        taken = self._recovery().take(found, who=who, why=why)
        self._wake()
        return taken

    def end_recovery(self, *, who: str, why: str) -> None:
        """Let this database be the one that goes on, after what the spool has was recovered: it may be purged from again.

        Args:
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Raises:
            ConfigError: Nobody, or no reason, is named.
        """
        check_decision(who, why)
        told = entry("recovery-ended", at_ms=self._clock.now_ms(), who=plain(who), why=plain(why))
        with self._database.write() as connection:
            self.audit.append(connection, [told])
        trail_notes_of(self.spool).forget()
        self._orphans.note()

    # --- inside ---

    def _claim_spool(self) -> None:
        self.spool.claim(self.outbox_id, recent=self._views.recent, locate=self._views.locate)

    def _recovery(self) -> Recovery:
        self.spool.check()
        return Recovery(
            self._database,
            self.spool,
            self.audit,
            self._views,
            unrecorded=self._unrecorded,
            clock=self._clock,
            submit=lambda sealed, packet_id, sha256: self.submit(sealed, packet_id=packet_id, sha256=sha256),
        )

    def _rewrapping(self) -> Rewrapping:
        switch = switch_of(self._database, self.spool, self._clock, outbox_id=self.outbox_id)
        return Rewrapping(self._database, self.spool, switch, self.audit, self._clock)

    def _mending(self) -> Mending:
        mender = mender_of(self._database, self.spool, self._clock)
        return Mending(self._database, self.spool, self.audit, self._views, self._clock, mender=mender)

    def listen(self, event: Event) -> None:
        """Set an event whenever this process puts something in that couriers may take."""
        self._listeners.append(event)

    def unlisten(self, event: Event) -> None:
        """Stop setting an event."""
        self._listeners.remove(event)

    def _wake(self) -> None:
        for event in self._listeners:
            event.set()

    def _now(self) -> int | None:
        """Return the time for statements; ``None`` lets the database server's clock decide."""
        return None if self._shared_time else self._clock.now_ms()

    def _apply_one(self, outcome: Outcome) -> None:
        if self.apply(outcome.lease.destination, [outcome]):
            raise LeaseLostError(
                f"The lease on packet {outcome.lease.packet.packet_id} for {outcome.lease.destination} is lost: another "
                "courier holds it, or it is settled. This result was not written."
            )
