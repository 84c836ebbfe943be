"""How models and JSON values become each other: strictly, and with every problem named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import TypeVar, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from ktpsync.clock import utc_text
from ktpsync.records._nik import Nik
from ktpsync.records._problems import Problem, problem

T = TypeVar("T")


class ExpectedError(ValueError):
    """A JSON value is not what stands in the message, such as ``a whole number``."""


class CodedError(ValueError):
    """A problem that has a code of its own in the catalogue.

    Args:
        code: The code.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def new_converter() -> cattrs.Converter:
    """Return a converter that takes JSON values at their word and refuses unknown fields."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind, words in ((str, "a text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook_func(_is(kind), _exactly(kind, words))
    converter.register_structure_hook(date, _date)
    converter.register_structure_hook(datetime, _moment)
    converter.register_structure_hook(Nik, _nik)
    converter.register_structure_hook_func(_is_enum, _enum)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(datetime, utc_text)
    converter.register_unstructure_hook(Nik, str)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _object(converter, cls))
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _without_nothing(converter, cls))
    return converter


def problems_of(error: BaseException, path: str = "") -> Iterator[Problem]:
    """Yield a problem for each thing that structuring found, with its path in the JSON."""
    if isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        inner, others = error.group_exceptions()
        for found, note in inner:
            yield from problems_of(found, _join(path, note))
        for found in others:
            yield from problems_of(found, path)
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            close = difflib.get_close_matches(name, known, n=1)
            suggestion = f"; perhaps {close[0]!r}" if close else ""
            # The name is what somebody typed; more than a plausible field name could be data.
            shown = name if name.isidentifier() and len(name) <= 40 else "?"  # noqa: PLR2004
            yield problem(_dotted(path, shown), "json.field-unknown", suggestion=suggestion)
    elif isinstance(error, KeyError):
        yield problem(path, "json.field-missing")
    elif isinstance(error, CodedError):
        yield problem(path, error.code)
    else:
        expected = str(error) if isinstance(error, ExpectedError) else "of the right kind"
        yield problem(path or "enrollment", "json.value-invalid", expected=expected)


def _join(path: str, note: cattrs.AttributeValidationNote | cattrs.IterableValidationNote) -> str:
    if isinstance(note, cattrs.AttributeValidationNote):
        return _dotted(path, note.name)
    if isinstance(note.index, int):
        return f"{path}[{note.index}]"
    return _dotted(path, str(note.index)[:40])


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is(kind: type) -> Callable[[object], bool]:
    return lambda cls: cls is kind


def _exactly(kind: type[T], words: str) -> Callable[[object, type[T]], T]:
    def structure(value: object, _: type[T]) -> T:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ExpectedError(words)
        return value

    return structure


def _date(value: object, _: type[date]) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ExpectedError("a date of the calendar such as 1990-08-17") from None


def _moment(value: object, _: type[datetime]) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ExpectedError("a time with its zone such as 2017-03-17T09:30:00+07:00")
    return moment


def _nik(value: object, _: type[Nik]) -> Nik:
    try:
        return Nik(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ExpectedError(f"a NIK: {error}") from None


def _is_enum(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, Enum)


def _enum(value: object, cls: type[Enum]) -> Enum:
    try:
        return cls(value)
    except ValueError:
        raise ExpectedError(f"one of {', '.join(str(member.value) for member in cls)}") from None


def _object(converter: cattrs.Converter, cls: type[T]) -> Callable[[object, type[T]], T]:
    structure = make_dict_structure_fn(get_origin(cls) or cls, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: object, kind: type[T]) -> T:
        if not isinstance(value, Mapping):
            raise ExpectedError("an object with fields")
        made: T = structure(value, kind)
        return made

    return hook


def _without_nothing(converter: cattrs.Converter, cls: type[T]) -> Callable[[T], dict[str, object]]:
    """Leave out optional fields that have their default, so that the JSON says what was said."""
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
