"""Foreign texts fit to be kept: nothing in them tells a person."""

from __future__ import annotations

import re

_LIMIT = 500
_PERSON_NUMBER = re.compile(r"(?:\d[ .-]?){15}\d")
"""NIK and family card number, however they are grouped."""


def plain(text: str) -> str:
    """Return a foreign text fit to be kept: one line of bounded length, without numbers of persons."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _PERSON_NUMBER.sub("[16 digits]", line)[:_LIMIT]
