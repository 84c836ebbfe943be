"""``ktpsync sync``, ``run`` and ``reconcile``: getting packets to where they belong."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit, exit_code
from ktpsync.cli._output import NO_DESTINATIONS, utc_text_of
from ktpsync.units import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from ktpsync.cli._output import Advance, Output
    from ktpsync.office import DestinationReport, SyncReport

_LOG_BYTES = 10_000_000
_LOG_FILES = 5
_LINE_SECONDS = 30.0


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="Start nothing new after so long; what is under way may finish for 20 seconds more.",
)
@config_option
@command
def sync(output: Output, timeout: float | None, config: Path) -> Exit:
    """Deliver what is waiting, once, to all destinations, and take the centre's statuses.

    Also asked is a destination that was out of reach a moment ago. One that has asked to wait is left alone until
    then; `ktpsync resume` lets it be asked before.
    """
    stop = threading.Event()
    with ktpsync.Office.open(config) as office:
        waiting = sum(line.pending + line.leased for line in office.summary())
        with output.progress("Delivering", waiting) as advance, _alarm(timeout, stop):
            going = _Going(output, waiting, advance)
            with going:
                report = office.sync(on_delivered=going.on, stop=stop)
    output.table(
        "Delivered",
        ["destination", "delivered", "rejected", "still waiting", "why"],
        [
            [line.name, line.delivered, line.rejected, line.waiting, _why(line)]
            for line in report.destinations
        ],
    )
    if not report.destinations:
        output.say(NO_DESTINATIONS)
    output.result(
        {
            "destinations": [
                {
                    "name": line.name,
                    "delivered": line.delivered,
                    "rejected": line.rejected,
                    "waiting": line.waiting,
                    "reason": line.reason,
                    "asked_to_wait_until": utc_text_of(line.throttled_until_ms),
                }
                for line in report.destinations
            ]
        }
    )
    output.complain(line.unusable for line in report.destinations if line.unusable is not None)
    return _sync_exit(report)


@click.command()
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Log into this file as well; five older ones of 10 MB are kept beside it.",
)
@config_option
@command
def run(output: Output, config: Path, *, log_file: Path | None) -> Exit:
    """Serve until stopped: deliver, poll statuses, make the backups that are due.

    With --json each event is one line of JSON on standard output. SIGTERM or Ctrl-C stops: what is under way is
    finished or given back.
    """
    _log_to(output, log_file)
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):  # SIGBREAK is Windows' own
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    with ktpsync.Office.open(config) as office:
        output.say("Serving. Stop with Ctrl-C; what is under way is finished or given back.")
        office.run(stop)
    return Exit.DONE


def _log_to(output: Output, log_file: Path | None) -> None:
    import logging.handlers

    from ktpsync.courier import JsonFormatter

    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout if output.as_json else sys.stderr)]
    if log_file is not None:
        handlers.append(
            logging.handlers.RotatingFileHandler(
                log_file, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8", delay=True
            )
        )
    for handler in handlers:
        if output.as_json:
            handler.setFormatter(JsonFormatter())
        else:
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger(
        "ktpsync"
    ).handlers.clear()  # all of it goes into the log, which is this command's output
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)


@click.command()
@config_option
@command
def reconcile(output: Output, config: Path) -> Exit:
    """Ask the centre which packets it holds and mark them, as after a restore. Sends no packet."""
    with ktpsync.Office.open(config) as office:
        report = office.reconcile()
    output.say(
        f"The centre holds {counted(report.held, 'packet', 'packets')}. Not marked here before: {report.marked}."
    )
    if report.requeued:
        output.say(f"Marked as delivered and not there: {report.requeued}. They wait again.")
    if report.conflicts:
        output.say(f"There with other bytes: {report.conflicts}. See `ktpsync rejected`.")
    output.result(
        {
            "held": report.held,
            "marked": report.marked,
            "requeued": report.requeued,
            "conflicts": report.conflicts,
        }
    )
    return Exit.PERSON if report.conflicts else Exit.DONE


@contextlib.contextmanager
def _alarm(seconds: float | None, stop: threading.Event) -> Iterator[None]:
    """Set an event after so many seconds, if there is a limit."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Going:
    """Tells how far deliveries have come; where no bar can be seen in a line each half minute, also while all is silent."""

    def __init__(self, output: Output, waiting: int, advance: Advance) -> None:
        self._output = output
        self._waiting = waiting
        self._advance = advance
        self._delivered = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def on(self) -> None:
        """Count a packet that was delivered."""
        self._delivered += 1
        self._advance(1)

    def __enter__(self) -> Self:
        if not self._output.for_a_person:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()

    def _tell(self) -> None:
        while not self._over.wait(_LINE_SECONDS):
            self._output.say(f"Delivered so far: {self._delivered} of {self._waiting}. Still at work.")


def _why(line: DestinationReport) -> str:
    return "it cannot be used" if line.unusable is not None else line.reason or "-"


def _sync_exit(report: SyncReport) -> Exit:
    for line in report.destinations:
        if line.unusable is not None:
            return exit_code(line.unusable)
    if report.person:
        return Exit.PERSON
    return Exit.WAITING if report.waiting else Exit.DONE
