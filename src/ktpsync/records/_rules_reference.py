"""Rules of the reference, which is kept in clear: it must tell nobody who the person is."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.records._biodata import Biodata
    from ktpsync.records._finding import Finding
    from ktpsync.records._readable import Readable

_NOT_DIGITS: Final = re.compile(r"[^0-9]")
_WORD: Final = re.compile(r"[^\W\d_]+")
_FAMILY_CARD_DIGITS: Final = 16
_SHORTEST_PART: Final = 3
"""Letters of a name, or a part of one, that tells something; single letters stand in many a reference."""
_SHORTEST_RUN: Final = 6
"""Letters of a name written without its spaces that no other word holds by chance."""


def reference_findings(reference: str, biodata: Biodata, readable: Readable) -> Iterator[Finding]:
    """Yield whether a reference holds numbers or names of the person or of the parents.

    A whole name is an error. A part of one only warns: the same word may be a town's or an operator's.

    Args:
        reference: The app's own id.
        biodata: The person's.
        readable: Which parts can be looked at.
    """
    numbers, names = [], []
    for path, person in (
        ("biodata", biodata),
        ("biodata.father", biodata.father),
        ("biodata.mother", biodata.mother),
    ):
        if readable(f"{path}.nik") and person is not None and person.nik is not None:
            numbers.append(person.nik.digits)
        if readable(f"{path}.full_name") and person is not None:
            names.append(_words(person.full_name))
    family_card = biodata.family_card_number if readable("biodata.family_card_number") else ""
    if len(family_card) == _FAMILY_CARD_DIGITS:
        numbers.append(family_card)
    digits = _NOT_DIGITS.sub("", reference)
    words = _words(reference)
    if any(number in digits for number in numbers) or any(_holds(words, name) for name in names):
        yield "reference", "reference.personal", {}
    elif any(len(part) >= _SHORTEST_PART and part in words for name in names for part in name):
        yield "reference", "reference.name-part", {}


def _words(text: str) -> list[str]:
    """Return the words of a text in small letters without accents."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return _WORD.findall(plain.casefold())


def _holds(words: list[str], name: list[str]) -> bool:
    """Return whether all parts of a name are among the words, or it is written in one."""
    run = "".join(name)
    return len(run) >= _SHORTEST_PART and (
        set(name) <= set(words) or (len(name) > 1 and len(run) >= _SHORTEST_RUN and run in "".join(words))
    )
