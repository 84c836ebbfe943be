"""What all commands share: their options, and how an error ends them."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import click

from ktpsync.cli._exit import Exit, exit_code
from ktpsync.cli._output import Output
from ktpsync.errors import KtpsyncError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate

P = ParamSpec("P")

DEBUG_VARIABLE: Final = "KTPSYNC_DEBUG"
"""Environment variable: show the traceback of an error that nobody expected, and of every mistake of a plugin."""

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
"""A file that is there already."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("ktpsync.toml"),
    envvar="KTPSYNC_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The office's configuration file, or the folder it is in.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document for a program to read."
)


WHY: Final = "Why, or what was done instead; kept in the audit trail for good, in clear. No names, numbers or dates of persons."

who_option = click.option("--who", required=True, help="Who decides this; kept in the audit trail.")
why_option = click.option("--why", required=True, help=WHY)


def names_folder(name: str, config: Path) -> bool:
    """Return whether a name means the marked folder of a disk: a backup of the configuration goes before one of its name.

    Args:
        name: What was given.
        config: The configuration file, or its folder. It may be missing.
    """
    if not Path(name).is_dir():
        return False
    if Path(name).name != name:
        return True
    from ktpsync.config import load
    from ktpsync.plugins import PluginRegistry

    try:
        backups = load(config, secrets=PluginRegistry.load().secret_sources()).backups
    except KtpsyncError:
        return True
    return name not in {*backups, *(place.settings.rotate for place in backups.values())}


def command(function: Callable[Concatenate[Output, P], Exit]) -> Callable[P, None]:
    """Make a function a command body: add ``--json``, end with its exit code, turn errors into messages."""

    @json_option
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if os.environ.get(DEBUG_VARIABLE):
            _show_mistakes()
        config = kwargs.get("config")
        output = Output(
            as_json=bool(kwargs.pop("as_json")), config=config if isinstance(config, Path) else None
        )
        click.get_current_context().obj = output
        _say_what_is_logged(output)
        try:
            code = function(output, *args, **kwargs)
        except KtpsyncError as error:
            code = exit_code(error)
            output.failure(error, code)
        except BrokenPipeError:
            # Whoever reads has seen enough, as `head` has.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Exit.READER_GONE
        except OSError as error:
            code = Exit.FAILED
            where = f"{error.filename}: " if error.filename else ""
            output.failure(
                OSError(f"{where}{error.strerror or error}. Nothing that was stored is lost."), code
            )
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
            output.failure(
                KtpsyncError(
                    "Stopped. Nothing that was stored is lost; the same command, run again, goes on."
                ),
                code,
            )
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            code = Exit.FAILED
            output.failure(_mistake(error), code)
        sys.exit(code)

    return run


def _say_what_is_logged(output: Output) -> None:
    """Show what the library warns of as remarks of the command, for a program as JSON like all others."""
    import logging

    class Remarks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            output.remark(record.getMessage())

    logger, remarks = logging.getLogger("ktpsync"), Remarks(logging.WARNING)
    logger.addHandler(remarks)
    click.get_current_context().call_on_close(lambda: logger.removeHandler(remarks))


def _show_mistakes() -> None:
    """Show the tracebacks of plugins on standard error, also of those whose mistake only ends in a sentence."""
    import logging

    logging.basicConfig()
    logging.getLogger("ktpsync.plugins").setLevel(logging.DEBUG)


def _mistake(error: Exception) -> KtpsyncError:
    """Say whose mistake an error is that nobody expected; its text may hold what must not be shown."""
    modules = [
        str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    foreign = [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names]
    module = (foreign or modules)[-1]
    return KtpsyncError(
        f"{type(error).__name__} in {module}. This is a mistake of the program or of a plugin, not yours; nothing "
        f"that was stored is lost. Tell the author of {module.partition('.')[0]}; with {DEBUG_VARIABLE}=1 in the "
        "environment the traceback is shown."
    )
