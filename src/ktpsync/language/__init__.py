"""The reader's language: which it is, and messages in it.

Messages are made in English, by whatever part of ktpsync has something to say, and translated where a person reads
them. See ``docs/how-to/languages.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.language._choice import ENGLISH, LANGUAGES, reader_language
    from ktpsync.language._translate import translated

_ROOMS = {
    "_choice": ("ENGLISH", "LANGUAGES", "reader_language"),
    "_translate": ("translated",),
}

__all__ = ["ENGLISH", "LANGUAGES", "reader_language", "translated"]

__getattr__, __dir__ = exports(__name__, _ROOMS)
