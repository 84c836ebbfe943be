"""The JSON Schema of ``enrollment.json``, generated from the models.

It states what can be said of one field at a time. What needs the files, lists of codes or several fields is left
to :func:`ktpsync.records.problems`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from importlib import resources
from typing import Final, Union, cast, get_args, get_origin

import attrs

from ktpsync.records import _moment, _nik
from ktpsync.records._biometrics import Missing, Sample
from ktpsync.records._enrollment import Document, Enrollment
from ktpsync.records._entry import Entry, entries
from ktpsync.records._json import SCHEMA, DocumentEntry, FileEntry
from ktpsync.records._nik import Nik
from ktpsync.records._rules_samples import MAX_DOCUMENTS
from ktpsync.records._shape import CONTROL

Json = dict[str, object]

FILE_NAME: Final = "enrollment-1.schema.json"
_SHA256: Final = "[0-9a-f]{64}"
_ENTRY: Final = "SampleOrMissing"


def json_schema() -> Json:
    """Return the published JSON Schema (draft 2020-12) of ``enrollment.json``, as shipped with ktpsync."""
    text = (resources.files("ktpsync.records") / FILE_NAME).read_text(encoding="utf-8")
    return cast("Json", json.loads(text))


def generated_schema() -> Json:
    """Return the schema as the models are now."""
    definitions: dict[str, Json] = {}
    whole = _object(Enrollment, definitions)
    properties = {"schema": {"const": SCHEMA}, **cast("Json", whole["properties"])}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('.', ':').replace('/', ':')}",
        "title": "Enrollment",
        "description": "What an office captured of one person. Files are named relative to this document.",
        **whole,
        "properties": properties,
        "required": ["schema", *cast("list[str]", whole["required"])],
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """Return the text of the published file."""
    return json.dumps(generated_schema(), ensure_ascii=False, indent=1) + "\n"


def _object(cls: type[attrs.AttrsInstance], definitions: dict[str, Json]) -> Json:
    attrs.resolve_types(cls)
    known = entries(Sample if issubclass(cls, FileEntry) else cls)
    properties: Json = {}
    for attribute in attrs.fields(cls):
        entry = known.get(attribute.name, Entry(label=""))
        properties[attribute.name] = {
            **_typed(attribute.name, attribute.type, entry, definitions),
            **_told(entry),
        }
    required = [attribute.name for attribute in attrs.fields(cls) if attribute.default is attrs.NOTHING]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _told(entry: Entry) -> Json:
    told: Json = {}
    if entry.label:
        told["title"] = entry.label
    if entry.rule:
        told["description"] = entry.rule
    return told


def _typed(name: str, kind: object, entry: Entry, definitions: dict[str, Json]) -> Json:
    arguments = get_args(kind)
    if get_origin(kind) in {Union, types.UnionType}:
        if Missing in arguments:
            return _sample_or_missing(definitions)
        (other,) = (one for one in arguments if one is not types.NoneType)
        return {"anyOf": [_typed(name, other, entry, definitions), {"type": "null"}]}
    if get_origin(kind) is Mapping:
        inside = _sample_or_missing(definitions)
        names = [str(place.value) for place in arguments[0]]
        return {
            "type": "object",
            "properties": dict.fromkeys(names, inside),
            "required": names,
            "additionalProperties": False,
        }
    if get_origin(kind) is tuple:
        return {
            "type": "array",
            "items": _typed(name, arguments[0], entry, definitions),
            "maxItems": MAX_DOCUMENTS,
        }
    assert isinstance(kind, type)
    return _plain(name, kind, entry, definitions)


_SIMPLE: Final[Mapping[type, Json]] = {
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time", "pattern": f"^{_moment.PATTERN}$"},
    date: {"type": "string", "format": "date", "pattern": "^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
}


def _plain(name: str, kind: type, entry: Entry, definitions: dict[str, Json]) -> Json:
    if attrs.has(kind):
        return _reference(DocumentEntry if kind is Document else kind, definitions)
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind is int:
        if entry.bounds is None:
            return {"type": "integer"}
        low, high, _ = entry.bounds
        return {"type": "integer", "minimum": low, "maximum": high}
    return dict(_SIMPLE[kind]) if kind in _SIMPLE else _text(name, entry)


def _text(name: str, entry: Entry) -> Json:
    if name == "file":
        return {"type": "string"}
    if name == "sha256":
        return {"type": "string", "pattern": f"^{_SHA256}$"}
    if entry.digits is not None:
        return {"type": "string", "pattern": f"^[0-9]{{{entry.digits}}}$"}
    if entry.pattern is not None:
        return {"type": "string", "pattern": f"^{entry.pattern[0]}$"}
    shown = f"[^{CONTROL}]*[^{CONTROL}\\s][^{CONTROL}]*"
    pattern = f"^(?:{shown})?$" if entry.may_be_empty else f"^{shown}$"
    return {"type": "string", "maxLength": entry.longest, "pattern": pattern}


def _reference(cls: type[attrs.AttrsInstance], definitions: dict[str, Json]) -> Json:
    name = cls.__name__
    if cls is Nik:
        definitions[name] = {
            "type": "string",
            "pattern": f"^{_nik.PATTERN}$",
            "examples": ["3578014405920001"],
        }
    elif name not in definitions:
        definitions[name] = _object(cls, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _sample_or_missing(definitions: dict[str, Json]) -> Json:
    if _ENTRY not in definitions:
        missing = {
            "type": "object",
            "properties": {"missing": _reference(Missing, definitions)},
            "required": ["missing"],
            "additionalProperties": False,
        }
        definitions[_ENTRY] = {"anyOf": [_reference(FileEntry, definitions), missing]}
    return {"$ref": f"#/$defs/{_ENTRY}"}
