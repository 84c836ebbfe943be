"""``ktpsync backup``: make a backup, try a restore, make room."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option, names_folder, who_option, why_option
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.cli._long_work import long_work
from ktpsync.clock import local_text
from ktpsync.errors import KtpsyncError
from ktpsync.units import amount, counted, duration

if TYPE_CHECKING:
    from ktpsync.backup import SnapshotReport
    from ktpsync.cli._output import Output


class _Backup(click.Group):
    """A group whose commands may be left out: ``ktpsync backup usb-a`` makes the backup ``usb-a``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Backup, subcommand_metavar="NAME | COMMAND [ARGS]...")
def backup() -> None:
    """Make the backup NAME of the configuration, or work with it.

    `ktpsync backup usb-a` is short for `ktpsync backup make usb-a`.
    """


@backup.command()
@click.argument("name")
@config_option
@command
def make(output: Output, name: str, config: Path) -> Exit:
    """Copy what is new to the backup NAME of the configuration.

    NAME may also be the common name of disks that take turns: then the one that is plugged in is used.
    """
    began = time.monotonic()
    with ktpsync.Office.open(config) as office, long_work(output, "Backing up") as progress:
        report = office.backup(name, progress=progress)
    output.say(_in_words(report, time.monotonic() - began))
    if report.name != name:
        output.say(f"The disk whose turn it is, {report.name}, has it.")
    output.complain((*report.warnings, *report.damaged, *report.found))
    output.result(
        {
            "name": report.name,
            "repository": report.repository,
            "snapshots": list(report.snapshots),
            "packets": report.packets,
            "bytes_written": report.bytes_written,
            "totals": {"packets": report.totals.packets, "bytes": report.totals.bytes},
            "damaged": list(report.damaged),
            "found": list(report.found),
            "warnings": list(report.warnings),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


@backup.command(name="list")
@click.argument("name")
@config_option
@command
def list_(output: Output, name: str, config: Path) -> Exit:
    """List what can be restored from the backup NAME, or from the one in the marked folder NAME of a disk.

    Snapshots of an interrupted first backup are listed too: what they hold is safe.
    """
    if names_folder(name, config):
        found = ktpsync.list_snapshots(Path(name))
    else:
        with ktpsync.Office.open(config) as office:
            found = office.snapshots(name)
    good = [one for one in found if not isinstance(one, KtpsyncError)]
    output.table(
        "Snapshots",
        ["snapshot", "made", "packets", "size", "complete", "station key"],
        [
            [
                one.ref.name,
                local_text(datetime.fromisoformat(one.manifest.created_at)),
                one.manifest.totals.packets,
                amount(one.manifest.totals.bytes),
                "yes" if one.manifest.complete else "no",
                one.signer.key_id,
            ]
            for one in good
        ],
    )
    damaged = [str(one) for one in found if isinstance(one, KtpsyncError)]
    output.complain(damaged)
    output.result(
        {
            "snapshots": [
                {
                    "name": one.ref.name,
                    "created_at": one.manifest.created_at,
                    "kind": one.manifest.kind,
                    "complete": one.manifest.complete,
                    "packets": one.manifest.totals.packets,
                    "bytes": one.manifest.totals.bytes,
                    "station": one.signer.key_id,
                    "lineage": one.manifest.lineage,
                }
                for one in good
            ],
            "damaged": damaged,
        }
    )
    return Exit.DAMAGED if damaged else Exit.DONE


def _in_words(report: SnapshotReport, seconds: float) -> str:
    totals = report.totals
    holds = f"The backup holds {counted(totals.packets, 'packet', 'packets')}, {amount(totals.bytes)}."
    if not report.snapshots:
        return f"Nothing is new since the last backup. {holds}"
    return (
        f"Backed up {counted(report.packets, 'new packet', 'new packets')}, {amount(report.bytes_written)} in "
        f"{duration(seconds)}: snapshot {report.head}. {holds}"
    )


@backup.command()
@click.argument("name")
@click.option("--identity", type=FILE, required=True, help="An identity file of one of the recipients.")
@click.option(
    "--sample", type=click.IntRange(1), default=20, show_default=True, help="Packets to open, at most."
)
@config_option
@command
def drill(output: Output, name: str, identity: Path, sample: int, config: Path) -> Exit:
    """Try a restore of the backup NAME without keeping it: the key opens it, and packets come out whole.

    The date of the last good drill is shown by `ktpsync status`.
    """
    with ktpsync.Office.open(config) as office:
        report = office.drill(name, read_identities(identity), sample=sample)
    output.complain(report.problems)
    words = "a restore would work" if report.ok else counted(len(report.problems), "problem", "problems")
    output.say(
        f"Snapshot {report.snapshot}: {counted(report.records, 'record', 'records')} read, "
        f"{counted(len(report.opened), 'packet', 'packets')} opened: {words}."
    )
    output.result(
        {
            "ok": report.ok,
            "snapshot": report.snapshot,
            "opened": list(report.opened),
            "problems": list(report.problems),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


@backup.command()
@click.argument("name")
@click.option("--dry-run", "-n", is_flag=True, help="Say what would be dropped; drop nothing.")
@click.option("--keep-last", type=click.IntRange(0), help="Keep this many of the newest snapshots.")
@click.option("--keep-daily", type=click.IntRange(0), help="Keep the last one of this many days.")
@click.option("--keep-weekly", type=click.IntRange(0), help="Keep the last one of this many weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), help="Keep the last one of this many months.")
@config_option
@command
def prune(
    output: Output,
    name: str,
    *,
    dry_run: bool,
    keep_last: int | None,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    config: Path,
) -> Exit:
    """Drop old snapshots of the backup NAME, and packets that nobody needs any more.

    Without a --keep option the configuration decides; where it says nothing: 24 last, 7 daily, 5 weekly,
    12 monthly. The last copy of a packet that is not delivered yet always stays.
    """
    from ktpsync.backup import Retention

    counts = (keep_last, keep_daily, keep_weekly, keep_monthly)
    retention = None
    if counts != (None,) * len(counts):
        last, daily, weekly, monthly = (count or 0 for count in counts)
        retention = Retention(last=last, daily=daily, weekly=weekly, monthly=monthly)
    with ktpsync.Office.open(config) as office, long_work(output, "Pruning") as progress:
        report = office.prune(name, retention, dry_run=dry_run, progress=progress)
    output.table(
        "Snapshots",
        ["snapshot", "what becomes of it"],
        [[snapshot, "dropped"] for snapshot in report.dropped]
        + [[snapshot, "kept"] for snapshot in report.kept],
    )
    snapshots = counted(len(report.dropped), "snapshot", "snapshots")
    packets = counted(report.packets_dropped, "packet", "packets")
    freed, kept = amount(report.bytes_freed), counted(len(report.kept), "snapshot", "snapshots")
    if dry_run:
        output.say(f"Would drop {snapshots} and {packets}, {freed}; {kept} would be kept.")
        if report.dropped:
            output.say("A new snapshot that holds everything would be made before.")
    else:
        output.say(f"Dropped {snapshots} and {packets}, {freed}; {kept} kept.")
    output.complain(report.notes)
    output.result(
        {
            "dry_run": report.dry_run,
            "kept": list(report.kept),
            "dropped": list(report.dropped),
            "packs_dropped": report.packs_dropped,
            "packets_dropped": report.packets_dropped,
            "bytes_freed": report.bytes_freed,
            "notes": list(report.notes),
        }
    )
    return Exit.DONE


@backup.command()
@click.argument("name")
@who_option
@why_option
@config_option
@command
def forget(output: Output, name: str, who: str, why: str, config: Path) -> Exit:
    """End the backup NAME for good, after it was taken out of the configuration: its copies count no more.

    What is on the disk stays there. Refused while the disk alone holds packets that may still have to be delivered.
    """
    with ktpsync.Office.open(config) as office:
        office.forget_backup(name, who=who, why=why)
    output.say(f"{name} is forgotten: its copies count no more. What is on the disk stays there.")
    output.result({"backup": name, "forgotten": True})
    return Exit.DONE
