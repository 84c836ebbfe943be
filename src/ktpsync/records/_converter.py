"""How the models and ``enrollment.json`` become each other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeVar, cast, get_args, get_origin

from cattrs.cols import list_structure_factory, mapping_structure_factory

from ktpsync.errors import NikError
from ktpsync.records import _moment
from ktpsync.records._nik import Nik
from ktpsync.records._places import Eye, Finger
from ktpsync.records._problems import Perhaps, Problem, problem
from ktpsync.structure import NotAnObjectError, UnknownFieldError, choices, misfits, new_converter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import Enum

    import cattrs

T = TypeVar("T")

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(_moment.PATTERN)


class CodedError(ValueError):
    """A problem that has a code of its own in the catalogue.

    Args:
        code: The code.
        values: What its message names.
    """

    def __init__(self, code: str, **values: object) -> None:
        self.code = code
        self.values = values
        super().__init__(code)


def new_records_converter() -> cattrs.Converter:
    """Return a converter for the models, without samples."""
    converter = new_converter()
    converter.register_structure_hook(str, _exactly(str, "json.not-text"))
    converter.register_structure_hook(bool, _exactly(bool, "json.not-yes-or-no"))
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(date, _date)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(Nik, _nik)
    converter.register_structure_hook(StrEnum, _choice)
    converter.register_structure_hook(Finger, _place)
    converter.register_structure_hook(Eye, _place)
    converter.register_structure_hook_factory(
        lambda kind: _is_made_of(kind, tuple), lambda kind: _list_of(converter, kind)
    )
    converter.register_structure_hook_factory(
        lambda kind: _is_made_of(kind, Mapping), lambda kind: _places_of(converter, kind)
    )
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(datetime, _moment.moment_text)
    converter.register_unstructure_hook(Nik, attrgetter("digits"))
    return converter


def problems_of(error: BaseException) -> Iterator[Problem]:
    """Yield a problem for each thing that structuring found, with its path in the JSON."""
    for misfit in misfits(error):
        path = misfit.path or "enrollment"
        match misfit.error:
            case UnknownFieldError(suggestion=suggestion):
                yield problem(path, "json.field-unknown", {"suggestion": Perhaps(suggestion or "")})
            case KeyError():
                yield problem(path, "json.field-missing")
            case CodedError(code=code, values=values):
                yield problem(path, code, values)
            case NikError(code=code):
                yield problem(path, code)
            case NotAnObjectError():
                yield problem(path, "json.not-an-object")
            case _:
                yield problem(path, "json.value-invalid")


def _exactly(kind: type[T], code: str) -> Callable[[object, object], T]:
    def structure(value: object, _: object) -> T:
        if not isinstance(value, kind):
            raise CodedError(code)
        return value

    return structure


def _whole(value: object, _: object) -> int:
    # In JSON 80 and 80.0 are the same number.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CodedError("json.not-a-whole-number")
    return value


def _date(value: object, _: object) -> date:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise CodedError("json.not-a-date")


def _time(value: object, _: object) -> datetime:
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise CodedError("json.not-a-time")


def _nik(value: object, _: object) -> Nik:
    # A document for machines has one spelling; Nik itself also takes what people type.
    if not isinstance(value, str):
        raise CodedError("json.not-text")
    nik = Nik(value)
    if nik.digits != value:
        raise CodedError("nik.digits")
    return nik


def _is_made_of(kind: object, container: type) -> bool:
    return bool(get_origin(kind) == container)


def _choice(value: object, kind: type[Enum]) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise CodedError("json.not-a-choice", choices=choices(kind)) from None


def _place(value: object, kind: type[Enum]) -> Enum:
    try:
        return kind(value)
    except ValueError:
        names = [str(member.value) for member in kind]
        close = difflib.get_close_matches(str(value), names, n=1)
        raise UnknownFieldError(close[0] if close else None) from None


def _list_of(converter: cattrs.Converter, kind: type) -> Callable[[object, object], tuple[object, ...]]:
    structure = list_structure_factory(cast("type", list[get_args(kind)[0]]), converter)  # type: ignore[misc]

    def hook(value: object, _: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise CodedError("json.not-a-list")
        return tuple(structure(value, list))

    return hook


def _places_of(converter: cattrs.Converter, kind: type) -> Callable[[object, object], Mapping[Enum, object]]:
    structure = cast(
        "Callable[[object, object], Mapping[Enum, object]]", mapping_structure_factory(kind, converter)
    )

    def hook(value: object, _: object) -> Mapping[Enum, object]:
        if not isinstance(value, Mapping):
            raise NotAnObjectError
        return structure(value, kind)

    return hook
