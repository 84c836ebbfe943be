"""``ktpsync status``, ``rejected`` and ``requeue``: what became of packets, and what a person decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._backup_status import backups_document, say_backups
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.clock import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.outbox import DestinationSummary, PacketStatus


def _decision(function: Callable[..., Exit]) -> Callable[..., None]:
    """Make a function the body of a command in which a person decides on one delivery."""
    decide = config_option(command(function))
    for add in (
        click.option(
            "--why",
            required=True,
            help="Why, or what was done instead; kept in the audit trail. No personal data.",
        ),
        click.option("--who", required=True, help="Who decides this; kept in the audit trail."),
        click.argument("destination"),
        click.argument("packet_id"),
    ):
        decide = add(decide)
    return decide


@click.command()
@click.argument("packet_id", required=False)
@config_option
@command
def status(output: Output, packet_id: str | None, config: Path) -> Exit:
    """Show where all packets stand, or everything about one PACKET_ID."""
    with ktpsync.Office.open(config) as office:
        if packet_id is not None:
            return _show_packet(output, office.status(packet_id))
        summary = office.summary()
        backups = office.backup_states()
        statuses = office.registration_statuses()
    output.table(
        "Destinations",
        ["destination", "waiting", "delivered", "rejected", "bytes to send", "oldest", "state"],
        [
            [
                line.state.name,
                line.pending + line.leased,
                line.delivered,
                line.rejected,
                line.open_bytes,
                _when(line.oldest_at),
                _destination_state(line),
            ]
            for line in summary
        ],
    )
    if statuses:
        output.table("Registration statuses", ["status", "packets"], sorted(statuses.items()))
    alarm = say_backups(output, backups)
    output.result(
        {
            "destinations": [
                {
                    "name": line.state.name,
                    "pending": line.pending,
                    "leased": line.leased,
                    "delivered": line.delivered,
                    "rejected": line.rejected,
                    "open_bytes": line.open_bytes,
                    "oldest_at": None if line.oldest_at is None else utc_text(line.oldest_at),
                    "breaker": line.state.breaker,
                    "paused": line.state.paused,
                    "last_error": line.state.last_error,
                }
                for line in summary
            ],
            "registration_statuses": statuses,
            "backups": backups_document(backups),
        }
    )
    person = alarm or any(line.rejected or line.state.paused for line in summary)
    return Exit.PERSON if person else Exit.DONE


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
@click.argument("packet_id")
@click.argument("destination")
@click.option("--who", required=True, help="Who decides this; kept in the audit trail.")
@click.option(
    "--why", required=True, help="What was done instead; kept in the audit trail. No personal data."
)
@config_option
@command
def handled(output: Output, packet_id: str, destination: str, who: str, why: str, config: Path) -> Exit:
    """Note that PACKET_ID reached DESTINATION in another way, such as on a disk that was handed over."""
    with ktpsync.Office.open(config) as office:
        office.handled(packet_id, destination, who=who, why=why)
    output.say(f"{packet_id} is settled at {destination}.")
    output.result({"packet_id": packet_id, "destination": destination})
    return Exit.DONE


def _show_packet(output: Output, found: PacketStatus) -> Exit:
    packet = found.packet
    output.say(f"Packet {packet.packet_id}: {packet.size} bytes, SHA-256 {packet.sha256}")
    output.say(f"submitted {utc_text(packet.created_at)}; bytes: {packet.location}")
    output.say(f"registration status: {found.registration_status or 'not known yet'}")
    output.table(
        "Deliveries",
        ["destination", "state", "attempts", "settled", "reason"],
        [
            [line.destination, line.state.value, line.attempts, _when(line.settled_at), line.reason or "-"]
            for line in found.deliveries
        ],
    )
    output.result(
        {
            "packet_id": packet.packet_id,
            "sha256": packet.sha256,
            "size": packet.size,
            "reference": packet.reference,
            "submitted_at": utc_text(packet.created_at),
            "location": packet.location,
            "registration_status": found.registration_status,
            "deliveries": [
                {
                    "destination": line.destination,
                    "state": line.state.value,
                    "attempts": line.attempts,
                    "code": line.code,
                    "reason": line.reason,
                    "settled_at": None if line.settled_at is None else utc_text(line.settled_at),
                }
                for line in found.deliveries
            ],
            "history": [
                {"at_ms": entry.at_ms, "event": entry.event, "destination": entry.destination}
                for entry in found.history
            ],
        }
    )
    return Exit.DONE


def _destination_state(line: DestinationSummary) -> str:
    if line.state.paused is not None:
        return f"stopped: {line.state.paused}"
    if line.state.breaker != "closed":
        return f"out of reach: {line.state.last_error or 'no answer'}"
    return "working"


def _when(moment: datetime | None) -> str:
    return "-" if moment is None else utc_text(moment)
