"""``ktpsync audit``: the trail of what was done, by whom, and proof that nothing is missing from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.units import counted

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output


@click.group()
def audit() -> None:
    """Check and export the audit trail."""


@audit.command()
@config_option
@command
def verify(output: Output, config: Path) -> Exit:
    """Check the hash chain from its first entry to its end."""
    with ktpsync.Office.open(config) as office:
        report = office.outbox.audit.verify()
    output.complain(report.problems)
    words = "nothing was changed or removed"
    if report.problems:
        words = counted(len(report.problems), "problem", "problems")
    output.say(f"{counted(report.entries, 'entry', 'entries')} in the audit trail: {words}.")
    for last in report.former:
        output.say(
            f"The trail goes on from a part of another one that had {last} entries. That one is in the database that was set "
            "aside, or in the backup that this office was restored from."
        )
    output.result(
        {"entries": report.entries, "problems": list(report.problems), "former": list(report.former)}
    )
    return Exit.DAMAGED if report.problems else Exit.DONE


@audit.command()
@config_option
@command
def export(_output: Output, config: Path) -> Exit:
    """Print all entries, one JSON document a line."""
    with ktpsync.Office.open(config) as office:
        for entry in office.outbox.audit.entries():
            click.echo(json.dumps(attrs.asdict(entry)))
    return Exit.DONE
