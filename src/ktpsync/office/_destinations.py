"""The destinations of an office: their backends, their couriers, and news from the centres among them."""

from __future__ import annotations

import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from ktpsync import courier, office
from ktpsync.clock import local_text, utc_from_ms
from ktpsync.config import OWN_KEYS
from ktpsync.errors import BackendError, ConfigError, PluginError, UnknownDestinationError
from ktpsync.office._lines import Lines
from ktpsync.office._usable import why_unusable
from ktpsync.outbox import DestinationSpec
from ktpsync.plugins import BackendContext, Capability, CentralBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.courier import Courier, DrainReport, Observer, Task
    from ktpsync.errors import KtpsyncError
    from ktpsync.office._layout import DataFolder
    from ktpsync.office._reports import DestinationReport, ReconcileReport, SyncReport
    from ktpsync.outbox import DestinationSummary, Outbox
    from ktpsync.plugins import Backend, PluginRegistry

log = logging.getLogger("ktpsync.office")

_UNUSABLE = (ConfigError, PluginError, BackendError)
"""What making a backend may raise. It stops this destination, never the others."""

_STATUS_SECONDS = 60.0
_REMEMBER_SECONDS = 60.0
_MOMENT_SECONDS = 6.0
"""So long a sync waits for packets that stepped aside when the destination did not answer them."""

_REASONS = {
    "paused": "stopped until a person resumes it",
    "unreachable": "it cannot be reached",
    "window": "it is used at other hours",
    "stopped": "the work was interrupted",
}


def destination_specs(settings: Configuration) -> list[DestinationSpec]:
    """Return where every packet of an office goes."""
    return [
        DestinationSpec(name=name, required=place.settings.required)
        for name, place in settings.destinations.items()
    ]


class Destinations:
    """All destinations of an office.

    Args:
        settings: The configuration.
        data: The data folder.
        outbox: Where the packets are.
        clock: The clock to ask.
        registry: Makes the backends, and tells plugins what happened.
    """

    def __init__(
        self,
        settings: Configuration,
        *,
        data: DataFolder,
        outbox: Outbox,
        clock: Clock,
        registry: PluginRegistry,
    ) -> None:
        self._settings = settings
        self._data = data
        self._outbox = outbox
        self._clock = clock
        self._registry = registry
        self._lock = threading.Lock()
        self._made: dict[str, Backend] = {}
        self._couriers: dict[str, Courier] = {}
        self.lines = Lines(settings, data=data, outbox=outbox, clock=clock)

    def backend(self, name: str) -> Backend:
        """Return a destination's backend, made at its first use.

        Raises:
            UnknownDestinationError: There is none of this name.
            PluginError: Its backend cannot be used.
            ConfigError: Its settings have problems.
        """
        place = self._settings.destinations.get(name)
        if place is None:
            known = ", ".join(self._settings.destinations) or "none"
            raise UnknownDestinationError(
                f"There is no destination {name!r} in {self._settings.path}; there are: {known}."
            )
        with self._lock:
            if name not in self._made:
                context = BackendContext(
                    name=name, state_folder=self._data.state("destinations", name), clock=self._clock
                )
                self._made[name] = self._registry.make(
                    place.settings.backend,
                    place.backend_settings,
                    context,
                    where=f"[destinations.{name}]",
                    base=self._settings.path.parent,
                    also=OWN_KEYS["destinations"],
                )
            return self._made[name]

    def close(self) -> None:
        """Close all backends."""
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for backend in made:
            backend.close()

    def summary(self) -> list[DestinationSummary]:
        """Return where the packets stand, and which destinations cannot be used."""
        return [evolve(line, unusable=self._why_unusable(line.state.name)) for line in self._outbox.summary()]

    def _why_unusable(self, name: str) -> str:
        if name in self._made or name not in self._settings.destinations:
            return ""
        return why_unusable(self._settings, self._registry, "destinations", name)

    def sync(self, on_delivered: Callable[[], None], stop: threading.Event) -> SyncReport:
        """Drain all destinations at one time, each in a thread of its own."""
        names = list(self._settings.destinations)
        if not names:
            return office.SyncReport(destinations=())
        with ThreadPoolExecutor(len(names), thread_name_prefix="ktpsync-sync") as pool:
            reports = pool.map(lambda name: self._sync_one(name, on_delivered, stop), names)
            return office.SyncReport(destinations=tuple(reports))

    def couriers(self) -> list[Courier]:
        """Return a courier for each destination that can be used; the others are logged."""
        usable = []
        for name in self._settings.destinations:
            try:
                usable.append(self._courier(name))
            except _UNUSABLE as error:
                facts = {"event": "unusable", "destination": name, "reason": str(error)}
                log.error("%s cannot be used; its packets wait: %s", name, error, extra={"facts": facts})  # noqa: TRY400 - the message says it all
        return usable

    def tasks(self) -> Iterator[Task]:
        """Yield what the service does for destinations besides delivering."""
        yield courier.Task(name="lines", every=_REMEMBER_SECONDS, run=self.remember_speeds)
        for name in self._settings.destinations:
            with contextlib.suppress(*_UNUSABLE):
                self.backend(name)
                yield courier.Task(
                    name=f"statuses-{name}", every=_STATUS_SECONDS, run=partial(self._poll_if_open, name)
                )

    def remember_speeds(self) -> None:
        """Keep how fast the destinations were, for estimates."""
        for name, one in list(self._couriers.items()):
            self.lines.remember(name, one.speed)

    def poll_all(self) -> int:
        """Take the statuses that are new at all centres."""
        return sum(self._poll(name) for name in self._settings.destinations)

    def reconcile(self) -> ReconcileReport:
        """Ask each centre what it holds."""
        marked = requeued = conflicts = held = 0
        centres = list(self._centres())
        if not centres:
            raise ConfigError('No destination is a centre that can be asked what it holds (backend "http").')
        for name, backend in centres:
            applied = courier.reconcile(self._outbox, name, backend)
            marked += len(applied.delivered)
            requeued += len(applied.requeued)
            conflicts += len(applied.conflicts)
            held += self._outbox.destination(name).delivered
        return office.ReconcileReport(held=held, marked=marked, requeued=requeued, conflicts=conflicts)

    def _centres(self) -> Iterator[tuple[str, CentralBackend]]:
        for name in self._settings.destinations:
            backend = self.backend(name)
            if isinstance(backend, CentralBackend) and Capability.RECONCILE in backend.capabilities:
                yield name, backend

    def _courier(self, name: str) -> Courier:
        """Return the one courier of a destination in this process: it knows the line and shares its rate."""
        backend = self.backend(name)
        if self.lines.moved(name):
            self._outbox.ask_anew(name)
        with self._lock:
            if name not in self._couriers:
                self._couriers[name] = courier.Courier(
                    self._outbox,
                    name,
                    backend,
                    policy=self._settings.destinations[name].settings.policy(),
                    clock=self._clock,
                    observers=(self._registry.notify,),
                    plugin=self._registry.offering(self._settings.destinations[name].settings.backend),
                    speed=self.lines.speed(name),
                )
            return self._couriers[name]

    def _sync_one(
        self, name: str, on_delivered: Callable[[], None], stop: threading.Event
    ) -> DestinationReport:
        try:
            own = self._courier(name)
        except _UNUSABLE as error:
            return self._unusable(name, error)
        self._ask_now(name)
        progress = _Counting(on_delivered)
        drained = self._drain_patiently(own, progress, stop)
        self.lines.remember(name, own.speed)
        trouble = ""
        try:
            if drained.stopped not in ("unreachable", "paused", "stopped", "throttled"):
                self._poll(name, progress)
        except BackendError as error:
            trouble = str(error)
        return self._report(name, evolve(drained, rejected=progress.refused), trouble)

    def _drain_patiently(self, own: Courier, progress: _Counting, stop: threading.Event) -> DrainReport:
        """Drain, and wait for packets that only stepped aside for a moment."""
        drained = own.drain(stop, observers=(progress,))
        patience = self._clock.monotonic() + _MOMENT_SECONDS
        while drained.stopped == "empty" and drained.retry_in is not None:
            if self._clock.monotonic() + drained.retry_in > patience:
                break
            self._clock.sleep(drained.retry_in)
            drained = drained.followed_by(own.drain(stop, observers=(progress,)))
        return drained

    def _ask_now(self, name: str) -> None:
        """Let the next probe be now, whatever was agreed on before: a person is waiting, a disk may be plugged in."""
        self._outbox.recall(name)
        if self._outbox.destination(name).breaker != "closed":
            self._outbox.probe_soon(name)

    def _poll_if_open(self, name: str) -> None:
        """Poll a centre that works: whether it is back, couriers find out."""
        state = self._outbox.destination(name)
        throttled = courier.throttled_ms(state, self._clock.now_ms())
        if state.paused is None and state.breaker == "closed" and not throttled:
            self._poll(name)

    def _poll(self, name: str, *observers: Observer) -> int:
        backend = self.backend(name)
        if not isinstance(backend, CentralBackend) or Capability.STATUSES not in backend.capabilities:
            return 0
        return courier.poll_statuses(self._outbox, name, backend, (self._registry.notify, *observers))

    def _unusable(self, name: str, error: KtpsyncError) -> DestinationReport:
        line = self._summary(name)
        return office.DestinationReport(
            name=name,
            delivered=0,
            rejected=0,
            waiting=line.pending + line.leased,
            reason=str(error),
            person=True,
            unusable=error,
        )

    def _summary(self, name: str) -> DestinationSummary:
        (line,) = self._outbox.summary(name)
        return line

    def _report(self, name: str, drained: DrainReport, trouble: str) -> DestinationReport:
        line = self._summary(name)
        waiting = line.pending + line.leased
        reason = trouble
        throttled = courier.throttled_ms(line.state, self._clock.now_ms())
        if throttled:
            until = local_text(utc_from_ms(line.state.throttled_until_ms))
            said = f"{drained.trouble.rstrip('.')}. " if drained.trouble else ""
            reason = f"{said}It asked to wait until {until}. If it is well before that, run `ktpsync resume {name} --who YOU`."
        elif waiting:
            reason = drained.trouble or _REASONS.get(drained.stopped, "they are retried later")
        if line.state.paused is not None:
            since_ms = self._outbox.stopped_since_ms(name)
            since = "long ago" if since_ms is None else local_text(utc_from_ms(since_ms))
            why = f"{line.state.paused.rstrip('.')}."
            reason = (
                f"it is stopped since {since}: {why} When that is corrected, run "
                f"`ktpsync resume {name} --who YOU`."
            )
        return office.DestinationReport(
            name=name,
            delivered=drained.delivered,
            rejected=drained.rejected,
            waiting=waiting,
            reason=reason,
            person=line.state.paused is not None or line.rejected > 0,
            throttled_until_ms=line.state.throttled_until_ms if throttled else None,
        )


class _Counting:
    """Tells a progress bar, and counts what was refused."""

    def __init__(self, on_delivered: Callable[[], None]) -> None:
        self._on_delivered = on_delivered
        self.refused = 0

    def delivered(self, packet_id: str, destination: str) -> None:  # noqa: ARG002 - an Observer
        self._on_delivered()

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:  # noqa: ARG002 - an Observer
        """Count it; it is not done."""
        self.refused += 1

    def paused(self, destination: str, reason: str) -> None:
        """Nothing."""

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Nothing."""
