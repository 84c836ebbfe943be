"""What could be read of a document that does not fit the models, so that rules find what else is wrong with it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin

import attrs
import cattrs

from ktpsync.records._biometrics import Missing
from ktpsync.records._enrollment import Document, Enrollment
from ktpsync.records._nik import Nik
from ktpsync.records._readable import UNREAD

if TYPE_CHECKING:
    from enum import Enum


def partial(body: object, converter: cattrs.Converter) -> Enrollment:
    """Return the enrollment with what could not be read marked as such.

    Args:
        body: The document.
        converter: Reads the parts.
    """
    return cast("Enrollment", _object(Enrollment, body, converter))


def _object(cls: type[attrs.AttrsInstance], value: object, converter: cattrs.Converter) -> object:
    if not isinstance(value, Mapping):
        return UNREAD
    attrs.resolve_types(cls)
    read: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        if attribute.name in value:
            read[attribute.name] = _value(attribute.type, value[attribute.name], converter)
        elif attribute.default is attrs.NOTHING:
            read[attribute.name] = UNREAD
    return cls(**read)


def _value(kind: Any, value: object, converter: cattrs.Converter) -> object:
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin in {Union, types.UnionType} and Missing not in arguments:
        if value is None:
            return None
        (kind,) = (one for one in arguments if one is not types.NoneType)
    if origin is Mapping:
        return _places(arguments[0], arguments[1], value, converter)
    if origin is tuple:
        return (
            tuple(_value(arguments[0], one, converter) for one in value)
            if isinstance(value, list)
            else UNREAD
        )
    if attrs.has(kind) and kind not in {Document, Nik}:
        return _object(kind, value, converter)
    try:
        return converter.structure(value, kind)
    except (cattrs.BaseValidationError, ValueError, KeyError, TypeError):
        return UNREAD


def _places(places: type[Enum], kind: Any, value: object, converter: cattrs.Converter) -> object:
    if not isinstance(value, Mapping):
        return UNREAD
    return {place: _value(kind, value[place.value], converter) for place in places if place.value in value}
