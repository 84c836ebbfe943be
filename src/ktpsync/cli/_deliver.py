"""``ktpsync sync``, ``run`` and ``reconcile``: getting packets to where they belong."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit, exit_code

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.office import DestinationReport, SyncReport


@click.command()
@config_option
@command
def sync(output: Output, config: Path) -> Exit:
    """Deliver what is waiting, once, to all destinations, and take the centre's statuses."""
    with ktpsync.Office.open(config) as office:
        waiting = sum(line.pending + line.leased for line in office.summary())
        with output.progress("Delivering", waiting) as advance:
            report = office.sync(on_delivered=lambda: advance(1))
    output.table(
        "Delivered",
        ["destination", "delivered", "rejected", "still waiting", "why"],
        [
            [line.name, line.delivered, line.rejected, line.waiting, _why(line)]
            for line in report.destinations
        ],
    )
    if not report.destinations:
        output.say("No destinations are configured; name one under [destinations.NAME].")
    output.result(
        {
            "destinations": [
                {
                    "name": line.name,
                    "delivered": line.delivered,
                    "rejected": line.rejected,
                    "waiting": line.waiting,
                    "reason": line.reason,
                }
                for line in report.destinations
            ]
        }
    )
    for line in report.destinations:
        if line.unusable is not None:
            click.echo(f"ktpsync: {line.unusable}", err=True)
    return _sync_exit(report)


@click.command()
@click.option("--log-json", is_flag=True, help="Log one JSON document a line.")
@config_option
@command
def run(output: Output, config: Path, *, log_json: bool) -> Exit:
    """Serve until stopped: deliver, poll statuses, make the backups that are due."""
    from ktpsync.courier import JsonFormatter

    handler = logging.StreamHandler()
    if log_json:
        handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ktpsync.Office.open(config) as office:
        output.say("Serving. Stop with Ctrl-C; what is under way is finished or given back.")
        office.run(stop)
    return Exit.DONE


@click.command()
@config_option
@command
def reconcile(output: Output, config: Path) -> Exit:
    """Ask the centre which packets it holds and mark them, as after a restore. Sends no packet."""
    with ktpsync.Office.open(config) as office:
        report = office.reconcile()
    output.say(f"The centre holds {report.held} packets; {report.marked} of them were not marked here yet.")
    if report.requeued:
        output.say(f"{report.requeued} that were marked as delivered are not there; they wait again.")
    if report.conflicts:
        output.say(f"{report.conflicts} are there with other bytes; see `ktpsync rejected`.")
    output.result(
        {
            "held": report.held,
            "marked": report.marked,
            "requeued": report.requeued,
            "conflicts": report.conflicts,
        }
    )
    return Exit.PERSON if report.conflicts else Exit.DONE


def _why(line: DestinationReport) -> str:
    return "it cannot be used" if line.unusable is not None else line.reason or "-"


def _sync_exit(report: SyncReport) -> Exit:
    for line in report.destinations:
        if line.unusable is not None:
            return exit_code(line.unusable)
    if report.person:
        return Exit.PERSON
    return Exit.WAITING if report.waiting else Exit.DONE
