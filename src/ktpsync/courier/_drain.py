"""One run over what is due for a destination."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.courier._gate import Opening
from ktpsync.courier._observer import notify, tell_rejected
from ktpsync.courier._workers import Workers
from ktpsync.outbox import Delivered, Failed, Rejected, Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ktpsync.clock import Clock
    from ktpsync.courier._attempt import Attempts
    from ktpsync.courier._gate import Gate
    from ktpsync.courier._meter import Meter
    from ktpsync.courier._observer import Observer
    from ktpsync.courier._policy import CourierPolicy
    from ktpsync.errors import AuthError
    from ktpsync.outbox import Lease, Outbox, Outcome

log = logging.getLogger("ktpsync.courier")

_AHEAD_SECONDS = 0.5
"""Packets are claimed ahead for about this long, so that deliveries do not wait for the database."""

_MOST_AHEAD = 500

_LONGEST_WAIT = 3600.0
"""No retry waits longer than these seconds."""

_GATHER_SECONDS = 0.05
"""So long results are gathered for one commit while deliveries go on."""

_BATCH = 200
"""So many results are written at the latest."""

_LOOK_SECONDS = 5.0
"""So often, at least, what came in and what was set meanwhile is looked at."""

_SILENT_SECONDS = 10.0
"""After an attempt that ended without an answer and took this long, the destination is asked how it is."""

_STOP_SECONDS = 0.5
"""So soon a drain notices that it is to stop."""


@frozen(kw_only=True)
class DrainReport:
    """What one drain did.

    Args:
        destination: Which destination.
        delivered: Packets with a new receipt.
        delivered_bytes: Their sealed bytes.
        failed: Attempts that failed by the packet's own doing; they are retried later.
        rejected: Packets that wait for a person now.
        returned: Attempts without blame: the destination was unreachable, or the courier was stopped.
        lost: Results that came too late, because another courier had taken over.
        stopped: Why it ended: ``empty``, ``paused``, ``unreachable``, ``throttled``, ``window`` or ``stopped``.
        trouble: What the destination, or a packet at it, was found to be in last; empty if nothing was.
        retry_in: Seconds until trying again makes sense; ``None``: when something new comes in.
    """

    destination: str
    delivered: int = 0
    delivered_bytes: int = 0
    failed: int = 0
    rejected: int = 0
    returned: int = 0
    lost: int = 0
    stopped: str = "empty"
    trouble: str = ""
    retry_in: float | None = None

    def followed_by(self, later: DrainReport) -> DrainReport:
        """Return what both did together; why it ended is the later one's to say."""
        return evolve(
            later,
            delivered=self.delivered + later.delivered,
            delivered_bytes=self.delivered_bytes + later.delivered_bytes,
            failed=self.failed + later.failed,
            rejected=self.rejected + later.rejected,
            returned=self.returned + later.returned,
            lost=self.lost + later.lost,
            trouble=later.trouble or self.trouble,
        )


class Drain:
    """One run of a courier: this thread alone talks to the database, the others deliver."""

    def __init__(
        self,
        outbox: Outbox,
        destination: str,
        *,
        gate: Gate,
        attempts: Attempts,
        policy: CourierPolicy,
        clock: Clock,
        observers: Sequence[Observer],
        stop: threading.Event,
        alive: Callable[[], None],
        meter: Meter,
    ) -> None:
        self._outbox = outbox
        self._destination = destination
        self._gate = gate
        self._attempts = attempts
        self._policy = policy
        self._clock = clock
        self._observers = observers
        self._stop = stop
        self._alive = alive
        self._meter = meter
        self._metered_at = clock.monotonic()
        self._metered_bytes = 0
        self._workers = Workers(f"ktpsync-{destination}")
        self._limit = 0
        self._ready: deque[Lease] = deque()
        self._running: dict[int, Lease] = {}
        self._ended: list[tuple[Outcome, AuthError | None]] = []
        self._steady = False
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._renewed_at = clock.monotonic()
        self._done = DrainReport(destination=destination)
        self._seconds = _AHEAD_SECONDS

    def run(self) -> DrainReport:
        self._unpark()
        try:
            closed = self._work()
            self._finish()
        finally:
            with self._lock:
                self._limit = 0
                abandoned = [*self._ready, *self._running.values()]
            try:
                self._give_back(abandoned)
                self._measure()
            finally:
                # Also where the database is away: threads left behind would add up over months.
                self._workers.end(wait=not self._running)
        trouble = closed.reason or self._done.trouble
        return evolve(self._done, stopped=closed.why, trouble=trouble, retry_in=closed.wait)

    def _work(self) -> Opening:
        """Deliver until nothing is due, nothing more is taken, or somebody says stop; return which."""
        while not self._stop.is_set():
            self._alive()
            opening = self._gate.ask()
            with self._lock:
                self._limit = opening.limit
                self._steady = opening.steady
            if opening.limit == 0:
                return opening
            self._claim()
            self._start()
            if not self._running and not self._ended:
                due_ms = self._outbox.next_due_ms(self._destination)
                wait = None if due_ms is None else max(0, due_ms - self._clock.now_ms()) / 1000
                if wait is not None and wait > _LONGEST_WAIT and self._unpark():
                    continue  # the clock has jumped back meanwhile
                return Opening(why="empty", wait=wait)
            self._collect(min(self._policy.lease / 3, _LOOK_SECONDS))
            self._renew()
        return Opening(why="stopped")

    def _unpark(self) -> int:
        return self._outbox.unpark(self._destination, self._policy.lease)

    def _claim(self) -> None:
        """Keep enough packets at hand that no delivery waits for the next one."""
        ahead = 0
        if self._limit > 1:
            ahead = min(_MOST_AHEAD, int(_AHEAD_SECONDS / max(self._seconds, 0.001) * self._limit))
        wanted = self._limit + ahead - len(self._running) - len(self._ready)
        if wanted > 0 and len(self._ready) <= ahead // 2:
            found = self._outbox.claim(self._destination, wanted, self._policy.lease)
            with self._lock:
                self._ready.extend(found)

    def _start(self) -> None:
        while (lease := self._next()) is not None:
            self._workers.run(lambda lease=lease: self._deliver(lease), at_a_time=self._limit)  # type: ignore[misc]

    def _next(self) -> Lease | None:
        """Return a packet that may be started now."""
        with self._lock:
            if not self._ready or len(self._running) >= self._limit or self._stop.is_set():
                return None
            lease = self._ready.popleft()
            self._running[lease.delivery_id] = lease
            return lease

    def _deliver(self, first: Lease) -> None:
        """Deliver packets one after the other, in a thread, as long as all goes well."""
        lease: Lease | None = first
        while lease is not None:
            started = self._clock.monotonic()
            outcome, stop_for = self._attempts.attempt(lease)
            took = self._clock.monotonic() - started
            self._seconds += (took - self._seconds) / 8
            if took >= _SILENT_SECONDS and isinstance(outcome, Returned) and outcome.unavailable:
                self._gate.doubt()
            with self._lock:
                del self._running[lease.delivery_id]
                self._ended.append((outcome, stop_for))
                if not isinstance(outcome, Delivered):
                    self._steady = False  # the gate is asked first
                on = self._steady
                if not on or not self._ready or len(self._ended) >= _BATCH:
                    self._news.set()
            lease = self._next() if on else None

    def _collect(self, timeout: float) -> None:
        """Wait for results, then write down all that are there with one commit.

        While all goes well they are gathered for a moment: the deliveries go on meanwhile, and each commit
        waits for the disk.
        """
        self._wait(_GATHER_SECONDS if self._steady and self._ready else timeout)
        with self._lock:
            self._news.clear()
            ended, self._ended = self._ended, []
        if not ended:
            return
        outcomes = []
        for outcome, stop_for in ended:
            outcomes.append(self._attempts.judge(outcome))
            if stop_for is not None:
                self._gate.pause(stop_for)
        if all(isinstance(outcome, Delivered) for outcome in outcomes):
            # While this thread writes, the others go on.
            self._start()
        self._write(outcomes)

    def _wait(self, timeout: float) -> None:
        """Wait for news, or until somebody says stop; once that is said, for news alone."""
        stopping = self._stop.is_set()
        while timeout > 0 and not self._news.wait(min(timeout, _STOP_SECONDS)):
            if self._stop.is_set() and not stopping:
                return
            timeout -= _STOP_SECONDS

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        lost = {lease.delivery_id for lease in self._outbox.apply(self._destination, outcomes)}
        kept = [outcome for outcome in outcomes if outcome.lease.delivery_id not in lost]
        kinds = Counter(type(outcome) for outcome in kept)
        sizes = (outcome.lease.packet.size for outcome in kept if isinstance(outcome, Delivered))
        written = DrainReport(
            destination=self._destination,
            delivered=kinds[Delivered],
            delivered_bytes=sum(sizes),
            failed=kinds[Failed],
            rejected=kinds[Rejected],
            returned=kinds[Returned],
            lost=len(lost),
            trouble=next(
                (
                    outcome.reason
                    for outcome in reversed(kept)
                    if isinstance(outcome, Failed | Returned) and outcome.reason
                ),
                "",
            ),
        )
        self._done = self._done.followed_by(written)
        self._gate.learn(kept)
        if self._clock.monotonic() - self._metered_at >= 1:
            self._measure()
        for outcome in kept:
            self._tell(outcome)

    def _renew(self) -> None:
        now = self._clock.monotonic()
        if now - self._renewed_at < self._policy.lease / 3:
            return
        self._renewed_at = now
        with self._lock:
            held = [*self._ready, *self._running.values()]
        lost = {lease.delivery_id for lease in self._outbox.renew(held, self._policy.lease)}
        # What another courier holds now must not be started here; what runs already ends and is refused.
        with self._lock:
            self._ready = deque(lease for lease in self._ready if lease.delivery_id not in lost)

    def _finish(self) -> None:
        """Let what is under way end, for the time of grace."""
        with self._lock:
            self._steady = False
            unstarted, self._ready = self._ready, deque()
        self._give_back(unstarted)
        ends_at = self._clock.monotonic() + self._policy.grace
        while self._running or self._ended:
            self._alive()
            left = ends_at - self._clock.monotonic()
            if self._stop.is_set() and left <= 0:
                return
            self._collect(
                max(left, 0.01) if self._stop.is_set() else min(self._policy.lease / 3, _LOOK_SECONDS)
            )
            self._renew()

    def _measure(self) -> None:
        """Count the speed. One second at least, so that waits between commits even out."""
        now = self._clock.monotonic()
        sent = self._done.delivered_bytes - self._metered_bytes
        if sent:
            self._meter.add(sent, now - self._metered_at, self._gate.rate)
            self._metered_bytes = self._done.delivered_bytes
            self._metered_at = now

    def _give_back(self, leases: Collection[Lease]) -> None:
        if leases:
            self._write([Returned(lease=lease) for lease in leases])

    def _tell(self, outcome: Outcome) -> None:
        packet_id, name = outcome.lease.packet.packet_id, self._destination
        if isinstance(outcome, Delivered):
            if log.isEnabledFor(logging.INFO):
                facts = {"event": "delivered", "packet_id": packet_id, "destination": name}
                log.info("delivered %s to %s", packet_id, name, extra={"facts": facts})
            notify(self._observers, lambda one: one.delivered(packet_id, name))
        elif isinstance(outcome, Rejected):
            tell_rejected(self._observers, packet_id, name, outcome.code, outcome.reason)
        elif isinstance(outcome, Failed):
            code, reason = outcome.code, outcome.reason
            facts = {
                "event": "failed",
                "packet_id": packet_id,
                "destination": name,
                "code": code,
                "reason": reason,
            }
            log.warning("failed %s at %s: %s: %s", packet_id, name, code, reason, extra={"facts": facts})
