"""The command, and the closing table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import command
from ktpsync.cli._exit import Exit

if TYPE_CHECKING:
    from ktpsync.cli._output import Output


@click.command()
@click.option("--enrollments", type=click.IntRange(2, 100_000), default=50, show_default=True)
@click.option(
    "--sample-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of real biometric files to use. Default: synthetic files of realistic format and size.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where to play it, kept afterwards. Default: a temporary folder, deleted afterwards.",
)
@command
def demo(output: Output, enrollments: int, sample_dir: Path | None, folder: Path | None) -> Exit:
    """Play the outage: the centre goes down, recording goes on, nothing is lost.

    Runs on this machine alone, without network or root. The closing numbers come from asking the
    centre and the disk.
    """
    from ktpsync.cli._demo._story import play

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # The configuration's own paths start from where it lies.
        tally = play(output, folder.resolve(), enrollments=enrollments, sample_dir=sample_dir)
    else:
        with tempfile.TemporaryDirectory(prefix="ktpsync-demo-") as temporary:
            tally = play(output, Path(temporary), enrollments=enrollments, sample_dir=sample_dir)
    output.table(
        "What the centre and the disk say",
        ["", "packets"],
        [
            ["recorded, by the sealed files on the office's disk", tally.recorded],
            ["delivered, by the centre's own list", tally.delivered],
            ["with more than one effect at the centre", tally.repeated],
            ["damaged or changed at the centre", tally.changed],
            ["lost", tally.lost],
            ["restored on the new machine, byte for byte", tally.stored_on_new_machine],
        ],
    )
    output.result(
        {
            "recorded": tally.recorded,
            "delivered": tally.delivered,
            "duplicates_in_effect": tally.repeated,
            "changed": tally.changed,
            "lost": tally.lost,
            "restored": tally.stored_on_new_machine,
            "ok": tally.ok,
        }
    )
    return Exit.DONE if tally.ok else Exit.FAILED
