"""For whoever writes messages or translates them: the templates in the source, and the catalogues.

``python -m ktpsync.language._sources`` compiles each ``.po`` file to the ``.mo`` file beside it, and lists what is out
of date; ``python -m ktpsync.language._sources id`` lists also the messages that have no translation. Needs Babel.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.language._translate import DOMAIN, LOCALE

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


def compiled(po: Path) -> bytes:
    """Return the ``.mo`` file for a ``.po`` file."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415 - for developers only
    from babel.messages.pofile import read_po  # noqa: PLC0415

    with po.open("rb") as file:
        catalogue = read_po(file)
    # The time of compiling is no news.
    catalogue.creation_date = catalogue.revision_date = datetime.fromtimestamp(0, tz=UTC)
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def po_files() -> list[Path]:
    """Return the catalogues that people edit."""
    return sorted(LOCALE.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


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
    for po in po_files():
        mo = compiled(po)
        po.with_suffix(".mo").write_bytes(mo)
    known = source_templates()
    from ktpsync.language._translate import messages  # noqa: PLC0415 - after they were compiled

    for po in po_files():
        language = po.parts[-3]
        translations = messages(po.with_suffix(".mo"))
        for english in translations:
            if english not in known:
                sys.stdout.write(f"{language}: not in the source any more: {english}\n")
        if language in sys.argv[1:]:
            for english in sorted(said() - set(translations)):
                sys.stdout.write(f"{language}: no translation: {english}\n")


if __name__ == "__main__":
    _main()
