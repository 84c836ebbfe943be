"""JSON Schema of settings: the other face of :func:`ktpsync.plugins.read_settings`, for editors."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

import attrs

from ktpsync.plugins._secrets import Secret
from ktpsync.plugins._settings import BYTE_SIZE_UNITS, DURATION_UNITS, ByteSize, Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, object]
"""A JSON Schema (draft 2020-12)."""

_PLAIN: Final[Mapping[object, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
}
_ARGUMENT: Final = re.compile(r"^ {4,8}(\w+): (.*)$")


def settings_schema(cls: type, *, secret_sources: Sequence[str]) -> Schema:
    """Return the JSON Schema of the table that an attrs class of settings is read from.

    Args:
        cls: The class. Descriptions come from the ``Args:`` of its docstring.
        secret_sources: Names of the sources that secrets can be read from.
    """
    attrs.resolve_types(cls)
    described = _descriptions(cls)
    properties: dict[str, object] = {}
    required = []
    for attribute in attrs.fields(cls):
        entry = _of(attribute.type, secret_sources)
        if attribute.name in described:
            entry = {"description": described[attribute.name], **entry}
        if attribute.default is attrs.NOTHING:
            required.append(attribute.name)
        elif isinstance(attribute.default, str | int | float):
            entry = {**entry, "default": attribute.default}
        properties[attribute.name] = entry
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _of(kind: Any, sources: Sequence[str]) -> Schema:  # noqa: PLR0911 - one line for each kind
    if kind is Secret:
        return {"anyOf": [{"type": "string"}, *map(_source, sources)]}
    if kind is Duration:
        return _quantity(DURATION_UNITS)
    if kind is ByteSize:
        return _quantity(BYTE_SIZE_UNITS)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if isinstance(kind, type) and attrs.has(kind):
        return settings_schema(kind, secret_sources=sources)
    return _generic(get_origin(kind), get_args(kind), sources)


def _generic(origin: Any, arguments: tuple[Any, ...], sources: Sequence[str]) -> Schema:
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return next(_of(argument, sources) for argument in arguments if argument is not type(None))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], sources)}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _of(arguments[0], sources)}
    return {}


def _source(name: str) -> Schema:
    return {
        "type": "object",
        "properties": {name: {"type": "string"}},
        "required": [name],
        "additionalProperties": False,
    }


def _quantity(units: Iterable[str]) -> Schema:
    either_case = "|".join("".join(f"[{letter}{letter.upper()}]" for letter in unit) for unit in units)
    pattern = rf"^ *[0-9]+(\.[0-9]+)? *({either_case}) *$"
    return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": pattern}]}


def _descriptions(cls: type) -> dict[str, str]:
    """Return what the docstring says of each argument (Google style)."""
    lines = (cls.__doc__ or "").partition("Args:")[2].splitlines()
    found: dict[str, str] = {}
    name = None
    indent = 0
    for line in lines:
        if not line.strip():
            if name:
                break
            continue
        depth = len(line) - len(line.lstrip())
        match = _ARGUMENT.match(line)
        if match and (name is None or depth <= indent):
            name, indent = match[1], depth
            found[name] = match[2].strip()
        elif name is not None and depth > indent:
            found[name] += f" {line.strip()}"
    return {argument: text.replace("``", "`") for argument, text in found.items()}
