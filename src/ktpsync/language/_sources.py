"""For whoever writes messages or translates them: the templates in the source, and the catalogues.

``python -m ktpsync.language._sources`` lists what is out of date; ``python -m ktpsync.language._sources id`` lists also
the messages that have no translation.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.language._translate import LOCALE, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE: Final = Path(__file__).parents[1]
_SAYING: Final = frozenset(
    {"say", "note", "warn", "complain", "table", "progress", "long_work", "echo", "prompt"}
)
_WORD: Final = re.compile(r"\W")


def templates(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in a syntax tree, f-strings as templates with a name for each value."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            yield _template(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield _escaped(node.value)
            # As templates of other people's, and paragraphs of what click shows as help.
            yield node.value
            for paragraph in node.value.split("\n\n"):
                yield _escaped(" ".join(paragraph.split()))


def source_templates(folder: Path = SOURCE) -> set[str]:
    """Return all texts in the source."""
    return {
        template
        for path in folder.rglob("*.py")
        for template in templates(ast.parse(path.read_text(encoding="utf-8")))
    }


def said(folder: Path = SOURCE) -> set[str]:
    """Return the texts that are raised or shown, as far as a look at the source can tell."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (
                getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            )
            if isinstance(node, ast.Raise) or name in _SAYING:
                found.update(text for text in templates(node) if " " in text and text[-1] in ".:?")
    return found


def po_files() -> list[Path]:
    """Return the catalogues, each named by its language."""
    return sorted(LOCALE.glob("*.po"))


def _template(node: ast.JoinedStr) -> str:
    names: dict[str, str] = {}
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            code = ast.unparse(part)
            if code not in names:
                names[code] = _free(_name(part.value), set(names.values()))
            parts.append(f"{{{names[code]}}}")
        elif isinstance(part, ast.Constant):
            parts.append(_escaped(str(part.value)))
    return "".join(parts)


def _name(value: ast.expr) -> str:
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _WORD.sub("", name).strip("_").lower()
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.strip("_").lower()
        case _:
            return "value"


def _free(name: str, taken: set[str]) -> str:
    number = 1
    found = name
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _main() -> None:
    known = source_templates()
    for po in po_files():
        translations = messages(po)
        for english in sorted(set(translations) - known):
            sys.stdout.write(f"{po.stem}: not in the source any more: {english}\n")
        if po.stem in sys.argv[1:]:
            for english in sorted(said() - set(translations)):
                sys.stdout.write(f"{po.stem}: no translation: {english}\n")


if __name__ == "__main__":
    _main()
