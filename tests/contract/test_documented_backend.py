"""The backends that the documentation shows keep the contract."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import invoke
from ktpsync.cli._skeleton import write_skeleton

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "index.md"

namespace: dict[str, object] = {"__name__": "documented"}
for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
    exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102 - the page is the test's subject

TestShelf = namespace["TestShelf"]
TestMemory = namespace["TestMemory"]


def test_the_page_shows_the_skeleton(tmp_path: Path) -> None:
    """What `ktpsync plugins new` writes is what the page explains."""
    page = PAGE.read_text(encoding="utf-8")
    package = write_skeleton("shelf", tmp_path) / "src" / "ktpsync_shelf"

    for file in ("backend.py", "plugin.py"):
        assert (package / file).read_text(encoding="utf-8") in page


def test_the_commands_of_the_page_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From two keys to a verified backup, as the page says, with the skeleton installed."""
    site = write_skeleton("shelf", tmp_path) / "src"
    information = site / "ktpsync_shelf-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ktpsync-shelf\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text("[ktpsync]\nshelf = ktpsync_shelf.plugin\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    part = PAGE.read_text(encoding="utf-8").partition("## Try it")[2]
    first, places, second = re.findall(r"```(?:console|toml)\n(.*?)```", part, flags=re.DOTALL)[:3]

    said = [run(line, monkeypatch) for line in first.splitlines()]
    with (tmp_path / "office" / "ktpsync.toml").open("a") as file:
        file.write(places)
    said += [run(line, monkeypatch) for line in second.splitlines()]

    assert "my-place\t1\t0\t0" in said[-3]
    assert len(list((tmp_path / "packets" / "packets").rglob("*.age"))) == 1
    assert (tmp_path / "backups" / "ktpsync-repository.json").is_file()


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a line of the page as a shell would, and return what it said."""
    program, *arguments = shlex.split(line.partition(" > ")[0])
    if program == "cd":
        monkeypatch.chdir(*arguments)
    elif program == "mkdir":
        for name in arguments:
            Path(name).mkdir()
    elif program == "python":
        exec(compile(arguments[1], "<page>", "exec"), {})  # noqa: S102 - the page is the test's subject
    else:
        assert program == "ktpsync"
        done = invoke(*arguments)
        assert done.exit_code == 0, done.stdout + done.stderr
        if " > " in line:
            Path(line.rpartition(" > ")[2]).write_text(done.stdout)
        return done.stdout
    return ""
