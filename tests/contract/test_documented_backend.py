"""The backend that the documentation shows keeps the contract."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "index.md"

namespace: dict[str, object] = {"__name__": "documented"}
for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
    exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102 - the page is the test's subject

TestMemory = namespace["TestMemory"]
