"""The page of lessons names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_lesson_is_shown_by_a_test_that_exists() -> None:
    """Somebody who renames or removes such a test is told which lesson it holds."""
    rows = [
        line
        for line in (ROOT / "docs" / "explanation" / "lessons.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| what happened")
    ]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in defined, (path, name)
