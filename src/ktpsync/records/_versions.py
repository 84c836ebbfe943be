"""Versions of ``enrollment.json``, and how a document of an older one is read.

Version N+1 comes with one function that turns a document of version N into one of version N+1. A reader applies
them one after the other, so that every document ever written stays readable, and the models know one version only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from ktpsync.errors import SchemaError

JsonObject = dict[str, object]
Step = Callable[[JsonObject], JsonObject]

FAMILY: Final = "ktpsync.enrollment"
CURRENT = 1
STEPS: Mapping[int, Step] = {}
"""From version N to version N+1, by N. There is none yet."""

_SCHEMA: Final = re.compile(rf"{re.escape(FAMILY)}/([1-9][0-9]{{0,3}})")


def upgraded(document: object) -> JsonObject:
    """Return a document's fields as the current version has them.

    Args:
        document: What the JSON holds.

    Raises:
        SchemaError: It is not an enrollment of a version that this release reads.
    """
    found = document.get("schema") if isinstance(document, dict) else None
    match = _SCHEMA.fullmatch(found) if isinstance(found, str) else None
    if not isinstance(document, dict) or match is None:
        # What stands there may be anything, a person's data too.
        said = "has no field 'schema'" if found is None else "is of another schema"
        raise SchemaError(f"The JSON {said}; this release reads {FAMILY}/{CURRENT}.")
    version = int(match[1])
    if version > CURRENT:
        raise SchemaError(
            f"The enrollment has version {version} of the format; this release reads up to {CURRENT}. Upgrade ktpsync."
        )
    body = {key: value for key, value in document.items() if key != "schema"}
    for step in range(version, CURRENT):
        body = STEPS[step](body)
    return body
