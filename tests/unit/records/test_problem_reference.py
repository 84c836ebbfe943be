"""The published table of problems."""

from __future__ import annotations

from pathlib import Path

from ktpsync.records._problems import reference_table

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "problems.md"


def test_the_page_lists_every_code_as_it_is() -> None:
    """After a change of the catalogue, put the output of ``reference_table()`` into the page."""
    assert PAGE.read_text(encoding="utf-8").endswith(reference_table())
