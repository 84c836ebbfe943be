"""``ktpsync config``: is the file right, and what may stand in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.units import counted

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output


@click.group()
def config() -> None:
    """Check the configuration file, and describe what may stand in it."""


@config.command("check")
@config_option
@command
def config_check(output: Output, config: Path) -> Exit:
    """List every problem of the configuration at once, those of its backends' settings too. Opens nothing."""
    from ktpsync.config import check, exposed, notices
    from ktpsync.office import backups_left
    from ktpsync.plugins import PluginRegistry

    registry = PluginRegistry.load()
    problems = check(config, registry)
    for problem in problems:
        output.say(f"- {problem}")
    if problems:
        output.say(f"{config}: {counted(len(problems), 'problem', 'problems')}.")
    else:
        output.say(f"{config} is right. `ktpsync plugins --check NAME` opens a destination or backup.")
    doubtful = [] if problems else notices(config, registry)
    for sentence in doubtful:
        output.say(sentence)
    left = [] if problems else backups_left(config)
    for name in left:
        output.say(
            f"The backup {name} was made before and is not in {config} any more; its copies still count. Put it back, or run "
            f"`ktpsync backup forget {name}`."
        )
    open_secrets = exposed(config, registry)
    for sentence in open_secrets:
        output.say(sentence)
    output.result({"problems": problems, "notices": doubtful, "backups_left": left, "exposed": open_secrets})
    return Exit.BAD_INPUT if problems else Exit.DONE


@config.command("schema")
@command
def config_schema(output: Output) -> Exit:
    """Print the JSON Schema of the whole file, with the settings of all installed backends, for editors.

    Save it beside the file and put `#:schema ktpsync.schema.json` on the file's first line: editors that know
    TOML then complete and check it.
    """
    from ktpsync.config import schema
    from ktpsync.plugins import PluginRegistry

    found = schema(PluginRegistry.load())
    click.echo(json.dumps(found.document, indent=2))
    output.complain(f"left out: {line}" for line in found.left_out)
    return Exit.DONE
