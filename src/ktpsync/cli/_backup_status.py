"""How ``ktpsync status`` shows the backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.cli._output import local_text_of, utc_text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.cli._output import Output
    from ktpsync.office import BackupState


def show_backups(output: Output, states: Sequence[BackupState]) -> None:
    """Print how each backup stands."""
    if states:
        output.table(
            "Backups",
            [
                "backup",
                "last backup",
                "not in it yet",
                "last verified",
                "last drill",
                "packets to fetch from it",
            ],
            [
                [
                    state.name,
                    local_text_of(state.last_backup_ms) or "never",
                    "all" if state.lacking is None else state.lacking,
                    local_text_of(state.last_verified_ms) or "never",
                    local_text_of(state.last_drill_ms) or "never",
                    state.awaited,
                ]
                for state in states
            ],
        )


def backups_document(states: Sequence[BackupState]) -> list[dict[str, object]]:
    """Return the same for a program."""
    return [
        {
            "name": state.name,
            "last_backup": utc_text_of(state.last_backup_ms),
            "last_verified": utc_text_of(state.last_verified_ms),
            "last_drill": utc_text_of(state.last_drill_ms),
            "lacking": state.lacking,
            "awaited": state.awaited,
            "warnings": list(state.warnings),
        }
        for state in states
    ]
