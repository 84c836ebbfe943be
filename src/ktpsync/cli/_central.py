"""``ktpsync central``: the sandbox centre, for development and demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command
from ktpsync.cli._exit import Exit
from ktpsync.errors import ConfigError
from ktpsync.keys import StationPublicKey

if TYPE_CHECKING:
    from ktpsync.cli._output import Output

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where it keeps its packets.")
@click.option("--identity", type=_FILE, required=True, help="The identity file that opens packets.")
@click.option("--station", "stations", type=_FILE, multiple=True, help="A station's public key; repeatable.")
@click.option(
    "--tokens",
    type=_FILE,
    required=True,
    help="A file with one office a line: its name, white space, its bearer token.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=0, help="Default: a free one, which is printed.")
@click.option("--faults", is_flag=True, help="Allow /sandbox/ requests that play outages.")
@command
def central(
    output: Output,
    folder: Path,
    identity: Path,
    stations: tuple[Path, ...],
    tokens: Path,
    host: str,
    port: int,
    *,
    faults: bool,
) -> Exit:
    """Run a sandbox centre until stopped. Not for real records: it is a stand-in for the real one."""
    try:
        from ktpsync.central import CentralSettings, serve
    except ImportError as error:
        raise ConfigError(
            "The sandbox centre needs more packages: pip install 'ktpsync[central]'."
        ) from error
    settings = CentralSettings(
        folder=folder,
        identities=ktpsync.age.read_identities(identity),
        tokens=_tokens(tokens),
        stations=tuple(StationPublicKey.from_pem(path.read_bytes()) for path in stations),
        faults=faults,
    )

    def ready(bound_port: int) -> None:
        output.say(f"The sandbox centre listens on http://{host}:{bound_port}/")
        output.result({"url": f"http://{host}:{bound_port}/"})

    serve(settings, host=host, port=port, ready=ready)
    return Exit.DONE


def _tokens(path: Path) -> dict[str, str]:
    tokens = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 2:  # noqa: PLR2004 - name and token
            raise ConfigError(f"{path}, line {number}: expected an office's name and its token.")
        tokens[parts[1]] = parts[0]
    return tokens
