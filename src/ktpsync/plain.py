"""Texts from outside, fit to be kept and shown: nothing in them tells a person or opens a door."""

from __future__ import annotations

import re
from typing import Final

_LIMIT: Final = 500
_LIMIT_FOREIGN: Final = 300
_READ_AT_MOST: Final = 2000
"""Characters looked at: more than are shown, since what is masked can make a text shorter."""

_PERSON_NUMBER: Final = re.compile(r"(?:\d[ .-]?){15}\d")
"""NIK and family card number, however they are grouped."""

_FOREIGN: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"), "***"),  # a JSON Web Token
    (re.compile(r"(?i)\b([a-z]+://)[^\s/@]+@"), r"\1"),  # a password in an address
    (re.compile(r"(?i)\b([\w-]*(?:token|password|passwd|secret|signature|credential)s?)\s*[=:]\s*\S+"), r"\1=***"),
    (re.compile(r"\?[^\s?=&]+=[^\s)>'\"]*"), "?..."),  # the query of an address
    (_PERSON_NUMBER, "[16 digits]"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "[e-mail]"),
    (re.compile(r"(?<![\w-])(?:\+\d|0)(?:[ .()-]?\d){8,14}(?![\w-])"), "[phone]"),
    (re.compile(r"(?<![\w-])(?:\d{1,2}([-/.])\d{1,2}\1\d{4}|\d{4}([-/.])\d{1,2}\2\d{1,2})(?![\w:-])"), "[date]"),
    # Names on identity cards are in capitals, and so services repeat them; a status such as PRINT_READY is one word.
    (re.compile(r"\b[A-Z][A-Z'.]+(?:[ ,]+[A-Z][A-Z'.]*)+(?!\w)"), "[capitals]"),
    (re.compile(r"(?i)\b((?:full[ _]?|first[ _]?|last[ _]?)?name|nama(?:[ _]lengkap)?)\b([ ]*[=:][ ]*)[^,;)\]]+"), r"\1\2***"),
)  # fmt: skip


def plain(text: str) -> str:
    """Return a text fit to be kept: one line of bounded length, without numbers of persons.

    For what ktpsync itself says, and what an official writes.
    """
    return _PERSON_NUMBER.sub("[16 digits]", _line(text))[:_LIMIT]


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
