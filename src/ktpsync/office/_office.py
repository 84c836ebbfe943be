"""The facade that office apps import."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from ktpsync import config as configuration
from ktpsync import courier, records
from ktpsync.clock import SystemClock
from ktpsync.errors import ClosedError, ConfigError, KtpsyncError, OutboxUnavailableError
from ktpsync.keys import IndexKey, StationKey
from ktpsync.office._backups import Backups
from ktpsync.office._destinations import Destinations, destination_specs
from ktpsync.office._foreign_files import OWNER_LOGGER, not_mine, out_of_reach
from ktpsync.office._forks import watch
from ktpsync.office._intake import Intake
from ktpsync.office._layout import DataFolder
from ktpsync.office._storage import spool_of
from ktpsync.office._upkeep import Upkeep
from ktpsync.outbox import DeliveryState, Outbox
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from ktpsync.age import Identity
    from ktpsync.backup import (
        Depth,
        DrillReport,
        ExtractReport,
        ProgressCallback,
        PruneReport,
        RepairReport,
        Retention,
        Snapshot,
        SnapshotReport,
        VerifyReport,
    )
    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.courier import Estimate
    from ktpsync.errors import DamagedBackupError
    from ktpsync.keys import StationPublicKey
    from ktpsync.office._backup_watch import BackupState
    from ktpsync.office._key_tests import KeyState, KeyTestReport, KeyTests
    from ktpsync.office._mending import MendReport
    from ktpsync.office._reports import ReconcileReport, SyncReport
    from ktpsync.office._rotation import RotationReport
    from ktpsync.outbox import (
        DeliveryView,
        DestinationState,
        DestinationSummary,
        PacketStatus,
        StorageView,
        Submitted,
    )
    from ktpsync.records import Enrollment


log = logging.getLogger(OWNER_LOGGER)

_PARTS: Final = ("outbox", "_destinations", "_backups", "_upkeep", "_intake")
"""What holds connections, locks and threads: gone after closing, and made anew in a forked process."""

_inherited: Final[list[object]] = []
"""Parts of a parent's offices: in this process nobody may use or close them."""


class Office:
    """An office: its outbox, its destinations and its backups. Made by :meth:`open`.

    Thread-safe: open one for the whole process and use it from all threads. Several processes may open the same
    office at once. In a forked process an office of the parent opens itself anew at its first use.

    Attributes:
        data: Where its data is.
        station: The public half of the station's signing key.
        outbox: The outbox, for what this facade does not offer.
    """

    def __init__(self, settings: Configuration, *, clock: Clock, registry: PluginRegistry) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._closed = False
        self._opening = threading.Lock()
        self.data = DataFolder(settings.office.data)
        self._check_place()
        self._station_key = StationKey.load(self.data.station_key)
        self._index_key = IndexKey.load(self.data.index_key)
        self.station: StationPublicKey = self._station_key.public
        try:
            self._make_parts()
        except (PermissionError, OutboxUnavailableError) as error:
            if told := self.out_of_reach():
                raise OutboxUnavailableError(" ".join(told)) from error
            raise
        watch(self, Office._begin_anew)

    def _check_place(self) -> None:
        """Refuse to work without the data folder; say so to a user who works in another's."""
        if not self.data.root.is_dir():
            raise ConfigError(
                f"The data folder {self.data.root} of the office in {self._settings.path} is not there. If its disk or share is not "
                "mounted, mount it; if it was moved, name its new place as `data` under [office]. If it is lost, restore "
                "the office from a backup with `ktpsync restore`."
            )
        if (told := not_mine(self.data.root)) is not None:
            log.warning("%s", told)

    def _make_parts(self) -> None:
        settings, clock, registry = self._settings, self._clock, self._registry
        self.outbox = Outbox.open(
            self.data.database if settings.office.database is None else settings.office.database.reveal(),
            spool_of(settings, data=self.data, registry=registry, clock=clock),
            destinations=destination_specs(settings),
            schema=settings.office.database_schema,
            limits=settings.office.limits(),
            clock=clock,
        )
        self._destinations = Destinations(
            settings, data=self.data, outbox=self.outbox, clock=clock, registry=registry
        )
        self._backups = Backups(
            settings,
            data=self.data,
            outbox=self.outbox,
            station=self._station_key,
            index_key=self._index_key,
            clock=clock,
            registry=registry,
            destination=self._destinations.backend,
        )
        self.outbox.spool.fetch = self._backups.offload.fetch
        self._upkeep = Upkeep(self.outbox, self._backups.offload, settings.office.retention)
        self._intake = Intake(
            settings,
            outbox=self.outbox,
            station_key=self._station_key,
            index_key=self._index_key,
            clock=clock,
            make_room=self._backups.make_room_for,
        )

    @classmethod
    def open(
        cls, config: Path | str | Configuration = configuration.CONFIG_NAME, *, clock: Clock | None = None
    ) -> Self:
        """Open the office that a configuration file describes.

        Args:
            config: The file, the folder that holds it, or a configuration that was loaded already.
            clock: The clock to ask.

        Raises:
            ConfigError: The configuration has problems.
            KeyFileError: A key of the station is missing, damaged or open to others.
            SchemaVersionError: The outbox was written by a newer release.
        """
        registry = PluginRegistry.load()
        if isinstance(config, str | Path):
            config = configuration.load(Path(config), secrets=registry.secret_sources())
        return cls(config, clock=clock or SystemClock(), registry=registry)

    def close(self) -> None:
        """Close connections and the outbox, after plugins were told what happened. A second time it does nothing.

        Later calls raise :class:`~ktpsync.errors.ClosedError`.
        """
        with self._opening:
            self._closed = True
            parts = [self.__dict__.pop(name) for name in _PARTS if name in self.__dict__]
        if not parts:
            return
        outbox, destinations, backups, *_ = parts
        self._registry.notify.close()
        backups.close()
        destinations.close()
        outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- recording ---

    def submit(
        self, enrollment: Enrollment, *, urgent: bool = False, connection: Connection | None = None
    ) -> Submitted:
        """Seal an enrollment and put it into the outbox.

        Returns only when the packet is durable: file and row are on the medium. With ``connection`` the row
        joins the caller's transaction instead, and the packet exists when the caller commits.

        Args:
            enrollment: What the office captured.
            urgent: Deliver it before others.
            connection: A SQLAlchemy connection to the database that the outbox lives in.

        Returns:
            The packet. Submitting the same enrollment under the same ``reference`` again returns the first
            packet. ``same_person`` names undelivered packets with the same NIK.

        Raises:
            ValidationError: The enrollment has problems; all are listed, nothing was stored.
            ReferenceConflictError: Another enrollment was submitted under this reference.
            StationFullError: The station's disk has no room; nothing was stored.
            SpoolUnavailableError: The spool's disk or share is not there; nothing was stored.
            OutboxUnavailableError: The database does not answer. Submit again under the same reference.
            OutboxDamagedError: The database is damaged; nothing was stored.
            ConfigError: No recipients are configured, or ``connection`` does not lead to the outbox.
            OSError: The disk failed; nothing was stored.
        """
        submitted = self._intake.submit(enrollment, urgent=urgent, connection=connection)
        self._tell([submitted], connection)
        return submitted

    def submit_many(
        self,
        enrollments: Iterable[Enrollment],
        *,
        urgent: bool = False,
        connection: Connection | None = None,
        on_stored: Callable[[Sequence[Submitted | KtpsyncError]], None] = lambda _: None,
    ) -> list[Submitted | KtpsyncError]:
        """Seal enrollments and put them into the outbox, with few commits and shared waits for the disk.

        Several times as fast as :meth:`submit` for each of them. All that are stored are durable when it returns; one that
        cannot be stored does not keep the others out. Where taking the next one from ``enrollments`` raises, those before
        it are stored before the error goes on to the caller.

        Args:
            enrollments: Any number; they are taken one after the other, and up to 100 of them, or about 32 MiB of
                sealed bytes, are held in memory at a time, each such batch being stored with one commit.
            urgent: Deliver them before others.
            connection: A SQLAlchemy connection, as for :meth:`submit`.
            on_stored: Called with the results of each batch as soon as it is durable, or, with ``connection``, in the
                caller's transaction: for progress, and to know what was stored where an error ends it.

        Returns:
            For each enrollment, in order, what :meth:`submit` would have returned or the error it would have raised.

        Raises:
            ConfigError: No recipients are configured, or ``connection`` does not lead to the outbox.
            OSError: The disk failed. What was stored before stays; submitting all again under the same references
                stores nothing twice.
        """

        def stored(results: Sequence[Submitted | KtpsyncError]) -> None:
            self._tell(results, connection)
            on_stored(results)

        return self._intake.submit_many(enrollments, urgent=urgent, connection=connection, on_stored=stored)

    def find(self, *, reference: str | None = None, nik: records.Nik | str | None = None) -> list[str]:
        """Return the ids of packets with this reference, or of the person with this NIK.

        Args:
            reference: The app's own id.
            nik: The NIK, also as it is typed.

        Raises:
            NikError: The text cannot be a NIK.
        """
        person = (
            None if nik is None else self._intake.person(records.Nik(nik) if isinstance(nik, str) else nik)
        )
        return [view.packet_id for view in self.outbox.find(reference=reference, person=person)]

    # --- delivering ---

    def sync(
        self, *, on_delivered: Callable[[], None] = lambda: None, stop: threading.Event | None = None
    ) -> SyncReport:
        """Deliver to all destinations what is due, once, and take the centre's statuses.

        A destination that was believed unreachable is asked again now: somebody wants it. One that cannot be
        used at all, because its settings have problems or its plugin is refused, does not keep the others
        from being served; its report says why.

        Args:
            on_delivered: Called after each delivery, from whatever thread made it.
            stop: When set, nothing new is started; what is under way may finish for 20 seconds and waits again otherwise.
        """
        return self._destinations.sync(on_delivered, stop or threading.Event())

    def run(self, stop: threading.Event) -> None:
        """Serve all destinations until ``stop`` is set: deliver, poll statuses, make backups that are due."""
        from ktpsync.office._attention import telling  # noqa: PLC0415 - only the service needs it
        from ktpsync.office._backup_watch import BackupWatch  # noqa: PLC0415 - see above

        watch = BackupWatch(
            self._backups,
            clock=self._clock,
            finished=self._finished_by_service,
            overdue=self._registry.notify.backup_overdue,
        )
        tasks = [
            *self._destinations.tasks(),
            *watch.tasks(),
            self._upkeep.task(),
            telling(self._attention, self._clock),  # backups are told of by their own watch
        ]
        try:
            courier.Service(
                self.outbox,
                self._destinations.couriers(),
                tasks=tasks,
                health=self.data.health,
                clock=self._clock,
            ).run(stop)
        finally:
            self._destinations.remember_speeds()

    def poll_statuses(self) -> int:
        """Take the registration statuses that are new; return how many.

        Raises:
            BackendError: A centre did not answer.
        """
        return self._destinations.poll_all()

    def reconcile(self) -> ReconcileReport:
        """Ask each centre which packets it holds and mark them, as after a restore. Sends no packet.

        Raises:
            BackendError: A centre did not answer; what was settled before stays.
            ConfigError: No destination is a centre.
        """
        return self._destinations.reconcile()

    # --- looking ---

    def status(self, packet_id: str) -> PacketStatus:
        """Return all that is known of a packet: deliveries, receipts, registration status, history.

        Raises:
            UnknownPacketError: The outbox does not have it.
        """
        return self.outbox.status(packet_id)

    def estimate(self, line: DestinationSummary) -> Estimate | None:
        """Return when the backlog of a destination is gone; ``None`` for one that is not configured any more.

        It goes by what the line was seen to take, its limit and its hours. What is recorded meanwhile is not
        counted: compare ``per_day`` with what :meth:`storage` says is recorded in a day.

        Args:
            line: One of :meth:`summary`.
        """
        return self._destinations.lines.estimate(line)

    def attention(
        self,
        *,
        summary: Sequence[DestinationSummary] | None = None,
        backups: Sequence[BackupState] | None = None,
    ) -> list[str]:
        """Return what a person must see to, one sentence for each thing; empty if all goes by itself.

        That is: rejected packets, stopped destinations, destinations and backups that cannot be used as they are
        configured, a disk that is nearly full, a backlog that has grown old, a line that takes less than is recorded,
        backups that are too old, a database that is an older copy, keys that were not tried for too long, and secrets that
        other users of the machine can read.

        Args:
            summary: What :meth:`summary` returned, if it was asked for just now: it counts packets.
            backups: What :meth:`backup_states` returned, likewise.
        """
        states = self.backup_states() if backups is None else backups
        return self._attention([sentence for state in states for sentence in state.warnings], summary)

    def out_of_reach(self) -> list[str]:
        """Return what this user may not use in the data folder, a sentence for each owner, as after a command typed as root."""
        return out_of_reach(self.data.root)

    def served(self, destination: str) -> Mapping[str, str]:
        """Return rate, window and concurrency of a destination as text; ``*`` marks what was set at run time.

        Raises:
            UnknownDestinationError: There is none of this name.
        """
        return self._destinations.lines.served(self.outbox.destination(destination))

    def storage(self) -> StorageView:
        """Return the room on the station's disk, for how long it lasts, and warnings."""
        return self.outbox.storage()

    def destinations(self) -> list[DestinationState]:
        """Return what is known of each destination itself. Counts no packets, unlike :meth:`summary`."""
        return self.outbox.destinations()

    def summary(self) -> list[DestinationSummary]:
        """Return where the packets stand, for each destination, and which of them can never be used as it is configured."""
        return self._destinations.summary()

    def registration_statuses(self) -> Mapping[str, int]:
        """Return how many packets have which registration status; those without one are left out."""
        return self.outbox.registration_statuses()

    def deliveries(
        self,
        destination: str | None = None,
        state: DeliveryState | str | None = None,
        *,
        registration_status: str | None = None,
    ) -> Iterator[DeliveryView]:
        """Yield deliveries, oldest packet first: all, or those to one destination, or in one state.

        Args:
            destination: Its name.
            state: The state, or its name, such as ``rejected``.
            registration_status: What the centre says of the packet, such as ``PRINT_READY_RECORD``.

        Raises:
            ValueError: There is no such state.
        """
        return self.outbox.deliveries(
            destination,
            None if state is None else DeliveryState(state),
            registration_status=registration_status,
        )

    def rejected(self) -> Iterator[DeliveryView]:
        """Yield the deliveries that wait for a person."""
        return self.outbox.rejected()

    def requeue(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Let a rejected packet be delivered again. Its history is kept.

        Raises:
            UnknownPacketError: The outbox does not have it.
            UnknownDestinationError: It does not go there.
        """
        self.outbox.requeue(packet_id, destination, who=who, why=why)

    def requeue_rejected(self, destination: str, *, who: str, why: str, code: str | None = None) -> list[str]:
        """Let all rejected packets of a destination be delivered again, as after a mistake was corrected there.

        Args:
            destination: Its name.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.
            code: Only those that were rejected with this code.

        Returns:
            The ids of the packets.
        """
        found = [view for view in self.outbox.rejected(destination) if code in {None, view.code}]
        for view in found:
            self.outbox.requeue(view.packet_id, destination, who=who, why=why)
        return [view.packet_id for view in found]

    def cancel(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Decide that a packet does not go to a destination. Its bytes and history are kept.

        Raises:
            UnknownPacketError: The outbox does not have it.
            UnknownDestinationError: It does not go there.
        """
        self.outbox.cancel(packet_id, destination, who=who, why=why)

    def handled(self, packet_id: str, destination: str, *, who: str, why: str) -> None:
        """Note that a delivery was settled in another way, such as by handing over a disk.

        Raises:
            UnknownPacketError: The outbox does not have it.
            UnknownDestinationError: It does not go there.
        """
        self.outbox.handled(packet_id, destination, who=who, why=why)

    def set_line(self, destination: str, changes: Mapping[str, str], *, who: str) -> Mapping[str, str]:
        """Change how a destination is served, in all processes and within seconds, over the configuration.

        Args:
            destination: Its name.
            changes: ``rate`` (such as ``16 KiB`` a second), ``window`` (such as ``18:00-06:30``) and
                ``concurrency``, as in the configuration; ``none`` for no limit, ``configured`` for what the
                configuration says.
            who: Who decides this; kept in the audit trail.

        Returns:
            What is set over the configuration now.

        Raises:
            ConfigError: A value cannot be read; nothing was changed.
            UnknownDestinationError: There is none of this name.
        """
        return self._destinations.lines.set(destination, changes, who=who)

    def pause(self, destination: str, *, who: str, why: str) -> bool:
        """Stop delivering to a destination until it is resumed; return whether it was running.

        Raises:
            UnknownDestinationError: There is none of this name.
        """
        return self.outbox.pause(destination, reason=why, who=who)

    def retire(self, destination: str, *, who: str, why: str) -> int:
        """Stop a destination for good, once it is no more in the configuration; what it has not got is cancelled.

        Returns:
            How many deliveries were cancelled.

        Raises:
            UnknownDestinationError: There is none of this name.
            ConfigError: It is still in the configuration, and would come back.
        """
        if destination in self._settings.destinations:
            raise ConfigError(
                f"{destination} is still in {self._settings.path} and would come back at the next start. Take it out "
                "of the configuration first."
            )
        return self.outbox.retire(destination, who=who, why=why)

    def resume(self, destination: str, *, who: str) -> bool:
        """Let a destination work again that was stopped, or has asked to wait; return whether it was.

        Raises:
            UnknownDestinationError: There is none of this name.
        """
        return self.outbox.resume(destination, who=who)

    def check(self, destination: str) -> str:
        """Ask a destination how it is, and return its answer as a sentence.

        Raises:
            UnknownDestinationError: There is none of this name.
            BackendError: It is not well; the message says why.
        """
        return self._destinations.backend(destination).check().summary

    # --- backups ---

    def backup(self, name: str, *, progress: ProgressCallback | None = None) -> SnapshotReport:
        """Copy what is new to a backup repository, made at the first time.

        Of backups that take turns, the one that is due and at hand is made; if it fails, the next one at hand, with a
        warning in the report.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            RepositoryError: Another repository is in its place.
            BackendError: The place cannot be reached; earlier snapshots stay.
        """
        made, report = self._backups.backup_in_turn(name, progress, by_person=True)
        self._finished(made, report)
        return report

    def backup_states(self) -> list[BackupState]:
        """Return how each backup stands, also while its disk is away, with what a person must see to."""
        from ktpsync.office._backup_watch import backup_states  # noqa: PLC0415 - rarely needed

        unknown = self._backups.unknown_lineages()
        where = self._backups.places_of(unknown)
        return backup_states(
            self._backups.places,
            self._backups.offload.awaited(),
            self._clock.now_ms(),
            lacking=self._backups.lacking,
            unknown={lineage: where.get(lineage, "") for lineage in unknown},
        )

    def forget_backup(self, name: str, *, who: str, why: str) -> None:
        """End a backup for good, once it is no more in the configuration: its copies count no more.

        What is on the disk stays there.

        Args:
            name: The backup; or what :meth:`backup_states` names copies by that were made before a restore.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Raises:
            UnknownDestinationError: No backup of this name was ever made here.
            WrongStateError: It alone holds packets that may still have to be delivered; nothing was changed.
            ConfigError: It is still in the configuration, and would go on; or nobody, or no reason, is named.
        """
        self._backups.forget(name, who=who, why=why)

    def verify(
        self,
        name: str,
        *,
        depth: Depth | None = None,
        identities: Iterable[Identity] = (),
        progress: ProgressCallback | None = None,
    ) -> VerifyReport:
        """Check a backup; by default every byte is read back from the medium.

        Args:
            name: The backup.
            depth: How closely to look.
            identities: Identities of a recipient, where packets are to be opened.
            progress: Called as packs are read.

        Returns:
            What was found; damage raises nothing.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            BackendError: The place cannot be reached.
        """
        name, keys = self._backups.places.resolve(name), tuple(identities)
        report = self._backups.verify(name, depth=depth, identities=keys, progress=progress)
        if keys and report.ok and report.packets:
            self._note_keys(keys)
        return report

    def repair(
        self, name: str, sources: Iterable[str], *, progress: ProgressCallback | None = None
    ) -> tuple[RepairReport, VerifyReport]:
        """Bring good copies of what is damaged in a backup, and verify it again.

        Args:
            name: The backup.
            sources: Where good copies may be, the best first: ``spool``, names of other backups, names of
                destinations.
            progress: Called as packs are read.

        Returns:
            What was mended, and what a look at everything found afterwards.

        Raises:
            UnknownDestinationError: There is no backup or source of this name.
            BackendError: The place cannot be reached.
        """
        name = self._backups.places.resolve(name)
        return self._backups.repair(name, tuple(sources), progress=progress)

    def mend(self, *, read: bool = False, new_spool: bool = False, who: str, why: str) -> MendReport:
        """Bring good copies of packets that are damaged or missing on this station, or lie in its quarantine.

        They come from the backups that are at hand, or from a destination that gave a receipt and gives the bytes back.
        Each is checked against the packet's digest, put back durably, and goes on to the destinations where it was set
        aside; the damaged bytes stay in quarantine. What is whole is not touched.

        Args:
            read: Also read every sealed file; else only sizes, and the files that a courier found damaged.
            new_spool: Take the spool's folder as it is, though it holds none of the packets, because the former one is lost.
            who: Who decides this; kept in the audit trail.
            why: Why; kept in the audit trail.

        Returns:
            What was done, packet by packet. A packet of which no good copy is at hand raises nothing.

        Raises:
            ConfigError: Nobody, or no reason, is named.
            SpoolUnavailableError: The spool's folder is not there or another one, and may not be a new one.
        """
        if new_spool:
            self.outbox.adopt_spool(who=who, why=why)
        return self._backups.mend(read=read, who=who, why=why)

    def prune(
        self,
        name: str,
        retention: Retention | None = None,
        *,
        dry_run: bool = False,
        progress: ProgressCallback | None = None,
    ) -> PruneReport:
        """Drop old snapshots of a backup, and packets that nobody needs any more.

        The last copy of a packet that is not delivered is never among them.

        Args:
            name: The backup.
            retention: Which snapshots to keep; as configured if not given.
            dry_run: Whether to say what would be done and do nothing.
            progress: Called as packs are written.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            DamagedBackupError: A file that is needed is damaged. Nothing was dropped.
            BackendError: The place cannot be reached.
        """
        name = self._backups.places.resolve(name)
        return self._backups.prune(name, retention, dry_run=dry_run, progress=progress)

    def extract(self, name: str, packet_ids: Iterable[str], into: Path) -> ExtractReport:
        """Take single packets out of a backup, still sealed.

        Args:
            name: The backup.
            packet_ids: Which.
            into: The folder to write ``<packet id>.age`` files to; nothing in it is overwritten.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            BackendError: The place cannot be reached.
        """
        return self._backups.extract(self._backups.places.resolve(name), packet_ids, into)

    def snapshots(self, name: str) -> list[Snapshot | DamagedBackupError]:
        """Return the snapshots of a backup, of all stations, oldest first; what is wrong with one stands in its place.

        Args:
            name: The backup.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            BackendError: The place cannot be reached.
        """
        return self._backups.snapshots(self._backups.places.resolve(name))

    def drill(self, name: str, identities: Iterable[Identity], *, sample: int = 20) -> DrillReport:
        """Try a restore without keeping it: read the whole state, open a sample of packets.

        Args:
            name: The backup.
            identities: Identities of a recipient.
            sample: Packets to open, at most.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            RestoreError: There is no snapshot to try.
            BackendError: The place cannot be reached.
        """
        name, keys = self._backups.places.resolve(name), tuple(identities)
        report = self._backups.drill(name, keys, sample)
        if report.ok:
            self._note_keys(keys)
        return report

    # --- keys ---

    def rewrap(
        self,
        identities: Iterable[Identity],
        backups: Iterable[str] | None = None,
        *,
        who: str,
        held: bool = False,
        progress: ProgressCallback | None = None,
    ) -> RotationReport:
        """Give packets and backups to the recipients that the configuration names now; run again, it goes on.

        Only headers are written anew: payloads stay the same, byte for byte. What may be on its way to a
        destination, or waits in a backup to be delivered, keeps its header until it has arrived.

        Args:
            identities: Identities that open the packets now.
            backups: Names of backups; all if not given. Those that are not at hand are named in the report.
            who: Who decided, for the audit trail.
            held: Whether packets get new headers too that a destination gave a receipt for and may ask for again, or could not
                register. If it is given one of these again, it refuses the other bytes, and a person must see to it.
            progress: Called as packs are written.

        Raises:
            ConfigError: No recipients are configured.
            UnknownDestinationError: There is no backup of this name.
            OutboxError: Another process is rewrapping.
            BackupInUseError: A backup is running; nothing was changed.
        """
        from ktpsync.office._rotation import Rotation  # noqa: PLC0415 - rarely needed

        rotation = Rotation(
            self._settings.recipients(),
            places=self._backups.places,
            data=self.data,
            outbox=self.outbox,
            station=self._station_key,
            index_key=self._index_key,
            clock=self._clock,
        )
        return rotation.run(tuple(identities), backups, who=who, held=held, progress=progress)

    def test_keys(self, identities: Iterable[Identity]) -> KeyTestReport:
        """Show that identities open what is sealed to them: something new, and the newest packet.

        Do it when an office is set up, and from time to time: a lost key is noticed while others still open
        everything, or while there is little to lose.

        Args:
            identities: From the file that is kept locked away.

        Raises:
            ConfigError: No recipients are configured.
        """
        return self._key_tests().run(identities)

    def key_states(self) -> list[KeyState]:
        """Return to which recipients this office seals, and when their keys were tried.

        Raises:
            ConfigError: No recipients are configured.
        """
        return self._key_tests().states()

    def key_warnings(self) -> list[str]:
        """Return what a person must see to about the keys, a sentence each.

        Raises:
            ConfigError: No recipients are configured.
        """
        return self._key_tests().warnings()

    # --- inside ---

    def _begin_anew(self) -> None:
        """Let go of what belongs to the parent, in a forked process."""
        self._opening = threading.Lock()
        _inherited.append([self._registry, *(self.__dict__.pop(name, None) for name in _PARTS)])

    if not TYPE_CHECKING:  # or every misspelt name would pass as one of these

        def __getattr__(self, name: str) -> object:
            if name not in _PARTS:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            with self._opening:
                if self._closed:
                    raise ClosedError(
                        f"The office of {self._settings.path} was closed. Keep it open for as long as the program runs, "
                        "or open it again."
                    )
                if name not in self.__dict__:
                    self._registry = PluginRegistry.load()
                    self._make_parts()
            return self.__dict__[name]

    def __repr__(self) -> str:
        return f"Office({str(self._settings.path)!r})"

    def _attention(
        self, backups: Sequence[str] = (), summary: Sequence[DestinationSummary] | None = None
    ) -> list[str]:
        from ktpsync.office._attention import attention  # noqa: PLC0415 - rarely needed

        lines = ((line, self.estimate(line)) for line in (self.summary() if summary is None else summary))
        exposed = configuration.exposed(self._settings.path, self._registry)
        return attention(lines, self.storage(), [*self._of_the_office(), *backups, *exposed])

    def _of_the_office(self) -> list[str]:
        from ktpsync.office._attention import of_the_office  # noqa: PLC0415 - rarely needed

        keys, broken = [], []
        try:
            keys = self.key_warnings()
        except ConfigError as error:
            broken = [f"Nothing can be recorded: {error}"]
        closed = self.out_of_reach()
        if hindrance := self._backups.offload.hindrance():
            closed.append(hindrance)
        return [*broken, *closed, *of_the_office(self.outbox, keys, now_ms=self._clock.now_ms())]

    def _note_keys(self, identities: tuple[Identity, ...]) -> None:
        """Let what has just opened a backup count as a test of the keys."""
        with contextlib.suppress(ConfigError):
            self._key_tests().run(identities)

    def _key_tests(self) -> KeyTests:
        from ktpsync.office._key_tests import KeyTests  # noqa: PLC0415 - rarely needed

        uses = {"packets": tuple(str(recipient) for recipient in self._settings.recipients())}
        uses |= {name: self._backups.places.recipients(name) for name in self._backups.places.names()}
        return KeyTests(
            self.data.key_tests,
            uses=uses,
            outbox=self.outbox,
            stations=self._backups.trusted(),
            clock=self._clock,
        )

    def _tell(self, results: Iterable[Submitted | KtpsyncError], connection: Connection | None) -> None:
        """Tell observers what is stored for good: not what a caller's transaction may still roll back."""
        for result in results if connection is None else ():
            if not isinstance(result, KtpsyncError) and result.created:
                stored = result.packet
                self._registry.notify.packet_submitted(stored.packet_id, stored.sha256, stored.size)

    def _finished_by_service(self, name: str, report: SnapshotReport) -> None:
        self._finished(name, report)
        self._upkeep.purge()  # its disk may be there for these minutes only

    def _finished(self, name: str, report: SnapshotReport) -> None:
        for snapshot in report.snapshots:
            self._registry.notify.backup_finished(name, snapshot, report.packets)
