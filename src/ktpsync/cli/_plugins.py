"""``ktpsync plugins``: what is installed, why one is not used, whether it works, and how to start one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import command, config_option, json_option
from ktpsync.cli._exit import Exit, exit_code

if TYPE_CHECKING:
    from ktpsync.cli._output import Output
    from ktpsync.office import PlaceCheck
    from ktpsync.plugins import PluginInfo


@click.group(invoke_without_command=True)
@click.option(
    "--check", "name", metavar="NAME", help="Open a destination, a backup, or all that use a plugin."
)
@config_option
@json_option
@click.pass_context
def plugins(context: click.Context, /, **options: object) -> None:
    """List plugins and what they offer; nothing of them is imported but their announcement.

    With --check NAME open what the configuration names, ask how it is, and show what was found. No packet is
    stored in it.
    """
    if context.invoked_subcommand is None:
        _show(**options)  # type: ignore[arg-type]  # click gives what the options say


@plugins.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder to make ktpsync-NAME in.  [default: the current one]",
)
@command
def new(output: Output, name: str, into: Path) -> Exit:
    """Write the skeleton of a backend plugin NAME: a package, with tests that pass."""
    from ktpsync.cli._skeleton import write_skeleton

    folder = write_skeleton(name, into)
    output.say(f"The plugin is in {folder}. Next:")
    output.say(f'  pip install -e "{folder}[test]"')
    output.say(f'  pytest "{folder}"')
    output.say("Then put your server in the place of the folder in backend.py.")
    output.result({"folder": folder})
    return Exit.DONE


@command
def _show(output: Output, name: str | None, config: Path) -> Exit:
    return _list(output) if name is None else _check(output, name, config)


def _list(output: Output) -> Exit:
    from ktpsync.plugins import PluginRegistry

    infos = PluginRegistry.load().plugins()
    output.table(
        "Plugins",
        ["plugin", "distribution", "version", "api", "offers", "state"],
        [
            [
                info.name,
                info.distribution,
                info.version,
                "-" if info.api_version is None else info.api_version,
                _offers(info),
                info.rejected or "; ".join(("usable", *info.notes)),
            ]
            for info in infos
        ],
    )
    output.result(
        {
            "plugins": [
                {
                    "plugin": info.name,
                    "distribution": info.distribution,
                    "version": info.version,
                    "api_version": info.api_version,
                    "backends": info.backends,
                    "secret_providers": info.secret_providers,
                    "observes": info.observes,
                    "rejected": info.rejected,
                    "notes": info.notes,
                }
                for info in infos
            ]
        }
    )
    return Exit.PERSON if any(info.rejected and not info.disabled for info in infos) else Exit.DONE


def _offers(info: PluginInfo) -> str:
    offered = [
        *(f"backend {name}" for name in info.backends),
        *(f"secrets {name}" for name in info.secret_providers),
        *(f"observes {name.removeprefix('ktpsync_')}" for name in info.observes),
    ]
    return ", ".join(offered) or "-"


def _check(output: Output, name: str, config: Path) -> Exit:
    from ktpsync.config import CONFIG_NAME, load
    from ktpsync.office import check_places
    from ktpsync.plugins import PluginRegistry

    registry = PluginRegistry.load()
    file = config / CONFIG_NAME if config.is_dir() else config
    settings = load(file, secrets=registry.secret_sources()) if file.exists() else None
    checks = check_places(settings, registry, name)
    if not checks:
        used = f"nothing in {file} uses it" if settings else f"there is no {file} that uses it"
        output.say(f"{name} can be imported; {used}, so nothing was opened.")
    for check in checks:
        _say(output, check)
    output.result({"checks": [_document(check) for check in checks]})
    return max((exit_code(check.error) for check in checks if check.error is not None), default=Exit.DONE)


def _say(output: Output, check: PlaceCheck) -> None:
    if check.health is None:
        output.say(f"{check.place} ({check.backend}): not well")
        output.say(f"  {check.error}")
        return
    output.say(f"{check.place} ({check.backend}): well")
    output.say(f"  {check.health.summary}")
    for fact, value in check.health.details.items():
        output.say(f"  {fact}: {value}")


def _document(check: PlaceCheck) -> dict[str, object]:
    document: dict[str, object] = {
        "place": check.place,
        "backend": check.backend,
        "well": check.error is None,
    }
    if check.health is not None:
        health = check.health
        document |= {"summary": health.summary, "free": health.free, "details": dict(health.details)}
    if check.error is not None:
        document["error"] = {"class": type(check.error).__name__, "message": str(check.error)}
    return document
