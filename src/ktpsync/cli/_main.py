"""The command group."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
from pathlib import Path
from typing import Final

import click

from ktpsync.language import ENGLISH, reader_language

_HOME: Final = {
    "init": ("_setup", "init"),
    "keygen": ("_setup", "keygen"),
    "keys": ("_keys", "keys"),
    "rewrap": ("_keys", "rewrap"),
    "disk": ("_disk", "disk"),
    "submit": ("_submit", "submit"),
    "sync": ("_deliver", "sync"),
    "run": ("_deliver", "run"),
    "status": ("_status", "status"),
    "packets": ("_packets", "packets"),
    "rejected": ("_packets", "rejected"),
    "requeue": ("_packets", "requeue"),
    "requeue-rejected": ("_packets", "requeue_rejected"),
    "cancel": ("_packets", "cancel"),
    "handled": ("_packets", "handled"),
    "destination": ("_destination", "destination"),
    "resume": ("_destination", "resume"),
    "reconcile": ("_deliver", "reconcile"),
    "backup": ("_backup", "backup"),
    "verify": ("_verify", "verify"),
    "extract": ("_recover", "extract"),
    "restore": ("_recover", "restore"),
    "audit": ("_audit", "audit"),
    "doctor": ("_doctor", "doctor"),
    "config": ("_config", "config"),
    "plugins": ("_plugins", "plugins"),
    "central": ("_central", "central"),
    "demo": ("_demo", "demo"),
}
"""Commands in the order of the help: each with the module it lives in and its name there."""


_COLLECT_EVERY: Final = (5_000, 100)
"""Objects made before the garbage collector looks at the new ones, and such looks before one at older ones; Python: 700, 10."""


class _Context(click.Context):
    """Writes the help in the reader's language."""

    def make_formatter(self) -> click.HelpFormatter:
        """Return what writes the help."""
        if (language := _language()) == ENGLISH:
            return super().make_formatter()
        from ktpsync.cli._help import Formatter

        return Formatter(language, width=self.terminal_width, max_width=self.max_content_width)


def _language() -> str:
    return reader_language(Path(os.environ.get("KTPSYNC_CONFIG", "ktpsync.toml")))


class _Commands(click.Group):
    """Loads only the command that is called: nobody waits for the others."""

    def __call__(self) -> object:
        """Run as a program of its own: what the script ``ktpsync`` calls.

        The garbage collector takes a fifth of a short command's time otherwise: while modules are loaded, which leaves
        no garbage, and at the end, when all goes at once anyway.
        """
        gc.set_threshold(*_COLLECT_EVERY)
        atexit.register(gc.freeze)
        return self.main()

    context_class = _Context

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(_HOME)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, loaded now."""
        if name not in _HOME:
            return None
        room, attribute = _HOME[name]
        command: click.Command = getattr(importlib.import_module(f"ktpsync.cli.{room}"), attribute)
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            one.context_class = _Context
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a program that asked for JSON reads of a wrong command line there, too."""
        as_json = "--json" in ctx.args
        try:
            result: object = super().invoke(ctx)
        except click.UsageError as first:
            error = _all_missing(first)
            if not as_json:
                # A group without a command shows its help.
                if (language := _language()) == ENGLISH or type(error).__name__ == "NoArgsIsHelpError":
                    raise error from None
                from ktpsync.cli._help import WrongUsage

                raise WrongUsage(error, language) from None
            from ktpsync.cli._output import Output

            Output(as_json=True).failure(click.UsageError(error.format_message()), error.exit_code)
            ctx.exit(error.exit_code)
        return result


class _AllMissing(click.UsageError):
    """Several things are missing on the command line.

    Args:
        sentences: One for each.
        ctx: The command's context.
    """

    def __init__(self, sentences: list[str], ctx: click.Context) -> None:
        super().__init__(" ".join(sentences), ctx)
        self.sentences = sentences


def _all_missing(error: click.UsageError) -> click.UsageError:
    """Return the error with everything that is missing on the command line, not only the first of it."""
    if not isinstance(error, click.MissingParameter) or error.ctx is None:
        return error
    # click has processed what was given before it asks for what was not.
    missing = [
        param for param in error.ctx.command.params if param.required and param.name not in error.ctx.params
    ]
    sentences = [click.MissingParameter(ctx=error.ctx, param=param).format_message() for param in missing]
    return _AllMissing(sentences, error.ctx) if len(sentences) > 1 else error


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="ktpsync")
def main() -> None:
    """Record e-KTP enrolments through outages, and lose none.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 3 work is left for later; 4 a person must look;
    5 damage was found; 6 the records or settings given have problems; 130 stopped with Ctrl-C.
    """
