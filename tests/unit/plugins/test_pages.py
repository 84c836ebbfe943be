"""The pages for authors say all there is, also when they are read as files."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import ktpsync.plugins
from ktpsync.config import OWN_KEYS
from ktpsync.plugins import _hookspecs as hookspecs

PAGES = Path(__file__).parents[3] / "docs" / "plugins"
ELSEWHERE = {"PLUGIN_API_VERSION", "hookimpl"}
"""Names whose own docstring says nothing."""


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring as Markdown."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:(?=`)", "", text).replace("``", "`")


def test_every_name_stands_on_the_page() -> None:
    """With the sentence that its docstring begins with."""
    page = (PAGES / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, flags=re.MULTILINE)
    expected = {name: summary(getattr(ktpsync.plugins, name)) for name in ktpsync.plugins.__all__}

    assert expected.keys() == {name for name, _ in names}
    assert {name: told for name, told in expected.items() if name not in ELSEWHERE} == {
        name: told for name, told in names if name not in ELSEWHERE
    }


def test_every_hook_stands_on_the_page() -> None:
    """With its arguments and the sentence that its docstring begins with."""
    page = (PAGES / "hooks.md").read_text(encoding="utf-8")
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("ktpsync_")}

    assert {
        f"{name}({', '.join(inspect.signature(hook).parameters)})": summary(hook)
        for name, hook in hooks.items()
    } == dict(re.findall(r"^\| `(ktpsync_\w+\([^)]*\))` \| (.+) \|$", page, flags=re.MULTILINE))


def test_the_names_that_settings_must_not_have_stand_on_the_page() -> None:
    """All that ktpsync reads from the same tables."""
    page = (PAGES / "settings.md").read_text(encoding="utf-8")
    named = page.partition("the names are:")[2].partition("\n\n")[0]

    assert sorted({key for keys in OWN_KEYS.values() for key in keys}) == re.findall(r"`(\w+)`", named)


def test_help_tells_the_kinds_of_settings() -> None:
    """`help(Duration)` says what may stand in the file."""
    assert "in the file" in str(ktpsync.plugins.Duration.__doc__)
    assert "in the file" in str(ktpsync.plugins.ByteSize.__doc__)
