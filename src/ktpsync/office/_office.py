"""The facade that office apps import."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import evolve

from ktpsync import config as configuration
from ktpsync import packet, records
from ktpsync.clock import SystemClock
from ktpsync.courier import Courier, Service, Task, poll_statuses, reconcile
from ktpsync.errors import BackendError, ConfigError, UnknownDestinationError
from ktpsync.keys import IndexKey, StationKey
from ktpsync.office._backups import Backups
from ktpsync.office._layout import DataFolder
from ktpsync.office._reports import DestinationReport, ReconcileReport, SyncReport
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.plugins import BackendContext, CentralBackend, PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from ktpsync.age import Identity
    from ktpsync.backup import Depth, DrillReport, ProgressCallback, SnapshotReport, VerifyReport
    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.courier import DrainReport
    from ktpsync.keys import StationPublicKey
    from ktpsync.outbox import DeliveryView, DestinationSummary, PacketStatus, Submitted
    from ktpsync.plugins import Backend
    from ktpsync.records import Enrollment

_STATUS_SECONDS = 60.0
_MOMENT_SECONDS = 6.0

_REASONS = {
    "paused": "stopped until a person resumes it",
    "unreachable": "it cannot be reached",
    "throttled": "it asked for patience",
    "window": "it is used at other hours",
    "stopped": "the work was interrupted",
}


class Office:
    """An office: its outbox, its destinations and its backups. Made by :meth:`open`.

    Thread-safe; several processes may open the same office at once.

    Attributes:
        data: Where its data is.
        station: The public half of the station's signing key.
        outbox: The outbox, for what this facade does not offer.
    """

    def __init__(self, settings: Configuration, *, clock: Clock, registry: PluginRegistry) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._lock = threading.Lock()
        self._made: dict[str, Backend] = {}
        self.data = DataFolder(settings.office.data)
        self._station_key = StationKey.load(self.data.station_key)
        self._index_key = IndexKey.load(self.data.index_key)
        self.station: StationPublicKey = self._station_key.public
        self.outbox = Outbox.open(
            settings.office.database or self.data.database,
            self.data.spool,
            destinations=[
                DestinationSpec(name=name, required=place.settings.required)
                for name, place in settings.destinations.items()
            ],
            clock=clock,
        )
        self._backups = Backups(
            settings,
            data=self.data,
            outbox=self.outbox,
            station=self._station_key,
            index_key=self._index_key,
            clock=clock,
            registry=registry,
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
        settings = configuration.load(Path(config)) if isinstance(config, str | Path) else config
        return cls(settings, clock=clock or SystemClock(), registry=PluginRegistry.load())

    def close(self) -> None:
        """Close connections and the outbox."""
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for backend in made:
            backend.close()
        self.outbox.close()

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
            ConfigError: No recipients are configured.
        """
        sealing = packet.seal(
            enrollment,
            recipients=self._settings.recipients(),
            station_key=self._station_key,
            clock=self._clock,
        )
        submitted = self.outbox.submit(
            sealing.sealed,
            packet_id=sealing.packet.packet_id,
            sha256=sealing.packet.sha256,
            reference=enrollment.reference,
            fingerprint=self._index_key.digest("content", sealing.content_sha256),
            person=self._person(enrollment.nik),
            urgent=urgent,
            connection=connection,
        )
        if submitted.created and connection is None:
            stored = submitted.packet
            self._registry.notify.packet_submitted(stored.packet_id, stored.sha256, stored.size)
        return submitted

    def find(self, *, reference: str | None = None, nik: records.Nik | None = None) -> list[str]:
        """Return the ids of packets with this reference, or of the person with this NIK."""
        person = None if nik is None else self._person(nik)
        return [view.packet_id for view in self.outbox.find(reference=reference, person=person)]

    # --- delivering ---

    def sync(self, *, on_delivered: Callable[[], None] = lambda: None) -> SyncReport:
        """Deliver to all destinations what is due, once, and take the centre's statuses.

        A destination that was believed unreachable is asked again now: somebody wants it.

        Args:
            on_delivered: Called after each delivery, from whatever thread made it.
        """
        names = list(self._settings.destinations)
        if not names:
            return SyncReport(destinations=())
        with ThreadPoolExecutor(len(names), thread_name_prefix="ktpsync-sync") as pool:
            return SyncReport(
                destinations=tuple(pool.map(lambda name: self._sync_one(name, on_delivered), names))
            )

    def run(self, stop: threading.Event) -> None:
        """Serve all destinations until ``stop`` is set: deliver, poll statuses, make backups that are due."""
        tasks = [
            Task(name=f"statuses-{name}", every=_STATUS_SECONDS, run=lambda name=name: self._poll(name))  # type: ignore[misc]  # mypy cannot infer a default argument
            for name in self._settings.destinations
        ]
        tasks += self._backups.tasks(self._finished)
        couriers = [self._courier(name, ()) for name in self._settings.destinations]
        Service(
            self.outbox, couriers, tasks=tasks, health=self.data.root / "health.json", clock=self._clock
        ).run(stop)

    def poll_statuses(self) -> int:
        """Take the registration statuses that are new; return how many.

        Raises:
            BackendError: A centre did not answer.
        """
        return sum(self._poll(name) for name in self._settings.destinations)

    def reconcile(self) -> ReconcileReport:
        """Ask each centre which packets it holds and mark them, as after a restore. Sends no packet.

        Raises:
            BackendError: A centre did not answer; what was settled before stays.
            ConfigError: No destination is a centre.
        """
        marked = requeued = conflicts = held = 0
        centres = list(self._centres())
        if not centres:
            raise ConfigError('No destination is a centre that can be asked what it holds (backend "http").')
        for name, backend in centres:
            applied = reconcile(self.outbox, name, backend)
            marked += len(applied.delivered)
            requeued += len(applied.requeued)
            conflicts += len(applied.conflicts)
            held += next((line.delivered for line in self.outbox.summary() if line.state.name == name), 0)
        return ReconcileReport(held=held, marked=marked, requeued=requeued, conflicts=conflicts)

    # --- looking ---

    def status(self, packet_id: str) -> PacketStatus:
        """Return all that is known of a packet: deliveries, receipts, registration status, history.

        Raises:
            UnknownPacketError: The outbox does not have it.
        """
        return self.outbox.status(packet_id)

    def summary(self) -> list[DestinationSummary]:
        """Return where the packets stand, for each destination."""
        return self.outbox.summary()

    def registration_statuses(self) -> Mapping[str, int]:
        """Return how many packets have which registration status; those without one are left out."""
        return Counter(view.status for view in self.outbox.packets() if view.status is not None)

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

    def resume(self, destination: str, *, who: str) -> bool:
        """Let a destination work again that was stopped because of its credentials.

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
        return self._backend(destination).check().summary

    # --- backups ---

    def backup(self, name: str, *, progress: ProgressCallback | None = None) -> SnapshotReport:
        """Copy what is new to a backup repository, made at the first time.

        Raises:
            UnknownDestinationError: There is no backup of this name.
            RepositoryError: Another repository is in its place.
            BackendError: The place cannot be reached; earlier snapshots stay.
        """
        report = self._backups.backup(name, progress)
        self._finished(name, report)
        return report

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
        return self._backups.verify(name, depth=depth, identities=tuple(identities), progress=progress)

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
        return self._backups.drill(name, tuple(identities), sample)

    # --- inside ---

    def _person(self, nik: records.Nik) -> bytes:
        return self._index_key.digest("nik", str(nik).encode("ascii"))

    def _finished(self, name: str, report: SnapshotReport) -> None:
        for snapshot in report.snapshots:
            self._registry.notify.backup_finished(name, snapshot, report.packets)

    def _backend(self, name: str) -> Backend:
        place = self._settings.destinations.get(name)
        if place is None:
            known = ", ".join(self._settings.destinations) or "none"
            raise UnknownDestinationError(
                f"There is no destination {name!r} in {self._settings.path}; there are: {known}."
            )
        with self._lock:
            if name not in self._made:
                context = BackendContext(
                    name=name, state_folder=self.data.state("destinations", name), clock=self._clock
                )
                self._made[name] = self._registry.make(
                    place.settings.backend,
                    place.backend_settings,
                    context,
                    where=f"[destinations.{name}]",
                    base=self._settings.path.parent,
                )
            return self._made[name]

    def _centres(self) -> Iterator[tuple[str, CentralBackend]]:
        for name in self._settings.destinations:
            backend = self._backend(name)
            if isinstance(backend, CentralBackend):
                yield name, backend

    def _courier(self, name: str, observers: Sequence[_Counting]) -> Courier:
        place = self._settings.destinations[name]
        return Courier(
            self.outbox,
            name,
            self._backend(name),
            policy=place.settings.policy(),
            clock=self._clock,
            observers=(_Telling(self._registry), *observers),
        )

    def _sync_one(self, name: str, on_delivered: Callable[[], None]) -> DestinationReport:
        courier = self._courier(name, (_Counting(on_delivered),))
        self._ask_now(name)
        drained = self._drain_patiently(courier)
        trouble = ""
        try:
            if drained.stopped not in ("unreachable", "paused"):
                self._poll(name)
        except BackendError as error:
            trouble = str(error)
        return self._report(name, drained, trouble)

    def _drain_patiently(self, courier: Courier) -> DrainReport:
        """Drain, and wait for packets that only stepped aside for a moment."""
        drained = courier.drain()
        patience = self._clock.monotonic() + _MOMENT_SECONDS
        while drained.stopped == "empty" and drained.retry_in is not None:
            if self._clock.monotonic() + drained.retry_in > patience:
                break
            self._clock.sleep(drained.retry_in)
            again = courier.drain()
            drained = evolve(
                again,
                delivered=drained.delivered + again.delivered,
                rejected=drained.rejected + again.rejected,
            )
        return drained

    def _ask_now(self, name: str) -> None:
        """Let the next probe be now, whatever was agreed on before: a person is waiting."""
        if self.outbox.destination(name).breaker != "closed":
            self.outbox.probe_soon(name)

    def _poll(self, name: str) -> int:
        backend = self._backend(name)
        if not isinstance(backend, CentralBackend):
            return 0
        return poll_statuses(self.outbox, name, backend, (_Telling(self._registry),))

    def _report(self, name: str, drained: DrainReport, trouble: str) -> DestinationReport:
        line = next(line for line in self.outbox.summary() if line.state.name == name)
        waiting = line.pending + line.leased
        reason = trouble
        if waiting:
            told = line.state.paused or line.state.last_error
            reason = told or _REASONS.get(drained.stopped, "they are retried later")
        return DestinationReport(
            name=name,
            delivered=drained.delivered,
            rejected=drained.rejected,
            waiting=waiting,
            reason=reason,
            person=line.state.paused is not None or line.rejected > 0,
        )


class _Telling:
    """Passes what couriers did on to the plugins."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._notify = registry.notify

    def delivered(self, packet_id: str, destination: str) -> None:
        self._notify.delivered(packet_id, destination)

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        self._notify.rejected(packet_id, destination, code, reason)

    def paused(self, destination: str, reason: str) -> None:
        """Nothing: the log has it, and `status` shows it."""

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        self._notify.status_changed(packet_id, status, previous)


class _Counting:
    """Tells a progress bar."""

    def __init__(self, on_delivered: Callable[[], None]) -> None:
        self._on_delivered = on_delivered

    def delivered(self, packet_id: str, destination: str) -> None:  # noqa: ARG002 - an Observer
        self._on_delivered()

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """Nothing: it does not count as done."""

    def paused(self, destination: str, reason: str) -> None:
        """Nothing."""

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Nothing."""
