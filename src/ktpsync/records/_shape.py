"""The rules that each field states of itself: length, digits, pattern, range."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs

from ktpsync.records._entry import entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ktpsync.records._entry import Entry
    from ktpsync.records._finding import Finding

CONTROL: Final = r"\x00-\x1f\x7f-\x9f"
"""Characters that nobody types into a form, as inside of a character class."""

_UNSHOWN: Final = re.compile(rf"[{CONTROL}\ud800-\udfff]")


def shape(value: object, path: str) -> Iterator[Finding]:
    """Yield what is wrong with the fields of a value, and of the values inside it.

    Args:
        value: An instance of a model.
        path: Where it is; empty for the whole.
    """
    prefix = f"{path}." if path else ""
    for name, entry in _entries(type(value)):
        found = getattr(value, name)
        if isinstance(found, Enum):
            continue  # a choice has no rules of its own
        if isinstance(found, str):
            yield from _text(f"{prefix}{name}", found, entry)
        elif isinstance(found, int):
            yield from _number(f"{prefix}{name}", found, entry)
        elif found is not None and attrs.has(type(found)):
            yield from shape(found, f"{prefix}{name}")


def _entries(cls: type) -> Iterable[tuple[str, Entry]]:
    assert attrs.has(cls)  # only models have fields
    return entries(cls).items()


def _text(path: str, text: str, entry: Entry) -> Iterator[Finding]:
    if entry.digits is not None:
        if not (len(text) == entry.digits and text.isascii() and text.isdigit()):
            yield path, "text.digits", {"count": entry.digits}
        return
    if entry.pattern is not None:
        pattern, code = entry.pattern
        if not re.fullmatch(pattern, text):
            yield path, code, {}
        return
    if not text.strip():
        if text or not entry.may_be_empty:
            yield path, f"{entry.kind}.empty", {}
        return
    if len(text) > entry.longest:
        yield path, f"{entry.kind}.too-long", {"limit": entry.longest}
    if _UNSHOWN.search(text):
        yield path, "text.characters", {}


def _number(path: str, number: int, entry: Entry) -> Iterator[Finding]:
    if entry.bounds is None:
        return
    low, high, code = entry.bounds
    if not low <= number <= high:
        yield path, code, {"low": low, "high": high}
