"""For whoever writes messages or translates them: the templates in the source, and the catalogues.

``python -m ktpsync.language._sources`` lists what is out of date; ``python -m ktpsync.language._sources id`` lists also
what people are told and has no translation.
"""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Final

from ktpsync.language._said import SOURCE, said
from ktpsync.language._templates import templates
from ktpsync.language._translate import LOCALE, Translator, fields_of, messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OF_SYSTEM: Final = (
    "No such file or directory",
    "Permission denied",
    "Operation not permitted",
    "Not a directory",
    "Is a directory",
    "Directory not empty",
    "File exists",
    "File too large",
    "File name too long",
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
    "Too many open files",
    "Device or resource busy",
    "Transport endpoint is not connected",
    "Stale file handle",
    "Connection refused",
    "Address already in use",
)
"""The system's own words, here so that the catalogues have them."""

_TYPED: Final = re.compile(r"`[^`]*`|\bktpsync \w+|\b(pip install|keyring set) .*")
_PAIR: Final = re.compile(r"(?=\b([A-Za-z]{2,} [a-z]{2,}))")
_SAME: Final = frozenset({"bearer token", "capture form", "object lock"})
"""Words that are the same in every language."""


def source_templates(folder: Path = SOURCE) -> set[str]:
    """Return all texts in the source."""
    return {
        template
        for path in folder.rglob("*.py")
        for template in templates(ast.parse(path.read_text(encoding="utf-8")))
    }


def po_files() -> list[Path]:
    """Return the catalogues, each named by its language."""
    return sorted(LOCALE.glob("*.po"))


def untranslated(known: Mapping[str, str], folder: Path = SOURCE) -> dict[str, str]:
    """Return what people are told and would read in English, wholly or in part, each with the first file that it is in.

    Args:
        known: A catalogue.
        folder: The source.
    """
    translator = Translator(known)
    return {text: place for text, place in said(folder).items() if _left(text, translator)}


def _left(template: str, translator: Translator) -> bool:
    """Whether a part of a message stays English. What is typed on a command line may."""
    shown = template.format_map({name: f"<{number}>" for number, name in enumerate(fields_of(template))})
    paragraphs = [" ".join(part.split()) for part in shown.split("\n\n")]
    # Messages, and the help, which is shown in paragraphs.
    ways = (translator.translate(shown), "\n".join(map(translator.translate, paragraphs)))
    return all(words == shown or _pairs(shown) & _pairs(words) - _SAME for words in ways)


def _pairs(text: str) -> set[str]:
    return {match[1] for match in _PAIR.finditer(" ".join(_TYPED.sub("", text).split()))}


def _main() -> None:
    known = source_templates()
    for po in po_files():
        translations = messages(po)
        for english in sorted(set(translations) - known):
            sys.stdout.write(f"{po.stem}: not in the source any more: {english}\n")
        if po.stem in sys.argv[1:]:
            for english in sorted(untranslated(translations)):
                sys.stdout.write(f"{po.stem}: no translation: {english}\n")


if __name__ == "__main__":
    _main()
