"""``ktpsync restore`` and ``extract``: getting packets back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option, names_folder
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.cli._long_work import long_work
from ktpsync.cli._moment import Moment
from ktpsync.units import amount, counted, duration

if TYPE_CHECKING:
    from ktpsync.backup import RestoreReport, Selection
    from ktpsync.cli._output import Output


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
@click.option("--identity", type=FILE, required=True, help="An identity file of one of the recipients.")
@click.option("--snapshot", help="Which snapshot; the newest if not given.")
@click.option(
    "--packet", "packet_ids", multiple=True, metavar="ID", help="Only this packet; may be repeated."
)
@click.option("--since", type=Moment(), help="Only packets recorded at this date or moment, or later.")
@click.option("--until", type=Moment(), help="Only packets recorded before this date or moment.")
@command
def restore(
    output: Output,
    source: str,
    *,
    config: Path | None,
    into: Path,
    identity: Path,
    snapshot: str | None,
    packet_ids: tuple[str, ...],
    since: int | None,
    until: int | None,
) -> Exit:
    """Rebuild an office from the backup in the marked folder SOURCE of a disk.

    Run again after an interruption it goes on where it stopped. Then name the destinations in the new
    ktpsync.toml, give the new station key to the centre, and run `ktpsync reconcile`.
    """
    began = time.monotonic()
    with long_work(output, "Restoring") as progress:
        report = ktpsync.restore(
            source,
            into=into,
            identity=read_identities(identity),
            config=config,
            snapshot=snapshot,
            selection=_selection(packet_ids, since, until),
            progress=progress,
        )
    output.complain(_complaints(report))
    output.say(
        f"Restored {counted(len(report.packet_ids), 'packet', 'packets')} into {into}: {amount(report.bytes_restored)} in "
        f"{duration(time.monotonic() - began)}, from snapshot {report.head.name}."
    )
    if report.station_key is None:
        output.say(
            "This machine has a key of its own: give data/keys/station.pub.pem in that folder to the centre."
        )
    output.say(
        f"Next: name the destinations and backups in {into / 'ktpsync.toml'}, then run `ktpsync reconcile`."
    )
    output.result(
        {
            "packets": len(report.packet_ids),
            "bytes_restored": report.bytes_restored,
            "damaged": list(report.damaged),
            "missing": list(report.missing),
            "problems": list(report.problems),
            "snapshot": report.head.name,
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED


def _selection(packet_ids: tuple[str, ...], since: int | None, until: int | None) -> Selection | None:
    from ktpsync.backup import Selection

    if not packet_ids and since is None and until is None:
        return None
    return Selection(packet_ids=frozenset(packet_ids), since_ms=since, until_ms=until)


def _complaints(report: RestoreReport) -> tuple[str, ...]:
    damaged = (f"Packet {packet_id} is damaged in the backup." for packet_id in report.damaged)
    missing = (
        f"The bytes of packet {packet_id} are not in this backup. Look for them in another backup, "
        "or at its destinations."
        for packet_id in report.missing
    )
    return (*report.problems, *damaged, *missing)


@click.command()
@click.argument("name")
@click.argument("packet_ids", nargs=-1, required=True, metavar="PACKET_ID...")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@config_option
@command
def extract(output: Output, name: str, packet_ids: tuple[str, ...], into: Path, config: Path) -> Exit:
    """Take single packets out of the backup NAME, or of the one in the marked folder NAME of a disk.

    They stay sealed: each becomes a file PACKET_ID.age, which `age` opens with the recovery identity.
    """
    if names_folder(name, config):
        report = ktpsync.extract_packets(Path(name), packet_ids, into=into)
    else:
        with ktpsync.Office.open(config) as office:
            report = office.extract(name, packet_ids, into)
    for path in report.written.values():
        output.say(str(path))
    output.complain(report.problems)
    output.result(
        {
            "written": {packet_id: str(path) for packet_id, path in report.written.items()},
            "problems": list(report.problems),
        }
    )
    return Exit.DONE if report.ok else Exit.DAMAGED
