"""The backend that the documentation shows keeps the contract."""

from __future__ import annotations

import re
from pathlib import Path

from ktpsync.cli._skeleton import write_skeleton

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "index.md"

namespace: dict[str, object] = {"__name__": "documented"}
for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
    exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102 - the page is the test's subject

TestMemory = namespace["TestMemory"]


def test_the_page_shows_the_skeleton(tmp_path: Path) -> None:
    """What `ktpsync plugins new` writes is what the page explains."""
    page = PAGE.read_text(encoding="utf-8")
    package = write_skeleton("memory", tmp_path) / "src" / "ktpsync_memory"

    for file in ("backend.py", "plugin.py"):
        assert (package / file).read_text(encoding="utf-8") in page
