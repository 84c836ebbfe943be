"""Serves all destinations of an outbox until it is told to stop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync.clock import SystemClock, utc_from_ms, utc_text
from ktpsync.courier._said import Said
from ktpsync.courier._systemd import tell_systemd, watchdog_seconds
from ktpsync.errors import KtpsyncError
from ktpsync.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.courier._courier import Courier
    from ktpsync.courier._drain import DrainReport
    from ktpsync.outbox import Outbox

log = logging.getLogger("ktpsync.service")

_AFTER_A_CRASH = 30.0
_STUCK_SECONDS = 600.0
"""A courier that was not seen at work for so long hangs: no answer that it waits for takes as long."""


@frozen(kw_only=True)
class Task:
    """Something to do again and again while the service runs, such as polling statuses or a backup.

    Args:
        name: For the log.
        every: Seconds from the end of one run to the start of the next.
        run: What to do. What it raises is logged, and it is run again next time.
    """

    name: str
    every: float
    run: Callable[[], object]


class Service:
    """Runs one courier per destination and the tasks, each in a thread of its own.

    Args:
        outbox: The outbox.
        couriers: One per destination.
        tasks: What else is to be done regularly.
        poll: Seconds after which a courier looks into the outbox again even if nobody woke it: other
            processes submit too.
        health: A file that is rewritten every ``beat`` seconds while all is well; ``None``: none.
        beat: Seconds between two signs of life; fewer where systemd wants them sooner.
        patience: Seconds that a task under way may still take when the service stops.
        clock: The clock to ask.
    """

    def __init__(
        self,
        outbox: Outbox,
        couriers: Sequence[Courier],
        *,
        tasks: Sequence[Task] = (),
        poll: float = 5.0,
        health: Path | None = None,
        beat: float = 15.0,
        patience: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        self._outbox = outbox
        self._couriers = tuple(couriers)
        self._tasks = tuple(tasks)
        self._poll = poll
        self._health = health
        self._beat = min(beat, watchdog_seconds() / 3)
        self._patience = patience
        self._clock = clock or SystemClock()
        self._said = Said(self._clock)
        self._last: dict[str, DrainReport] = {}

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; deliveries under way then finish or are given back.

        A task under way, such as a long backup, may take a little longer and is left behind then: it goes on
        where it was when it is run next. systemd, where it has started this process, is told when it is
        ready, alive and stopping.
        """
        wakes = [threading.Event() for _ in self._couriers]
        threads = [
            threading.Thread(
                target=self._serve, args=(courier, wake, stop), name=f"ktpsync-{courier.destination}"
            )
            for courier, wake in zip(self._couriers, wakes, strict=True)
        ]
        tasks = [
            threading.Thread(target=self._repeat, args=(task, stop), name=f"ktpsync-{task.name}", daemon=True)
            for task in self._tasks
        ]
        for wake in wakes:
            self._outbox.listen(wake)
        try:
            for thread in (*threads, *tasks):
                thread.start()
            tell_systemd("READY=1")
            _event("serving", f"serving {len(self._couriers)} destinations")
            while not stop.wait(self._beat):
                self._sign_of_life()
        finally:
            stop.set()
            tell_systemd("STOPPING=1")
            for wake in wakes:
                wake.set()
            for thread in threads:
                thread.join()
            ends_at = self._clock.monotonic() + self._patience
            for thread in tasks:
                thread.join(max(0.0, ends_at - self._clock.monotonic()))
                if thread.is_alive():
                    log.warning("%s is left behind; it goes on when the service runs again", thread.name)
            for wake in wakes:
                self._outbox.unlisten(wake)
            _event("stopped", "stopped")

    def _serve(self, courier: Courier, wake: threading.Event, stop: threading.Event) -> None:
        name = courier.destination
        while not stop.is_set():
            wake.clear()
            try:
                report = courier.drain(stop)
            except Exception as error:
                # The database may be away for a while; what was claimed comes back when its lease ends.
                if self._said.is_news(f"courier {name}", str(error)):
                    log.exception("the courier of %s stumbled and goes on shortly", name)
                stop.wait(_AFTER_A_CRASH)
                continue
            self._said.forget(f"courier {name}")
            self._tell(report)
            wait = self._poll if report.retry_in is None else min(report.retry_in, self._poll)
            if report.stopped == "empty":
                wake.wait(wait)
            else:
                # New packets do not make a closed destination open.
                stop.wait(wait)

    def _repeat(self, task: Task, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                task.run()
            except KtpsyncError as error:
                if self._said.is_news(task.name, str(error)):
                    log.warning(
                        "%s: %s", task.name, error, extra={"facts": {"event": "task", "task": task.name}}
                    )
            except Exception as error:
                if self._said.is_news(task.name, str(error)):
                    log.exception("%s failed and is tried again", task.name)
            else:
                self._said.forget(task.name)
            stop.wait(task.every)

    def _tell(self, report: DrainReport) -> None:
        before = self._last.get(report.destination)
        self._last[report.destination] = report
        name = report.destination
        facts: dict[str, object] = {"event": "drained", "destination": name}
        if report.delivered or report.rejected or report.failed:
            facts |= {
                "delivered": report.delivered,
                "delivered_bytes": report.delivered_bytes,
                "failed": report.failed,
                "rejected": report.rejected,
                "then": report.stopped,
            }
            log.info(
                "%s: %d delivered (%d bytes), %d failed, %d rejected, then %s",
                name,
                report.delivered,
                report.delivered_bytes,
                report.failed,
                report.rejected,
                report.stopped,
                extra={"facts": facts},
            )
        elif before is None or before.stopped != report.stopped:
            facts["then"] = report.stopped
            why = ""
            if report.stopped in ("paused", "unreachable") and report.trouble:
                why = f": {report.trouble.removeprefix(f'{name}: ')}"
                facts["reason"] = report.trouble
            log.info("%s: %s%s", name, report.stopped, why, extra={"facts": facts})

    def _sign_of_life(self) -> None:
        """Say that all is well, unless a courier hangs: then systemd starts this process anew."""
        now = self._clock.monotonic()
        stuck = [
            courier.destination
            for courier in self._couriers
            if courier.alive_at is not None and now - courier.alive_at > self._longest_silence
        ]
        if stuck:
            if self._said.is_news("stuck", str(stuck)):
                log.error("the couriers of %s hang; no sign of life is given", ", ".join(stuck))
            return
        states = {name: report.stopped for name, report in sorted(self._last.items())}
        told = ", ".join(f"{name} {state}" for name, state in states.items()) or "starting"
        tell_systemd(f"WATCHDOG=1\nSTATUS={told}")
        if self._health is None:
            return
        state = {"at": utc_text(utc_from_ms(self._clock.now_ms())), "destinations": states}
        try:
            write_atomic(self._health, json.dumps(state).encode() + b"\n")
        except OSError as error:
            if self._said.is_news("health", str(error)):
                log.warning("The health file %s cannot be written: %s", self._health, error)

    @property
    def _longest_silence(self) -> float:
        # Between two drains a courier sleeps.
        return _STUCK_SECONDS + self._poll


def _event(event: str, sentence: str) -> None:
    log.info(sentence, extra={"facts": {"event": event}})
