"""``ktpsync submit``: folders of captured enrollments into the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.errors import RecordError

if TYPE_CHECKING:
    from ktpsync.cli._output import Output
    from ktpsync.records import Enrollment


@click.command()
@click.argument(
    "paths", type=click.Path(path_type=Path, exists=True, file_okay=False), nargs=-1, required=True
)
@click.option("--urgent", is_flag=True, help="Deliver these before others.")
@click.option("--skip-bad", is_flag=True, help="Submit the good ones even if others have problems.")
@config_option
@command
def submit(output: Output, paths: tuple[Path, ...], *, urgent: bool, skip_bad: bool, config: Path) -> Exit:
    """Submit each folder PATH: its `enrollment.json` and the files it names.

    A PATH without `enrollment.json` is taken as a folder of such folders. All are read and checked first;
    if any has problems, all problems are listed and none is submitted, unless --skip-bad is given.
    """
    good: list[tuple[Path, Enrollment]] = []
    bad: list[tuple[Path, RecordError]] = []
    for folder in _folders(paths):
        try:
            enrollment = ktpsync.records.load_folder(folder)
            ktpsync.records.validate(enrollment)
            good.append((folder, enrollment))
        except RecordError as error:
            bad.append((folder, error))
    for folder, problem in bad:
        click.echo(f"{folder}: {problem}", err=True)
    submitted = []
    if not bad or skip_bad:
        with ktpsync.Office.open(config) as office, output.progress("Sealing", len(good)) as advance:
            for folder, enrollment in good:
                packet = office.submit(enrollment, urgent=urgent)
                submitted.append({"path": folder, "packet_id": packet.packet_id, "sha256": packet.sha256})
                advance(1)
    for line in submitted:
        output.say(f"stored {line['packet_id']}  {line['path']}")
    if bad:
        left = (
            "the good ones were submitted"
            if skip_bad
            else "none was submitted; --skip-bad submits the good ones"
        )
        click.echo(f"{len(bad)} of {len(bad) + len(good)} have problems; {left}.", err=True)
    output.result(
        {
            "submitted": submitted,
            "problems": [{"path": folder, "error": str(problem)} for folder, problem in bad],
        }
    )
    return Exit.BAD_INPUT if bad else Exit.DONE


def _folders(paths: tuple[Path, ...]) -> list[Path]:
    folders = []
    for path in paths:
        if (path / "enrollment.json").exists():
            folders.append(path)
        else:
            inside = sorted(child.parent for child in path.glob("*/enrollment.json"))
            folders += inside or [path]
    return folders
