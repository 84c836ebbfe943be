"""``ktpsync verify``: is the backup really there, and what can mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option, names_folder
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.cli._long_work import long_work
from ktpsync.units import amount, counted

if TYPE_CHECKING:
    from ktpsync.backup import RepairReport, VerifyReport
    from ktpsync.cli._output import Output


@click.command()
@click.argument("name")
@click.option("--list", "only_list", is_flag=True, help="Only look whether all is there, in the right sizes.")
@click.option("--open", "identity", type=FILE, help="Also open every packet with this identity file.")
@click.option(
    "--repair-from",
    "sources",
    multiple=True,
    metavar="PLACE",
    help="Bring good copies of what is damaged from here: `spool`, another backup, or a destination such as "
    "the centre. May be given several times, the best place first.",
)
@config_option
@command
def verify(
    output: Output,
    name: str,
    *,
    only_list: bool,
    identity: Path | None,
    sources: tuple[str, ...],
    config: Path,
) -> Exit:
    """Check the backup NAME, or the backup in the marked folder NAME of a disk.

    By default every byte is read back from the medium and compared with its digest; no key is needed. Ends with code 3 if
    all is whole, and with --open some packets are still sealed to recipients from before; with --repair-from also if damage
    is left and one of the places could not be asked.
    """
    from ktpsync.backup import Depth

    if sources and (only_list or identity):
        raise click.UsageError("--repair-from reads everything; --list and --open do not go with it.")
    depth = Depth.LIST if only_list else Depth.OPEN if identity else Depth.READ
    mended = None
    if identity is None and not sources and names_folder(name, config):
        with long_work(output, "Verifying") as progress:
            report = ktpsync.verify_backup(Path(name), depth=depth, progress=progress)
    else:
        identities = () if identity is None else read_identities(identity)
        with ktpsync.Office.open(config) as office, long_work(output, "Verifying") as progress:
            if sources:
                mended, report = office.repair(name, sources, progress=progress)
            else:
                report = office.verify(name, depth=depth, identities=identities, progress=progress)
    if mended is not None:
        _say_mended(output, mended)
    return _say_found(output, report, mended)


def _say_mended(output: Output, mended: RepairReport) -> None:
    for key in mended.repaired:
        output.say(f"Repaired: {key}")
    output.complain(f"not repaired: {line}" for line in mended.unrepaired)
    if mended.unrepaired:
        output.complain(
            f"{name} could not be asked for good copies: {reason} Run this again when it can be."
            for name, reason in mended.away.items()
        )


def _say_found(output: Output, report: VerifyReport, mended: RepairReport | None) -> Exit:
    for line in report.notes:
        output.say(line)
    output.complain(report.problems)
    if report.older or report.older_snapshots:
        told = (
            f"{counted(len(report.older), 'packet', 'packets')} and "
            f"{counted(len(report.older_snapshots), 'snapshot', 'snapshots')} are whole and not yet rewrapped: "
            "they are sealed to the recipients from before, and open with the former key alone. Keep that key, and run "
            "`ktpsync rewrap` until it ends with code 0."
        )
        output.warn([told])
    words = "all good"
    if not report.ok:
        problems = counted(len(report.problems), "problem", "problems")
        words = f"{problems}, {counted(len(report.damaged_packets), 'packet', 'packets')} damaged"
    empty = report.ok and not report.snapshots
    if empty:
        output.say(
            "There is no snapshot in this backup yet: nothing could be restored from it. Make one first."
        )
    else:
        output.say(
            f"{counted(report.snapshots, 'snapshot', 'snapshots')}, {counted(report.packets, 'packet', 'packets')}, "
            f"{amount(report.bytes_read)} read: {words}."
        )
    output.result(
        {
            "ok": report.ok,
            "snapshots": report.snapshots,
            "packets": report.packets,
            "bytes_read": report.bytes_read,
            "problems": [str(problem) for problem in report.problems],
            "damaged_packets": list(report.damaged_packets),
            "not_yet_rewrapped": {"packets": list(report.older), "snapshots": list(report.older_snapshots)},
            "repaired": [] if mended is None else list(mended.repaired),
            "unrepaired": [] if mended is None else list(mended.unrepaired),
            "away": {} if mended is None else dict(mended.away),
        }
    )
    if empty:
        return Exit.PERSON
    if mended is not None and mended.unrepaired and mended.away:
        return Exit.WAITING
    if not report.ok:
        return Exit.DAMAGED
    return Exit.WAITING if report.older or report.older_snapshots else Exit.DONE
