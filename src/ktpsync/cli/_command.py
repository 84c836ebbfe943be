"""What all commands share: their options, and how an error ends them."""

from __future__ import annotations

import functools
import sys
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


who_option = click.option("--who", required=True, help="Who decides this; kept in the audit trail.")


def command(function: Callable[Concatenate[Output, P], Exit]) -> Callable[P, None]:
    """Make a function a command body: add ``--json``, end with its exit code, turn errors into messages."""

    @json_option
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        output = Output(as_json=bool(kwargs.pop("as_json")))
        try:
            code = function(output, *args, **kwargs)
        except KtpsyncError as error:
            code = exit_code(error)
            output.failure(error, code)
        except OSError as error:
            code = Exit.FAILED
            where = f"{error.filename}: " if error.filename else ""
            output.failure(
                OSError(f"{where}{error.strerror or error}. Nothing that was stored is lost."), code
            )
        sys.exit(code)

    return run
