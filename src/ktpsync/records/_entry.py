"""What a capture form must know of a field: the one source of validation, JSON Schema and the form's page."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import attrs
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "ktpsync.entry"

LONGEST_TEXT = 200
"""Characters of a text that has no limit of its own; a mistake in copying is found, no real text is refused."""


@frozen(kw_only=True)
class Entry:
    """One field of the form.

    Args:
        label: The Indonesian term as on the form.
        example: What a clerk would type.
        rule: In a sentence, what the type alone does not say; with its source.
        kind: ``name`` for names of people, which have rules of their own.
        digits: The text is exactly so many ASCII digits.
        longest: The text has at most so many characters.
        may_be_empty: An empty text stands for none.
        pattern: A regular expression for the whole text, and the code of the problem where it does not match.
        bounds: The least and the greatest number, and the code of the problem beyond.
    """

    label: str
    example: str = ""
    rule: str = ""
    kind: Literal["text", "name"] = "text"
    digits: int | None = None
    longest: int = LONGEST_TEXT
    may_be_empty: bool = False
    pattern: tuple[str, str] | None = None
    bounds: tuple[int, int, str] | None = None


def entry(
    label: str,
    example: str = "",
    rule: str = "",
    *,
    kind: Literal["text", "name"] = "text",
    digits: int | None = None,
    longest: int = LONGEST_TEXT,
    may_be_empty: bool = False,
    pattern: tuple[str, str] | None = None,
    bounds: tuple[int, int, str] | None = None,
) -> Mapping[str, Entry]:
    """Return the metadata of an attrs field that stands on the form.

    Args:
        label: The Indonesian term as on the form.
        example: What a clerk would type.
        rule: In a sentence, what the type alone does not say.
        kind: ``name`` for names of people.
        digits: Exactly so many ASCII digits.
        longest: At most so many characters.
        may_be_empty: Whether an empty text stands for none.
        pattern: A regular expression for the whole text, and the code of the problem where it does not match.
        bounds: The least and the greatest number, and the code of the problem beyond.
    """
    return {
        _KEY: Entry(
            label=label,
            example=example,
            rule=rule,
            kind=kind,
            digits=digits,
            longest=longest,
            may_be_empty=may_be_empty,
            pattern=pattern,
            bounds=bounds,
        )
    }


@functools.cache
def entries(cls: type[attrs.AttrsInstance]) -> Mapping[str, Entry]:
    """Return the fields of a class that stand on the form, by name."""
    return {
        attribute.name: attribute.metadata[_KEY]
        for attribute in attrs.fields(cls)
        if _KEY in attribute.metadata
    }
