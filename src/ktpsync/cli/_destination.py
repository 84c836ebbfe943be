"""``ktpsync destination``: how destinations are served, changed while they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option, who_option, why_option
from ktpsync.cli._destination_state import asks_to_wait_until_ms, in_words
from ktpsync.cli._exit import Exit
from ktpsync.cli._output import utc_text_of
from ktpsync.units import counted

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.cli._output import Output


@click.group()
def destination() -> None:
    """Change how a destination is served, while it is: its rate, its hours, or not at all."""


@destination.command("set")
@click.argument("name")
@click.option("--rate", help="Bytes a second, such as 16KiB; 'none': no limit.")
@click.option("--window", help="Hours of the day, such as 18:00-06:30; 'none': always.")
@click.option("--concurrency", help="Deliveries at one time, at most.")
@who_option
@config_option
@command
def set_line(
    output: Output,
    name: str,
    rate: str | None,
    window: str | None,
    concurrency: str | None,
    who: str,
    config: Path,
) -> Exit:
    """Change the line to the destination NAME, over the configuration and in all processes.

    A running service follows within seconds. 'configured' for a value goes back to what the configuration says.
    """
    given = {"rate": rate, "window": window, "concurrency": concurrency}
    changes = {key: value for key, value in given.items() if value is not None}
    with ktpsync.Office.open(config) as office:
        settings = office.set_line(name, changes, who=who)
    told = ", ".join(f"{key} {value or 'none'}" for key, value in sorted(settings.items()))
    output.say(f"{name}: {told or 'all as configured'}.")
    output.result({"destination": name, "settings": settings})
    return Exit.DONE


@destination.command("list")
@config_option
@command
def list_lines(output: Output, config: Path) -> Exit:
    """List the destinations and how each is served; '*' marks what was set at run time."""
    with ktpsync.Office.open(config) as office:
        lines = [(state, office.served(state.name)) for state in office.destinations()]
    output.table(
        "Destinations",
        ["destination", "rate", "window", "concurrency", "state"],
        [
            [
                state.name,
                *served.values(),
                in_words(state),
            ]
            for state, served in lines
        ],
    )
    output.result(
        {
            "destinations": [
                {
                    "name": state.name,
                    "set": dict(state.settings),
                    "paused": state.paused,
                    "breaker": state.breaker,
                    "last_error": state.last_error,
                    "asked_to_wait_until": utc_text_of(asks_to_wait_until_ms(state)),
                }
                for state, _ in lines
            ]
        }
    )
    return Exit.DONE


@destination.command()
@click.argument("name")
@who_option
@why_option
@config_option
@command
def pause(output: Output, name: str, who: str, why: str, config: Path) -> Exit:
    """Stop delivering to NAME until it is resumed. Recording goes on."""
    with ktpsync.Office.open(config) as office:
        paused = office.pause(name, who=who, why=why)
    output.say(f"{name} is stopped." if paused else f"{name} was stopped already.")
    output.result({"destination": name, "paused": paused})
    return Exit.DONE


@destination.command()
@click.argument("name")
@who_option
@config_option
@command
def resume(output: Output, name: str, who: str, config: Path) -> Exit:
    """Let NAME work again after it was stopped, by a person or because of its credentials, or has asked to wait."""
    with ktpsync.Office.open(config) as office:
        resumed = office.resume(name, who=who)
    output.say(f"{name} works again." if resumed else f"{name} was not stopped, and has not asked to wait.")
    output.result({"destination": name, "resumed": resumed})
    return Exit.DONE


@destination.command()
@click.argument("name")
@who_option
@why_option
@config_option
@command
def retire(output: Output, name: str, who: str, why: str, config: Path) -> Exit:
    """Stop NAME for good, after it was taken out of the configuration: what it has not got is cancelled."""
    with ktpsync.Office.open(config) as office:
        cancelled = office.retire(name, who=who, why=why)
    output.say(f"{name} is retired; {counted(cancelled, 'packet does', 'packets do')} not go there any more.")
    output.result({"destination": name, "cancelled": cancelled})
    return Exit.DONE
