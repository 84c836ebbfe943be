"""Values of another type than their field has: what a type checker finds, for those who use none."""

from __future__ import annotations

import difflib
import functools
import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Union, cast, get_args, get_origin

import attrs
from attrs import frozen

from ktpsync.records._biometrics import Missing, Sample
from ktpsync.records._enrollment import Document
from ktpsync.records._moment import is_moment
from ktpsync.records._nik import Nik
from ktpsync.records._problems import Perhaps
from ktpsync.structure import choices

if TYPE_CHECKING:
    from ktpsync.records._finding import Finding

_CODES: Mapping[type, str] = {
    str: "json.not-text",
    int: "json.not-a-whole-number",
    bool: "json.not-yes-or-no",
    date: "json.not-a-date",
    datetime: "json.not-a-time",
    bytes: "sample.not-bytes",
    tuple: "json.not-a-list",
    Nik: "json.value-invalid",
}
_EXACT = frozenset({int, date})
"""Types whose subclasses are something else: True is no number, and a time is no date."""


@frozen(kw_only=True)
class _Kind:
    """What a field takes.

    Args:
        kinds: Its types.
        inside: The types of its elements, where it has any.
        places: What its elements are known by, where it is a mapping.
    """

    kinds: tuple[type, ...]
    inside: tuple[type, ...] = ()
    places: type[Enum] | None = None

    def takes(self, value: object) -> bool:
        """Return whether the field takes a value."""
        if isinstance(value, datetime) and not is_moment(value):
            return False
        kind = type(value)
        return kind in self.kinds or any(one not in _EXACT and issubclass(kind, one) for one in self.kinds)


def kind_findings(value: attrs.AttrsInstance, path: str) -> Iterator[Finding]:
    """Yield the fields of a value, and of the values inside it, that hold something of another type.

    Args:
        value: An instance of a model.
        path: Where it is; empty for the whole.
    """
    for name, kind in _kinds(type(value)).items():
        found = getattr(value, name)
        where = _path(value, name, path)
        if not kind.takes(found):
            yield where, *_told(kind.kinds[0])
        elif kind.inside:
            yield from _elements(found, kind, where)
        elif attrs.has(type(found)):
            yield from kind_findings(found, where)


def _path(value: object, name: str, path: str) -> str:
    """Return the path of a field as the JSON has it."""
    if (isinstance(value, Document) and name == "scan") or (isinstance(value, Sample) and name == "data"):
        return path
    if isinstance(value, Missing):
        return f"{path}.missing.{name}"
    return f"{path}.{name}" if path else name


def _elements(found: Mapping[Enum, object] | tuple[object, ...], kind: _Kind, path: str) -> Iterator[Finding]:
    if isinstance(found, Mapping):
        assert kind.places is not None  # every mapping of the models is from places
        pairs = [(f"{path}.{place.value}", found[place]) for place in kind.places if place in found]
        for key in found:
            if not isinstance(key, kind.places):
                close = difflib.get_close_matches(str(key), [str(place.value) for place in kind.places], n=1)
                yield (
                    f"{path}.{key}",
                    "json.field-unknown",
                    {"suggestion": Perhaps(close[0] if close else "")},
                )
    else:
        pairs = [(f"{path}[{number}]", one) for number, one in enumerate(found)]
    for where, one in pairs:
        if not isinstance(one, kind.inside):
            yield where, *_told(kind.inside[0])
        elif attrs.has(type(one)):
            yield from kind_findings(cast("attrs.AttrsInstance", one), where)


def _told(kind: type) -> tuple[str, dict[str, object]]:
    if issubclass(kind, Enum):
        return "json.not-a-choice", {"choices": choices(kind)}
    return _CODES.get(kind, "json.not-an-object"), {}


@functools.cache
def _kinds(cls: type[attrs.AttrsInstance]) -> Mapping[str, _Kind]:
    attrs.resolve_types(cls)
    return {attribute.name: _of(attribute.type) for attribute in attrs.fields(cls)}


def _of(kind: object) -> _Kind:
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _Kind(kinds=arguments)
    if isinstance(origin, type):
        inside = arguments[-1] if origin is not tuple else arguments[0]
        places = arguments[0] if issubclass(origin, Mapping) else None
        return _Kind(kinds=(origin,), inside=get_args(inside) or (inside,), places=places)
    assert isinstance(kind, type)
    return _Kind(kinds=(kind,))
