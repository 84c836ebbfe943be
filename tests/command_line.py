"""The command line run in this process, as several test modules do it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen
from click.testing import CliRunner

from ktpsync.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

DONE, FAILED, USAGE, WAITING, PERSON, DAMAGED, BAD_INPUT = range(7)
"""The exit codes as they are documented."""


@frozen
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the JSON document on standard output."""
        return json.loads(self.out)


def invoke(*arguments: object, typed: str = "") -> Result:
    """Run a command, with what is typed at its questions; what it should have caught is raised here."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run(*arguments: object, typed: str = "") -> Answer:
    """Run a command as :func:`invoke` does, and return what it gave."""
    result = invoke(*arguments, typed=typed)
    return Answer(result.exit_code, result.stdout, result.stderr)


def every_command(
    command: click.Command = main, *path: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and all below it, each with the words that call it; groups before what is in them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every_command(below, *path, name)
