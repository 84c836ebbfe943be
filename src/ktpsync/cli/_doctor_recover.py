"""``ktpsync doctor --recover``: packets in the spool that the database does not know get their rows again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import attrs

from ktpsync.cli._exit import Exit
from ktpsync.cli._output import local_text_of
from ktpsync.units import amount, counted

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.office import RecoveryReport
    from ktpsync.outbox import UnrecordedBytes


def show_unrecorded(output: Output, config: Path, *, since_ms: int | None) -> Exit:
    """Say what would be recovered."""
    from ktpsync.office import find_unrecorded

    report = find_unrecorded(config, since_ms=since_ms)
    for one in report.found:
        if not one.problem:
            output.say(_told(one))
    some = counted(len(report.found) - len(report.problems), "packet", "packets")
    output.say(
        f"{some} would be recovered. Nothing was changed; with --who in the place of --dry-run they get their rows again and "
        "go to all destinations."
    )
    return _end(output, report)


def recover(output: Output, config: Path, *, since_ms: int | None, who: str, why: str) -> Exit:
    """Recover it."""
    from ktpsync.office import recover_packets

    report = recover_packets(config, since_ms=since_ms, who=who, why=why)
    if report.aside is not None:
        output.say(f"The outbox's former tables are in {report.aside}.")
    for one in report.found:
        if one.packet_id in report.taken:
            output.say(_told(one))
    have = counted(len(report.taken), "packet has", "packets have")
    output.say(f"{have} rows again and go to all destinations.")
    if report.taken:
        output.say(
            "Next: `ktpsync reconcile` asks the centre what it holds, and `ktpsync backup` makes a full backup."
        )
    return _end(output, report)


def _told(one: UnrecordedBytes) -> str:
    recorded = local_text_of(uuid.UUID(one.packet_id).int >> 80)
    if one.known:
        return (
            f"Packet {one.packet_id}, recorded {recorded}: the bytes that the database names are not whole, and others are "
            f"({amount(one.size)})."
        )
    return f"Packet {one.packet_id}, recorded {recorded}: not known to the database ({amount(one.size)})."


def _end(output: Output, report: RecoveryReport) -> Exit:
    output.complain(
        f"Packet {one.packet_id}: {one.problem}; it was left as it is." for one in report.problems
    )
    output.result({"found": [attrs.asdict(one) for one in report.found], "recovered": list(report.taken)})
    return Exit.DAMAGED if report.problems else Exit.DONE
