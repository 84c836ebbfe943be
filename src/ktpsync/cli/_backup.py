"""``ktpsync backup``, ``verify`` and ``restore``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.backup import Progress, ProgressCallback
    from ktpsync.cli._output import Output

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("name")
@config_option
@command
def backup(output: Output, name: str, config: Path) -> Exit:
    """Copy what is new to the backup NAME of the configuration."""
    with ktpsync.Office.open(config) as office, _progress(output, "Backing up") as progress:
        report = office.backup(name, progress=progress)
    if report.snapshots:
        output.say(
            f"Backed up {report.packets} new packets, {report.bytes_written} bytes: snapshot {report.head}."
        )
    else:
        output.say("Nothing is new since the last backup.")
    for line in (*report.warnings, *report.damaged):
        click.echo(f"ktpsync: {line}", err=True)
    output.result(
        {
            "repository": report.repository,
            "snapshots": list(report.snapshots),
            "packets": report.packets,
            "bytes_written": report.bytes_written,
            "damaged": list(report.damaged),
            "warnings": list(report.warnings),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


@click.command()
@click.argument("name")
@click.option("--list", "only_list", is_flag=True, help="Only look whether all is there, in the right sizes.")
@click.option("--open", "identity", type=_FILE, help="Also open every packet with this identity file.")
@config_option
@command
def verify(output: Output, name: str, *, only_list: bool, identity: Path | None, config: Path) -> Exit:
    """Check the backup NAME, or the backup in the marked folder NAME of a disk.

    By default every byte is read back from the medium and compared with its digest; no key is needed.
    """
    from ktpsync.backup import Depth

    depth = Depth.LIST if only_list else Depth.OPEN if identity else Depth.READ
    if Path(name).is_dir() and identity is None:
        report = ktpsync.verify_backup(Path(name), depth=depth)
    else:
        identities = () if identity is None else ktpsync.age.read_identities(identity)
        with ktpsync.Office.open(config) as office, _progress(output, "Verifying") as progress:
            report = office.verify(name, depth=depth, identities=identities, progress=progress)
    for line in report.notes:
        output.say(line)
    for problem in report.problems:
        click.echo(f"ktpsync: {problem}", err=True)
    words = (
        "all good"
        if report.ok
        else f"{len(report.problems)} problems, {len(report.damaged_packets)} packets damaged"
    )
    output.say(
        f"{report.snapshots} snapshots, {report.packets} packets, {report.bytes_read} bytes read: {words}."
    )
    output.result(
        {
            "ok": report.ok,
            "snapshots": report.snapshots,
            "packets": report.packets,
            "bytes_read": report.bytes_read,
            "problems": [str(problem) for problem in report.problems],
            "damaged_packets": list(report.damaged_packets),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


@click.command()
@click.argument("name")
@click.option("--identity", type=_FILE, required=True, help="An identity file of one of the recipients.")
@click.option(
    "--sample", type=click.IntRange(1), default=20, show_default=True, help="Packets to open, at most."
)
@config_option
@command
def drill(output: Output, name: str, identity: Path, sample: int, config: Path) -> Exit:
    """Try a restore of the backup NAME without keeping it: the key opens it, and packets come out whole."""
    with ktpsync.Office.open(config) as office:
        report = office.drill(name, ktpsync.age.read_identities(identity), sample=sample)
    for problem in report.problems:
        click.echo(f"ktpsync: {problem}", err=True)
    words = "a restore would work" if report.ok else f"{len(report.problems)} problems"
    output.say(
        f"Snapshot {report.snapshot}: {report.records} records, {len(report.opened)} packets opened: {words}."
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


@click.command()
@click.argument("source")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True),
    help="A configuration file, such as a copy of the old office's; SOURCE is then a name in [backups].",
)
@click.option(
    "--into", type=click.Path(path_type=Path), required=True, help="The new office's folder; empty."
)
@click.option("--identity", type=_FILE, required=True, help="An identity file of one of the recipients.")
@click.option("--snapshot", help="Which snapshot; the newest if not given.")
@command
def restore(
    output: Output, source: str, config: Path | None, into: Path, identity: Path, snapshot: str | None
) -> Exit:
    """Rebuild an office from the backup in the marked folder SOURCE of a disk.

    Run again after an interruption it goes on where it stopped. Then name the destinations in the new
    ktpsync.toml, give the new station key to the centre, and run `ktpsync reconcile`.
    """
    with _progress(output, "Restoring") as progress:
        report = ktpsync.restore(
            source, into=into, identity=identity, config=config, snapshot=snapshot, progress=progress
        )
    damaged = (f"Packet {packet_id} is damaged in the backup." for packet_id in report.damaged)
    missing = (
        f"Packet {packet_id} is known, but its bytes are not in the backup. Look for them in another backup, "
        "or at its destinations."
        for packet_id in report.missing
    )
    for line in (*report.problems, *damaged, *missing):
        click.echo(f"ktpsync: {line}", err=True)
    output.say(f"Restored {len(report.packet_ids)} packets into {into}.")
    output.say(f"Next: name the destinations in {into / 'ktpsync.toml'}, then run `ktpsync reconcile`.")
    output.result(
        {
            "packets": len(report.packet_ids),
            "damaged": list(report.damaged),
            "missing": list(report.missing),
            "problems": list(report.problems),
            "snapshot": report.head.name,
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


@contextlib.contextmanager
def _progress(output: Output, what: str) -> Iterator[ProgressCallback]:
    """Show bytes; how many there are is known with the first news."""
    with output.progress(what, None, in_bytes=True) as advance:
        done = 0

        def show(news: Progress) -> None:
            nonlocal done
            advance(max(0, news.bytes_done - done), news.bytes_total)
            done = news.bytes_done

        yield show
