"""One run over what is due for a destination."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.courier._observer import notify
from ktpsync.outbox import Delivered, Failed, Rejected, Returned

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from ktpsync.clock import Clock
    from ktpsync.courier._attempt import Attempts
    from ktpsync.courier._gate import Gate
    from ktpsync.courier._observer import Observer
    from ktpsync.courier._policy import CourierPolicy
    from ktpsync.errors import AuthError
    from ktpsync.outbox import Lease, Outbox, Outcome

log = logging.getLogger("ktpsync.courier")

_QUICK = 0.5
"""Deliveries that take less than these seconds are claimed a few rounds ahead."""

_ROUNDS_AHEAD = 3


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
    retry_in: float | None = None


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
    ) -> None:
        self._outbox = outbox
        self._destination = destination
        self._gate = gate
        self._attempts = attempts
        self._policy = policy
        self._clock = clock
        self._observers = observers
        self._stop = stop
        self._ready: deque[Lease] = deque()
        self._running: dict[int, Lease] = {}
        self._ended: queue.SimpleQueue[tuple[Lease, Outcome, AuthError | None]] = queue.SimpleQueue()
        self._renewed_at = clock.monotonic()
        self._report = DrainReport(destination=destination)
        self._quick = True

    def run(self) -> DrainReport:
        pool = ThreadPoolExecutor(
            max_workers=self._policy.concurrency, thread_name_prefix=f"ktpsync-{self._destination}"
        )
        try:
            self._work(pool)
            self._finish()
        finally:
            self._give_back([*self._ready, *self._running.values()])
            pool.shutdown(wait=not self._running, cancel_futures=True)
        return self._report

    def _work(self, pool: ThreadPoolExecutor) -> None:
        while not self._stop.is_set():
            opening = self._gate.ask()
            limit = opening.limit
            if limit == 0:
                self._report = evolve(self._report, stopped=opening.why, retry_in=opening.wait)
                return
            free = limit - len(self._running)
            if not self._ready and free > 0:
                ahead = _ROUNDS_AHEAD * limit if self._quick and limit > 1 else 0
                self._ready.extend(self._outbox.claim(self._destination, free + ahead, self._policy.lease))
            while self._ready and len(self._running) < limit:
                self._start(pool, self._ready.popleft())
            if not self._running:
                due_ms = self._outbox.next_due_ms(self._destination)
                wait = None if due_ms is None else max(0, due_ms - self._clock.now_ms()) / 1000
                self._report = evolve(self._report, stopped="empty", retry_in=wait)
                return
            self._collect(self._policy.lease / 3)
            self._renew()
        self._report = evolve(self._report, stopped="stopped")

    def _start(self, pool: ThreadPoolExecutor, lease: Lease) -> None:
        self._running[lease.delivery_id] = lease
        started = self._clock.monotonic()

        def attempt() -> None:
            outcome, stop_for = self._attempts.attempt(lease)
            self._quick = self._clock.monotonic() - started < _QUICK
            self._ended.put((lease, outcome, stop_for))

        pool.submit(attempt)

    def _collect(self, timeout: float) -> None:
        """Wait for a result, then write down all that are there with one commit."""
        found: list[tuple[Lease, Outcome, AuthError | None]] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=timeout))
            while True:
                found.append(self._ended.get_nowait())
        if not found:
            return
        outcomes = []
        for lease, outcome, stop_for in found:
            del self._running[lease.delivery_id]
            outcomes.append(self._attempts.judge(outcome))
            if stop_for is not None:
                self._gate.pause(stop_for)
        self._write(outcomes)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        lost = {lease.delivery_id for lease in self._outbox.apply(self._destination, outcomes)}
        kept = [outcome for outcome in outcomes if outcome.lease.delivery_id not in lost]
        delivered = [outcome for outcome in kept if isinstance(outcome, Delivered)]
        report = self._report
        self._report = evolve(
            report,
            delivered=report.delivered + len(delivered),
            delivered_bytes=report.delivered_bytes + sum(item.lease.packet.size for item in delivered),
            failed=report.failed + sum(isinstance(outcome, Failed) for outcome in kept),
            rejected=report.rejected + sum(isinstance(outcome, Rejected) for outcome in kept),
            returned=report.returned + sum(isinstance(outcome, Returned) for outcome in kept),
            lost=report.lost + len(lost),
        )
        self._gate.learn(kept)
        for outcome in kept:
            self._tell(outcome)

    def _renew(self) -> None:
        now = self._clock.monotonic()
        if now - self._renewed_at < self._policy.lease / 3:
            return
        self._renewed_at = now
        lost = {
            lease.delivery_id
            for lease in self._outbox.renew([*self._ready, *self._running.values()], self._policy.lease)
        }
        # What another courier holds now must not be started here; what runs already ends and is refused.
        self._ready = deque(lease for lease in self._ready if lease.delivery_id not in lost)

    def _finish(self) -> None:
        """Let what is under way end, for the time of grace."""
        self._give_back(list(self._ready))
        self._ready.clear()
        ends_at = self._clock.monotonic() + self._policy.grace
        while self._running:
            left = ends_at - self._clock.monotonic()
            if self._stop.is_set() and left <= 0:
                return
            self._collect(max(left, 0.01) if self._stop.is_set() else self._policy.lease / 3)
            self._renew()

    def _give_back(self, leases: Sequence[Lease]) -> None:
        if leases:
            self._write([Returned(lease=lease) for lease in leases])

    def _tell(self, outcome: Outcome) -> None:
        packet_id, name = outcome.lease.packet.packet_id, self._destination
        facts = {"packet_id": packet_id, "destination": name}
        if isinstance(outcome, Delivered):
            log.info("delivered %s to %s", packet_id, name, extra={"facts": {"event": "delivered", **facts}})
            notify(self._observers, lambda one: one.delivered(packet_id, name))
        elif isinstance(outcome, Rejected | Failed):
            event = "rejected" if isinstance(outcome, Rejected) else "failed"
            code, reason = outcome.code, outcome.reason
            facts |= {"event": event, "code": code, "reason": reason}
            log.warning("%s %s at %s: %s: %s", event, packet_id, name, code, reason, extra={"facts": facts})
            if event == "rejected":
                notify(self._observers, lambda one: one.rejected(packet_id, name, code, reason))
