"""Texts from outside, fit to be kept and shown: nothing in them tells a person or opens a door."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

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


def _line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) <= _READ_AT_MOST:
        return line
    # Half a number is not recognised, and yet tells much.
    return line[:_READ_AT_MOST].rstrip("0123456789 .-")
