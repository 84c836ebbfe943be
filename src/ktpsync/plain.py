"""Texts from outside, fit to be kept and shown: nothing in them tells a person or opens a door."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ktpsync.vocabulary import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT: Final = 500
_LIMIT_FOREIGN: Final = 300
_READ_AT_MOST: Final = 2000
"""Characters looked at: more than are shown, since what is masked can make a text shorter."""

_PERSON_NUMBER: Final = re.compile(
    r"(\bSHA-256\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[0-9]*[a-f])[0-9a-f]{64}\b)|(?:\d[ .-]?){15}\d"
)
"""NIK and family card number, however they are grouped; first packet ids and digests, in which as many digits may be."""

_CAPITALS: Final = re.compile(r"\b[A-Z](?:[A-Z'.]+|(?=[ ,]+[A-Z'.]{3}))(?:[ ,]+[A-Z][A-Z'.]*)+(?!\w)")
"""Names on identity cards are in capitals, and so services repeat them; a status such as PRINT_READY is one word."""

_TECHNICAL: Final = frozenset(
    re.findall(
        r"\w+",
        "A ACCESS AND AUTHENTICATION BAD BE CANNOT CLOSED CONNECTION DATABASE DELETE DENIED DEVICE DISK DOWN ERROR EXCEEDED "
        "EXPIRED FAILED FAILURE FATAL FILE FORBIDDEN FOUND FULL GATEWAY GET HEAD HTTP HTTPS INTERNAL INVALID IO IS JSON KTP "
        "LEFT LIMIT LOCKED MAINTENANCE METHOD MISSING NIK NO NOT OF ON OUT PERMISSION POST PUT QUOTA READ REFUSED REQUEST "
        "RESPONSE SERVER SERVICE SHA SIZE SPACE SSL STORAGE TIME TIMEOUT TLS TO TOKEN TOO UNAVAILABLE UNDER URL UTC VALID "
        "WARNING WRITE XML",
    )
)
"""Words that tell what is wrong, and of nobody."""


def _number(found: re.Match[str]) -> str:
    return found[1] or "[16 digits]"


def _capitals(found: re.Match[str]) -> str:
    return found[0] if _TECHNICAL.issuperset(re.split(r"[ ,.]+", found[0].rstrip("."))) else "[capitals]"


_FOREIGN: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"), "***"),  # a JSON Web Token
    (re.compile(r"(?i)\b([a-z]+://)[^\s/]+@"), r"\1"),  # a password in an address
    (re.compile(r"(?i)\b([\w-]*(?:token|password|passwd|secret|signature|credential|(?:secret|access|private|api)[_-]?key)s?)[\"']?\s*[=:]\s*\S+"), r"\1=***"),
    (re.compile(r"\?[^\s?=&]+=[^\s)>'\"]*"), "?..."),  # the query of an address
    (_PERSON_NUMBER, _number),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "[e-mail]"),
    (re.compile(r"(?<![\w-])(?:\+\d|0)(?:[ .()-]?\d){8,14}(?![\w-])"), "[phone]"),
    (re.compile(r"(?<![\w-])(?:\d{1,2}([-/.])\d{1,2}\1\d{4}|\d{4}([-/.])\d{1,2}\2\d{1,2})(?![\w:-])"), "[date]"),
    (_CAPITALS, _capitals),
    (re.compile(r"(?i)\b((?:full[ _]?|first[ _]?|last[ _]?)?name|nama(?:[ _]lengkap)?)\b([\"']?[ ]*[=:][ ]*)[^,;)\]]+"), r"\1\2***"),
)  # fmt: skip


_MASKED: Final = "\0"
"""No text has it: what cannot be printed is taken out first."""

MASK: Final = "[...]"
"""Stands in a service's words for what may name a person."""

_SEVERAL_MASKED: Final = re.compile(r"\0(?:[\W_]*\0)?")
_LONGEST_NUMBER: Final = 5
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""As in ``UnknownStationError``."""

_CODE: Final = re.compile(r"[A-Z]{1,2}\d{1,5}")
_DIGITS_OF_PERSONS: Final = (
    _PERSON_NUMBER,
    *(pattern for pattern, instead in _FOREIGN if instead in {"[phone]", "[date]"}),
)
_WORD: Final = re.compile(
    r"\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}"
    r"|20[2-9]\d-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))\b|[^\W_]+"
)
"""First packet ids, digests and moments."""


def plain(text: str) -> str:
    """Return a text fit to be kept: one line of bounded length, without numbers of persons.

    For what ktpsync itself says, and what an official writes.
    """
    return _PERSON_NUMBER.sub(_number, _line(text))[:_LIMIT]


def anonymous(text: str) -> str:
    """Return what a service says, fit to be shown: also without what looks like a name or a credential.

    Services repeat what they were sent. What is masked here may be harmless; the reason is still understood.
    """
    line = _line(text)
    for pattern, instead in _FOREIGN:
        line = pattern.sub(instead, line)
    return line[:_LIMIT_FOREIGN].strip()


def reason(text: str) -> str:
    """Return what a service says in words of its own, as far as they can name nobody; ``[...]`` stands for the rest.

    A name cannot be recognised, a word that is none can: what is not in :data:`ktpsync.vocabulary.WORDS` is masked. Kept are
    short numbers, codes of known words such as ``PHOTO_TOO_DARK`` or of a letter and digits, packet ids, digests, and moments.
    """
    line = _line(text)
    for pattern in _DIGITS_OF_PERSONS:
        line = pattern.sub(
            lambda found: found[0] if found.re is _PERSON_NUMBER and found[1] else _MASKED, line
        )
    line = _WORD.sub(lambda found: found[0] if found[1] or _tells_nobody(found[0]) else _MASKED, line)
    return _SEVERAL_MASKED.sub(MASK, line)[:_LIMIT_FOREIGN].strip()


def _tells_nobody(word: str) -> bool:
    if word.isdigit():
        return len(word) <= _LONGEST_NUMBER and not _YEAR.fullmatch(word)
    if _CODE.fullmatch(word):
        return True
    letters = word.rstrip("0123456789")
    if len(word) - len(letters) > _LONGEST_NUMBER:
        return False
    return all(
        {part, part.removesuffix("s"), part.removesuffix("nya")} & WORDS
        for part in _CAMEL.sub(" ", letters).lower().split()
    )


def _line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) <= _READ_AT_MOST:
        return line
    # Half a number is not recognised, and yet tells much.
    return line[:_READ_AT_MOST].rstrip("0123456789 .-")
