"""JSON text of what is written for every packet, put together by hand.

``json`` makes an encoder anew for each text, which takes about as long as a statement of the database.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

quoted: Final = encode_basestring
"""Returns a text as a JSON string, letters of all languages as they are. ``TypeError`` if it is given something else."""

encoded: Final[Callable[[object], str]] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Returns anything as JSON text without spaces."""


def nullable(text: str | None) -> str:
    """Return a text as a JSON string, or ``null``."""
    return "null" if text is None else quoted(text)


def field(name: str, value: object) -> str:
    """Return a member of a JSON object."""
    kind = type(value)
    if kind is str:
        return f"{quoted(name)}:{quoted(value)}"  # type: ignore[arg-type]
    return f"{quoted(name)}:{value if kind is int else encoded(value)}"
