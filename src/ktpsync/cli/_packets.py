"""``ktpsync packets``, ``rejected``, ``requeue``, ``cancel`` and ``handled``: packets, and what people decide."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import WHY, command, config_option, who_option
from ktpsync.cli._exit import Exit
from ktpsync.cli._output import NO_DESTINATIONS
from ktpsync.clock import utc_text
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.outbox import DeliveryView

_STATES = ("pending", "leased", "delivered", "rejected", "cancelled", "handled")

_why = click.option("--why", required=True, help=WHY)


def _decision(function: Callable[..., Exit]) -> Callable[..., None]:
    """Make a function the body of a command in which a person decides on one delivery."""
    decide = config_option(command(function))
    for add in (_why, who_option, click.argument("destination"), click.argument("packet_id")):
        decide = add(decide)
    return decide


@click.command()
@click.option("--destination", help="Only deliveries to this destination.")
@click.option("--state", type=click.Choice(_STATES), help="Only deliveries in this state.")
@click.option(
    "--status", "status", metavar="STATUS", help="Only packets with this registration status at the centre."
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many to show, at most."
)
@config_option
@command
def packets(
    output: Output, destination: str | None, state: str | None, status: str | None, limit: int, config: Path
) -> Exit:
    """List packets with where each stands, oldest first."""
    from ktpsync.outbox import DeliveryState

    wanted = None if state is None else DeliveryState(state)
    with ktpsync.Office.open(config) as office:
        deliveries = office.deliveries(destination, wanted, registration_status=status)
        found = list(itertools.islice(deliveries, limit + 1))
        configured = bool(office.destinations())
    shown = found[:limit]
    output.table(
        "Packets",
        ["packet", "destination", "state", "attempts", "reason"],
        [
            [line.packet_id, line.destination, line.state.value, line.attempts, line.reason or "-"]
            for line in shown
        ],
    )
    if not configured:
        output.say(NO_DESTINATIONS)
    if len(found) > limit:
        output.say(f"There are more than these {limit}; see --limit.")
    output.result({"packets": [_facts(line) for line in shown], "more": len(found) > limit})
    return Exit.DONE


@click.command()
@config_option
@command
def rejected(output: Output, config: Path) -> Exit:
    """List the deliveries that a destination refused, with its reasons."""
    with ktpsync.Office.open(config) as office:
        found = list(office.rejected())
    output.table(
        "Rejected",
        ["packet", "destination", "code", "reason"],
        [[line.packet_id, line.destination, line.code or "-", line.reason or "-"] for line in found],
    )
    if not found:
        output.say("Nothing is rejected.")
    output.result(
        {
            "rejected": [
                {
                    "packet_id": line.packet_id,
                    "destination": line.destination,
                    "code": line.code,
                    "reason": line.reason,
                    "since": None if line.settled_at is None else utc_text(line.settled_at),
                }
                for line in found
            ]
        }
    )
    return Exit.PERSON if found else Exit.DONE


@click.command()
@_decision
def requeue(output: Output, packet_id: str, destination: str, who: str, why: str, config: Path) -> Exit:
    """Deliver PACKET_ID to DESTINATION again after it was rejected. Its history is kept."""
    with ktpsync.Office.open(config) as office:
        office.requeue(packet_id, destination, who=who, why=why)
    output.say(f"{packet_id} waits for {destination} again.")
    output.result({"packet_id": packet_id, "destination": destination})
    return Exit.DONE


@click.command("requeue-rejected")
@click.argument("destination")
@click.option("--code", help="Only those rejected with this code; `ktpsync rejected` shows it.")
@who_option
@_why
@config_option
@command
def requeue_rejected(
    output: Output, destination: str, code: str | None, who: str, why: str, config: Path
) -> Exit:
    """Deliver all packets that DESTINATION rejected again, as after a mistake was corrected there."""
    with ktpsync.Office.open(config) as office:
        found = office.requeue_rejected(destination, who=who, why=why, code=code)
    output.say(f"{counted(len(found), 'packet waits', 'packets wait')} for {destination} again.")
    output.result({"destination": destination, "packets": found})
    return Exit.DONE


@click.command()
@_decision
def cancel(output: Output, packet_id: str, destination: str, who: str, why: str, config: Path) -> Exit:
    """Decide that PACKET_ID does not go to DESTINATION. Its bytes and history are kept."""
    with ktpsync.Office.open(config) as office:
        office.cancel(packet_id, destination, who=who, why=why)
    output.say(f"{packet_id} does not go to {destination}.")
    output.result({"packet_id": packet_id, "destination": destination})
    return Exit.DONE


@click.command()
@_decision
def handled(output: Output, packet_id: str, destination: str, who: str, why: str, config: Path) -> Exit:
    """Note that PACKET_ID reached DESTINATION in another way, such as on a disk that was handed over."""
    with ktpsync.Office.open(config) as office:
        office.handled(packet_id, destination, who=who, why=why)
    output.say(f"{packet_id} is settled at {destination}.")
    output.result({"packet_id": packet_id, "destination": destination})
    return Exit.DONE


def _facts(line: DeliveryView) -> dict[str, object]:
    return {
        "packet_id": line.packet_id,
        "destination": line.destination,
        "state": line.state.value,
        "attempts": line.attempts,
        "failures": line.failures,
        "code": line.code,
        "reason": line.reason,
        "settled_at": None if line.settled_at is None else utc_text(line.settled_at),
    }
