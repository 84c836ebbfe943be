"""``ktpsync doctor``: whether everything agrees, and a damaged outbox made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.cli._moment import Moment
from ktpsync.units import counted

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.office import MendedPacket

_PROBLEMS: Final = {
    "damaged": "was damaged",
    "missing": "was missing",
    "quarantined": "was in quarantine and unknown to the database",
    "": "is whole",
}


@click.command()
@click.option("--read", is_flag=True, help="Also read every sealed packet and compare its digest.")
@click.option("--rebuild", is_flag=True, help="Set the damaged database aside and make it anew.")
@click.option("--backup", help="With --rebuild: also take what this backup has. Needs --identity.")
@click.option(
    "--identity",
    type=FILE,
    help="With --rebuild --backup: an identity file that opens the backup.",
)
@click.option("--repair", is_flag=True, help="Bring good copies of damaged and missing packets. Needs --who.")
@click.option(
    "--new-spool",
    is_flag=True,
    help="With --repair or --rebuild: all that was in the spool is lost, and the folder is a new one.",
)
@click.option(
    "--recover",
    is_flag=True,
    help="Give packets in the spool that the database does not know their rows again. Needs --who.",
)
@click.option("--dry-run", is_flag=True, help="With --recover: only say which packets these are.")
@click.option(
    "--since",
    type=Moment(),
    help="With --recover: all packets recorded at this date or moment, or later, also those of transactions that may have "
    "been rolled back.",
)
@click.option("--who", help="With --repair or --recover: who decides this; kept in the audit trail.")
@click.option(
    "--why",
    help="With --repair or --recover: why; kept in the audit trail.  [default: the command, such as ktpsync doctor --repair]",
)
@config_option
@command
def doctor(
    output: Output,
    *,
    read: bool,
    rebuild: bool,
    backup: str | None,
    identity: Path | None,
    repair: bool,
    new_spool: bool,
    recover: bool,
    dry_run: bool,
    since: int | None,
    who: str | None,
    why: str | None,
    config: Path,
) -> Exit:
    """Examine the outbox, mend damaged packets, or make a damaged database anew.

    Without --repair, --rebuild and --recover nothing is changed: the database, the sealed packets and the audit trail are compared.
    With --repair, packets whose files are damaged, missing or in quarantine get good bytes from a backup that is
    plugged in, or from where they were delivered, and go on to where they were set aside; --read looks at every byte for it.
    A spool that lacks all packets is taken for a disk that is not mounted, unless --new-spool says that they are lost.
    With --rebuild the database is set aside, never deleted, and a new one is made from the sealed packets,
    from what can still be read of the old one, and from a backup. Stop the service first. Files that cannot
    be packets are put into quarantine, with the reason beside them.
    With --recover, packets get their rows again that an older copy of the database lacks, or a new one, also where the outbox
    is in the application's own database. Stop recording first. In a folder that is those whose rows are known to have been
    committed; with --since also all that were recorded since then, what a rollback left among them. In storage nothing tells
    what a rollback left, and it is recovered as well.
    """
    if recover or dry_run or since is not None:
        if not recover or read or rebuild or backup or identity or repair or new_spool:
            raise click.UsageError(
                "--recover goes with --since and --dry-run, or with --since, --who and --why, and with nothing else."
            )
        return _recover(output, config, dry_run=dry_run, since=since, who=who, why=why)
    if repair:
        if rebuild or backup or identity:
            raise click.UsageError(
                "--repair goes with --read, --new-spool, --who and --why alone. Rebuild first, then repair."
            )
        if not who:
            raise click.UsageError("--repair needs --who: who decides this is kept in the audit trail.")
        why = why or "ktpsync doctor --repair"
        return _repair(output, config, read=read, new_spool=new_spool, who=who, why=why)
    if who or why:
        raise click.UsageError("--who and --why go with --repair or --recover.")
    if rebuild:
        return _rebuild(output, config, backup, identity, new_spool=new_spool)
    if new_spool:
        raise click.UsageError("--new-spool goes with --repair or --rebuild.")
    if backup or identity:
        raise click.UsageError("--backup and --identity go with --rebuild.")
    return _examine(output, config, read=read)


def _examine(output: Output, config: Path, *, read: bool) -> Exit:
    with ktpsync.Office.open(config) as office:
        found = office.outbox.examine(read=read)
        warnings = office.outbox.storage().warnings
        closed = office.out_of_reach()
    wrong = [*closed, *found.problems]
    output.complain(wrong)
    for notice in (*found.notices, *warnings):
        output.say(notice)
    problems = counted(len(wrong), "problem", "problems")
    output.say(f"{counted(found.packets, 'packet', 'packets')} looked at, {problems}.")
    output.result({**attrs.asdict(found), "out_of_reach": closed, "warnings": list(warnings)})
    if found.problems:
        return Exit.DAMAGED
    return Exit.PERSON if closed else Exit.DONE


def _recover(
    output: Output, config: Path, *, dry_run: bool, since: int | None, who: str | None, why: str | None
) -> Exit:
    from ktpsync.cli import _doctor_recover

    if dry_run:
        if who or why:
            raise click.UsageError("--dry-run changes nothing, and needs no --who and --why.")
        return _doctor_recover.show_unrecorded(output, config, since_ms=since)
    if not who:
        raise click.UsageError("--recover needs --who: who decides this is kept in the audit trail.")
    return _doctor_recover.recover(
        output, config, since_ms=since, who=who, why=why or "ktpsync doctor --recover"
    )


def _repair(output: Output, config: Path, *, read: bool, new_spool: bool, who: str, why: str) -> Exit:
    with ktpsync.Office.open(config) as office:
        report = office.mend(read=read, new_spool=new_spool, who=who, why=why)
    for mended in report.packets:
        if mended.whole:
            output.say(_mended(mended))
    left = [mended for mended in report.packets if not mended.whole]
    output.complain(
        f"Packet {mended.packet_id} {_PROBLEMS[mended.problem]}, and no good copy was found."
        if mended.source is None
        else f"Packet {mended.packet_id} {_PROBLEMS[mended.problem]}, and the good copy from {mended.source} could not be "
        f"put back: {mended.failure}"
        for mended in left
    )
    if left:
        asked = ", ".join(name for name in report.asked if name not in report.away) or "none"
        output.complain([f"Looked into: {asked}."])
        output.complain(
            f"{name} could not be read: {reason} Run this again when it can be."
            for name, reason in report.away.items()
        )
    if report.packets:
        whole = counted(len(report.packets) - len(left), "packet is", "packets are")
        output.say(f"{whole} whole again; not mended: {len(left)}.")
    else:
        output.say("No packet is to be mended.")
    output.result(
        {
            "packets": [{**attrs.asdict(mended), "whole": mended.whole} for mended in report.packets],
            "asked": list(report.asked),
            "away": dict(report.away),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


def _mended(mended: MendedPacket) -> str:
    told = _PROBLEMS[mended.problem]
    if mended.source is not None:
        told = f"{told}: a good copy from {mended.source} is in its place now"
    if mended.requeued:
        return f"Packet {mended.packet_id} {told}; it goes on to {', '.join(mended.requeued)}."
    return f"Packet {mended.packet_id} {told}."


def _rebuild(
    output: Output, config: Path, backup: str | None, identity: Path | None, *, new_spool: bool
) -> Exit:
    from ktpsync.office import rebuild_outbox

    if (backup is None) != (identity is None):
        raise click.UsageError("--backup and --identity go together: the state in a backup is sealed.")
    identities = [] if identity is None else read_identities(identity)
    rebuilt, restored = rebuild_outbox(config, backup=backup, identities=identities, new_spool=new_spool)
    if rebuilt.aside is not None:
        output.say(f"The damaged database is in {rebuilt.aside}.")
    output.say(
        f"Packets in the new one: {rebuilt.packets}, of them with their sealed file here: {rebuilt.from_spool}. The "
        f"old database still told references: {rebuilt.recognised}, receipts and decisions: {rebuilt.receipts}."
    )
    if rebuilt.left:
        output.say(
            f"{counted(rebuilt.left, 'file', 'files')} older than 24 hours without a row, left where they are: most likely a "
            "rollback's. `ktpsync doctor --recover --since DATE --dry-run` names them."
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
    if rebuilt.quarantined:
        output.say("`ktpsync doctor --repair` looks for good copies of the packets in quarantine.")
    output.say(
        "Next: `ktpsync reconcile` asks the centre what it holds, and `ktpsync backup` makes a full backup."
    )
    output.result({**attrs.asdict(rebuilt), "problems": problems})
    return Exit.DAMAGED if problems else Exit.DONE
