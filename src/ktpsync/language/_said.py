"""For whoever writes messages or translates them: which texts of the source people are told.

Told is what is given to an error of ktpsync or to a function that shows something, what looks like a sentence, and what
such a text is put together from in its module. Not told are logs, docstrings, the errors of Python, which mean a mistake of a
program, and the parts that are for developers.
"""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.language._templates import escaped, template_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCE: Final = Path(__file__).parents[1]

FOR_DEVELOPERS: Final = (
    "central/",
    "cli/_central.py",
    "cli/_demo/",
    "cli/_skeleton/",
    "config/_schema.py",
    "language/",
    "records/_reference.py",
    "records/_schema.py",
    "testing/",
)
"""Where texts stay English: the sandbox centre, the demo, what makes plugins, schemas, documentation and tests."""

SETTINGS: Final = (
    "backends/disk/backend.py",
    "backends/http/_settings.py",
    "backends/s3/settings.py",
    "config/_sections.py",
    "courier/_policy.py",
)
"""Where a ``ValueError`` says what is wrong with a setting."""

OWN_TRANSLATIONS: Final = ("records/_catalogue.py", "records/_terms.py")
"""Where texts have their translations beside them."""

_SHOWING: Final = frozenset(
    {
        "say",
        "note",
        "remark",
        "warn",
        "complain",
        "table",
        "progress",
        "long_work",
        "prompt",
        "append",
        "BadParameter",
    }
)
_LOGS: Final = frozenset({"log", "_log", "_LOG", "logging"})
_NOT_TOLD: Final = frozenset({"metadata", "doc", "name"})
"""Arguments that documentation is made of, and threads' names."""

WORDS: Final = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
_WORD: Final = re.compile(rf"{WORDS.pattern}|\}} (?!(?:backend|in)\b)[a-z]{{2,}}\b")
_SENTENCE: Final = re.compile(r"\S.*[.:?]", re.DOTALL)
_CODE: Final = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|SET LOCAL|COALESCE|AND|ORDER BY)\b|\\b|^\n|^#|^ *(ktpsync|pip) "
)


def said(folder: Path = SOURCE) -> dict[str, str]:
    """Return the texts that people are told, as templates, each with the first file that it is in."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder).as_posix()
        if not place.startswith((*FOR_DEVELOPERS, *OWN_TRANSLATIONS)):
            for text in told(ast.parse(path.read_text(encoding="utf-8")), settings=place in SETTINGS):
                found.setdefault(text, place)
    return found


def told(tree: ast.Module, *, settings: bool = False) -> Iterator[str]:
    """Yield the texts of a module that people are told, as templates.

    Args:
        tree: The module.
        settings: Whether a ``ValueError`` says what is wrong with a setting.
    """
    silent = _silent(tree, settings=settings)
    made_of = _made_of(tree)
    waiting = [part for node in _loud(tree, silent) for part in _parts(node, silent)]
    known: set[str] = set()
    while waiting:
        for node in _loud(waiting.pop(), silent):
            if (text := _text(node)) is not None:
                if _WORD.search(text) and not _CODE.search(text):
                    yield text
            elif (name := _name(node)) and name not in known:
                known.add(name)
                waiting += made_of.get(name, ())


def _parts(node: ast.AST, silent: set[int]) -> list[ast.AST]:
    """Return what of a node people are told, whatever else is."""
    match node:
        case ast.Call(args=args, keywords=keywords) if _shows(node):
            return [*args, *keywords]
        case ast.keyword(arg="help", value=value):
            return [value]
        case ast.FunctionDef(decorator_list=marks, body=[ast.Expr(value=help_text), *_]) if any(
            map(_is_command, marks)
        ):
            return [help_text]
        case ast.Yield(value=ast.expr() as value) | ast.Return(value=ast.expr() as value):
            return [part for part in _loud(value, silent) if _text(part) is not None]
        case _:
            text = _text(node) or ""
            return [node] if _SENTENCE.fullmatch(text) and WORDS.search(text) else []


def _silent(tree: ast.Module, *, settings: bool) -> set[int]:
    """Return the nodes that nobody is told of, with all below them."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            # They are parts of a text.
            found.update(id(part) for part in node.values if isinstance(part, ast.Constant))
        elif _is_silent(node, settings=settings):
            found.add(id(node))
    # What only such nodes name, such as a sentence for the log, or a function that makes one.
    hushed = _named(ast.walk(tree)) - _named(_loud(tree, found))
    found.update(id(node) for node in ast.walk(tree) if _defined(node) in hushed)
    return found


def _is_silent(node: ast.AST, *, settings: bool) -> bool:
    match node:
        case (
            ast.Expr(value=ast.Constant())
            | ast.Assign(targets=[ast.Attribute(attr="__doc__")])
            | ast.Compare()
        ):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            return name in _LOGS
        case ast.Call(func=ast.Name(id="ValueError")):
            return not settings
        case ast.Call(func=ast.Name(id=name)):
            return name.endswith("Error") and hasattr(builtins, name)
        case ast.keyword(arg=name):
            return name in _NOT_TOLD
        case _:
            return False


def _defined(node: ast.AST) -> str:
    """Return the name of a variable or function of the module's own that a node defines."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.FunctionDef(name=name) if name.startswith("_"):
            return name
        case _:
            return ""


def _named(nodes: Iterable[ast.AST]) -> set[str]:
    return {
        _name(node)
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def _loud(node: ast.AST, silent: set[int]) -> Iterator[ast.AST]:
    if id(node) in silent:
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _loud(child, silent)


def _is_command(mark: ast.expr) -> bool:
    """Whether a decorator makes a function a command, whose docstring is its help."""
    return _name(mark.func if isinstance(mark, ast.Call) else mark) in {"command", "group"}


def _shows(call: ast.Call) -> bool:
    name = _name(call.func)
    return name in _SHOWING or name.endswith("Error")


def _made_of(tree: ast.AST) -> dict[str, list[ast.AST]]:
    """Return, by the name of a variable or function, what it is given or gives back."""
    found: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                        found.setdefault(_name(one), []).append(value)
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.AugAssign(target=target, value=value)
            ):
                found.setdefault(_name(target), []).append(value)
            case ast.FunctionDef(name=name):
                found.setdefault(name, []).extend(
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Return | ast.Yield) and part.value is not None
                )
    return found


def _name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.JoinedStr():
            return template_of(node)
        case ast.Constant(value=str(text)):
            return escaped(text)
        case _:
            return None
