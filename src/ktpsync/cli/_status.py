"""``ktpsync status``: where everything stands, and whether a person is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._backup_status import backups_document, show_backups
from ktpsync.cli._command import command, config_option
from ktpsync.cli._destination_state import asks_to_wait_until_ms, in_words
from ktpsync.cli._exit import Exit
from ktpsync.cli._keys import keys_document, show_keys
from ktpsync.cli._output import NO_DESTINATIONS, utc_text_of
from ktpsync.clock import local_text, utc_from_ms, utc_text
from ktpsync.errors import ConfigError
from ktpsync.units import amount, rough_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.courier import Estimate
    from ktpsync.office import KeyState
    from ktpsync.outbox import DestinationSummary, PacketStatus, StorageView


@click.command()
@click.argument("packet_id", required=False)
@config_option
@command
def status(output: Output, packet_id: str | None, config: Path) -> Exit:
    """Show where all packets stand, or everything about one PACKET_ID.

    Ends with code 4 if a person must see to something: rejected packets, a stopped destination, one that cannot be used, a
    disk that is nearly full, a line that is too thin, a backup that is too old, a database that is an older copy. Each
    is told in a sentence.
    """
    with ktpsync.Office.open(config) as office:
        if packet_id is not None:
            return _show_packet(output, office.status(packet_id))
        summary = office.summary()
        lines = [(line, office.estimate(line)) for line in summary]
        storage = office.storage()
        backups = office.backup_states()
        needs = office.attention(summary=summary, backups=backups)
        statuses = office.registration_statuses()
        keys, key_warnings = _keys(office)
    _show_lines(output, lines)
    if statuses:
        output.table("Registration statuses", ["status", "packets"], sorted(statuses.items()))
    show_backups(output, backups)
    show_keys(output, keys)
    output.say(_disk(storage))
    output.warn([*needs, *(warning for warning in key_warnings if warning not in needs)])
    output.result(
        {
            "destinations": [_line_facts(line, estimate) for line, estimate in lines],
            "registration_statuses": statuses,
            "backups": backups_document(backups),
            "disk": {"free": storage.free, "per_day": storage.per_day, "days_left": storage.days_left},
            "keys": keys_document(keys),
            "attention": needs,
        }
    )
    return Exit.PERSON if needs else Exit.DONE


def _keys(office: ktpsync.Office) -> tuple[list[KeyState], list[str]]:
    try:
        return office.key_states(), office.key_warnings()
    except ConfigError:
        # Nothing can be recorded then, which is told with the rest; where the packets stand can still be said.
        return [], []


def _show_lines(output: Output, lines: Sequence[tuple[DestinationSummary, Estimate | None]]) -> None:
    if not lines:
        output.say(NO_DESTINATIONS)
        return
    output.table(
        "Destinations",
        [
            "destination",
            "waiting",
            "delivered",
            "rejected",
            "to send",
            "oldest",
            "all sent by",
            "state",
        ],
        [
            [
                line.state.name,
                line.pending + line.leased,
                line.delivered,
                line.rejected,
                amount(line.open_bytes) if line.open_bytes else "-",
                _when(line.oldest_at),
                _all_sent(estimate, line),
                in_words(line.state, unusable=bool(line.unusable)),
            ]
            for line, estimate in lines
        ],
    )


def _line_facts(line: DestinationSummary, estimate: Estimate | None) -> dict[str, object]:
    return {
        "name": line.state.name,
        "pending": line.pending,
        "leased": line.leased,
        "delivered": line.delivered,
        "rejected": line.rejected,
        "open_bytes": line.open_bytes,
        "oldest_at": None if line.oldest_at is None else utc_text(line.oldest_at),
        "seconds_to_send": None if estimate is None else estimate.seconds,
        "all_sent_at": None if estimate is None else utc_text_of(estimate.gone_at_ms),
        "bytes_per_day": None if estimate is None else estimate.per_day,
        "breaker": line.state.breaker,
        "paused": line.state.paused,
        "failing": line.state.failing,
        "last_error": line.state.last_error,
        "unusable": line.unusable or None,
        "asked_to_wait_until": utc_text_of(asks_to_wait_until_ms(line.state)),
        "set": dict(line.state.settings),
    }


def _all_sent(estimate: Estimate | None, line: DestinationSummary) -> str:
    if not line.open_bytes or estimate is None:
        return "-"
    if estimate.seconds is None:
        return "not known yet"
    if estimate.gone_at_ms is None:
        return f"{rough_duration(estimate.seconds)} of sending once it works"
    return f"{utc_from_ms(estimate.gone_at_ms).astimezone():%Y-%m-%d %H:%M} ({rough_duration(estimate.seconds)} of sending)"


def _disk(storage: StorageView) -> str:
    if storage.away:
        return "Disk: away. Nothing can be recorded, and packets wait."
    if storage.free is None:
        return f"Spool: in storage. In a day {amount(storage.per_day)} are recorded."
    room = f"Disk: {amount(storage.free)} free."
    if storage.days_left is None:
        return room
    days = f"{storage.days_left:.0f}" if storage.days_left < 10_000 else "more than 10000"  # noqa: PLR2004 - decades
    return f"{room} In a day {amount(storage.per_day)} are recorded: {days} days left."


def _show_packet(output: Output, found: PacketStatus) -> Exit:
    packet = found.packet
    output.say(f"Packet {packet.packet_id}: {amount(packet.size)}, SHA-256 {packet.sha256}")
    output.say(
        f"Submitted: {local_text(packet.created_at)}; where its bytes are: {output.words(packet.location)}"
    )
    output.say(f"Registration status: {found.registration_status or 'not known yet'}")
    output.table(
        "Deliveries",
        ["destination", "state", "attempts", "settled", "reason"],
        [
            [line.destination, line.state.value, line.attempts, _when(line.settled_at), line.reason or "-"]
            for line in found.deliveries
        ],
    )
    output.table(
        "History",
        ["when", "what", "destination", "who", "more"],
        [
            [
                _when(utc_from_ms(entry.at_ms)),
                entry.event,
                entry.destination or "-",
                entry.who or "-",
                entry.detail,
            ]
            for entry in found.history
        ],
    )
    output.result(
        {
            "packet_id": packet.packet_id,
            "sha256": packet.sha256,
            "size": packet.size,
            "reference": packet.reference,
            "urgent": packet.urgent,
            "submitted_at": utc_text(packet.created_at),
            "location": packet.location,
            "registration_status": found.registration_status,
            "statuses": [
                {"status": line.status, "changed_at": utc_text(line.changed_at), "note": line.note}
                for line in found.statuses
            ],
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
                {
                    "at_ms": entry.at_ms,
                    "event": entry.event,
                    "destination": entry.destination,
                    "who": entry.who,
                    "detail": json.loads(entry.detail) if entry.detail else {},
                }
                for entry in found.history
            ],
        }
    )
    return Exit.DONE


def _when(moment: datetime | None) -> str:
    return "-" if moment is None else local_text(moment)
