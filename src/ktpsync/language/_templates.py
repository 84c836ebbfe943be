"""Texts in source code as templates: f-strings with a name for each value."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = re.compile(r"\W")


def templates(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in a syntax tree, f-strings as templates with a name for each value."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            yield template_of(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield escaped(node.value)
            # As templates of other people's, and paragraphs of what click shows as help.
            yield node.value
            for paragraph in node.value.split("\n\n"):
                yield escaped(" ".join(paragraph.split()))


def template_of(node: ast.JoinedStr) -> str:
    """Return an f-string as a template."""
    names: dict[str, str] = {}
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            code = ast.unparse(part)
            if code not in names:
                names[code] = _free(_name(part.value), set(names.values()))
            parts.append(f"{{{names[code]}}}")
        elif isinstance(part, ast.Constant):
            parts.append(escaped(str(part.value)))
    return "".join(parts)


def _name(value: ast.expr) -> str:
    match value:
        case ast.Attribute(value=ast.Name(id=name), attr="value"):  # of an enumeration
            return _WORD.sub("", name).strip("_").lower()
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


def escaped(text: str) -> str:
    """Return a text without values as a template."""
    return text.replace("{", "{{").replace("}", "}}")
