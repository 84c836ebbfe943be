"""What is shown on a terminal is what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.cli._output import Output

if TYPE_CHECKING:
    import pytest


def test_brackets_in_a_table_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reasons of services hold brackets and colons: to rich they are colours, pictures, or a mistake that ends the command."""
    monkeypatch.setattr(Output, "for_a_person", True)
    reasons = ["[capitals] has one :key:", "ends with [/b]", "[red]refused"]

    Output(as_json=False).table("Rejected", ["reason"], [[reason] for reason in reasons])

    shown = capsys.readouterr().out
    assert reasons == [reason for reason in reasons if reason in shown]


def test_brackets_in_a_progress_bar_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder may be called so."""
    monkeypatch.setattr(Output, "for_a_person", True)

    with Output(as_json=False).progress("Reading /media/[/b]", 1) as advance:
        advance(1)

    assert "/media/[/b]" in capsys.readouterr().out
