"""``ktpsync doctor``: whether everything agrees, and a damaged outbox made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output


@click.command()
@click.option("--read", is_flag=True, help="Also read every sealed packet and compare its digest.")
@click.option("--rebuild", is_flag=True, help="Set the damaged database aside and make it anew.")
@click.option("--backup", help="With --rebuild: also take what this backup has. Needs --identity.")
@click.option(
    "--identity",
    type=FILE,
    help="With --rebuild --backup: an identity file that opens the backup.",
)
@config_option
@command
def doctor(
    output: Output, *, read: bool, rebuild: bool, backup: str | None, identity: Path | None, config: Path
) -> Exit:
    """Examine the outbox, or make a damaged one anew.

    Without --rebuild nothing is changed: the database, the sealed packets and the audit trail are compared.
    With --rebuild the database is set aside, never deleted, and a new one is made from the sealed packets,
    from what can still be read of the old one, and from a backup. Stop the service first. Files that cannot
    be packets are put into quarantine, with the reason beside them.
    """
    if rebuild:
        return _rebuild(output, config, backup, identity)
    if backup or identity:
        raise click.UsageError("--backup and --identity go with --rebuild.")
    with ktpsync.Office.open(config) as office:
        found = office.outbox.examine(read=read)
        warnings = office.outbox.storage().warnings
    output.complain(found.problems)
    for notice in (*found.notices, *warnings):
        output.say(notice)
    output.say(f"{found.packets} packets, {len(found.problems)} problems.")
    output.result({**attrs.asdict(found), "warnings": list(warnings)})
    return Exit.DAMAGED if found.problems else Exit.DONE


def _rebuild(output: Output, config: Path, backup: str | None, identity: Path | None) -> Exit:
    from ktpsync.office import rebuild_outbox

    if (backup is None) != (identity is None):
        raise click.UsageError("--backup and --identity go together: the state in a backup is sealed.")
    identities = [] if identity is None else read_identities(identity)
    rebuilt, restored = rebuild_outbox(config, backup=backup, identities=identities)
    if rebuilt.aside is not None:
        output.say(f"The damaged database is in {rebuilt.aside}.")
    output.say(
        f"{rebuilt.packets} packets are in the new one, {rebuilt.from_spool} with their sealed file here; the old "
        f"database still told the reference of {rebuilt.recognised} and {rebuilt.receipts} receipts and decisions."
    )
    problems = [f"{name}: {reason}; now in {rebuilt.quarantine}" for name, reason in rebuilt.quarantined]
    problems += [f"{packet_id}: {reason}; it was left as it is" for packet_id, reason in rebuilt.doubtful]
    if restored is not None:
        problems += [
            *restored.problems,
            *(f"{packet_id}: damaged in the backup" for packet_id in restored.damaged),
        ]
        problems += [f"{packet_id}: its bytes are nowhere" for packet_id in restored.missing]
    output.complain(problems)
    output.say(
        "Next: `ktpsync reconcile` asks the centre what it holds, and `ktpsync backup` makes a full backup."
    )
    output.result({**attrs.asdict(rebuilt), "problems": problems})
    return Exit.DAMAGED if problems else Exit.DONE
