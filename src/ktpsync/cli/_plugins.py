"""``ktpsync plugins``: what backends there are, and why one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import command
from ktpsync.cli._exit import Exit
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from ktpsync.cli._output import Output


@click.command()
@command
def plugins(output: Output) -> Exit:
    """List plugins and the backends they offer. Nothing of them is imported but their announcement."""
    registry = PluginRegistry.load()
    found = [
        {
            "plugin": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "api_version": info.api_version,
            "offers": list(info.offers),
            "rejected": info.rejected,
        }
        for info in registry.plugins()
    ]
    output.table(
        "Plugins",
        ["plugin", "distribution", "version", "offers", "state"],
        [
            [
                line["plugin"],
                line["distribution"],
                line["version"],
                ", ".join(info.offers) or "-",
                info.rejected or "usable",
            ]
            for line, info in zip(found, registry.plugins(), strict=True)
        ],
    )
    output.result({"plugins": found})
    return Exit.PERSON if any(info.rejected for info in registry.plugins()) else Exit.DONE
