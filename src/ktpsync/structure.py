"""JSON and TOML values into attrs classes: strictly, and with every problem named by its path."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, StrEnum
from typing import TypeGuard, TypeVar, get_origin

import attrs
import cattrs
from attrs import frozen
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

T = TypeVar("T")

_LONGEST_NAME = 40


class ExpectedError(ValueError):
    """A value is not what stands in the message, such as ``a whole number``. Never holds the value."""


class NotAnObjectError(ExpectedError):
    """A value is not an object with fields."""

    def __init__(self) -> None:
        super().__init__("an object with fields")


@frozen
class Misfit:
    """One place where a document does not fit its class.

    Args:
        path: Where, such as ``capture.office`` or ``documents[1]``; empty for the whole.
        error: What was found there: KeyError for a missing field, :class:`UnknownFieldError`,
            :class:`ExpectedError`, or what a hook raised.
    """

    path: str
    error: BaseException


class UnknownFieldError(ValueError):
    """A field that the class does not have.

    Args:
        suggestion: The known field that its name is closest to, if any is close.
    """

    def __init__(self, suggestion: str | None) -> None:
        self.suggestion = suggestion
        super().__init__("unknown field")


def new_converter() -> cattrs.Converter:
    """Return a converter that takes values at their word and refuses unknown fields."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, exactly(str, "a text"))
    converter.register_structure_hook(int, exactly(int, "a whole number"))
    converter.register_structure_hook(bool, exactly(bool, "true or false"))
    converter.register_structure_hook_func(is_enum, _enum)
    converter.register_structure_hook(StrEnum, _enum)  # or it would be taken for the text that it is, too
    converter.register_structure_hook_factory(attrs.has, lambda cls: _object(converter, cls))
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    )
    return converter


def exactly(kind: type[T], words: str) -> Callable[[object, object], T]:
    """Return a structure hook that takes values of one type and converts none."""

    def structure(value: object, _: object) -> T:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ExpectedError(words)
        return value

    return structure


def misfits(error: BaseException, path: str = "") -> Iterator[Misfit]:
    """Yield everything that structuring found, from the error that cattrs raised."""
    if isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        inner, others = error.group_exceptions()
        for found, note in inner:
            name = note.name if isinstance(note, cattrs.AttributeValidationNote) else note.index
            yield from misfits(
                found, f"{path}[{name}]" if isinstance(name, int) else _dotted(path, str(name))
            )
        for found in others:
            yield from misfits(found, path)
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        for name in sorted(map(str, error.extra_fields)):
            close = difflib.get_close_matches(name, known, n=1)
            yield Misfit(_dotted(path, name), UnknownFieldError(close[0] if close else None))
    else:
        yield Misfit(path, error)


def _dotted(path: str, name: str) -> str:
    # A field's name is what somebody typed; what is no plausible name could be data and is not repeated.
    plausible = len(name) <= _LONGEST_NAME and name.replace("-", "_").isidentifier() and name.isascii()
    shown = name if plausible else "?"
    return f"{path}.{shown}" if path else shown


def is_enum(kind: object) -> TypeGuard[type[Enum]]:
    """Return whether a field's type is an enumeration."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def _enum(value: object, cls: type[Enum]) -> Enum:
    try:
        return cls(value)
    except ValueError:
        raise ExpectedError(f"one of {choices(cls)}") from None


def choices(kind: type[Enum]) -> str:
    """Return an enumeration's values, for people."""
    return ", ".join(str(member.value) for member in kind)


def _object(converter: cattrs.Converter, cls: type[T]) -> Callable[[object, type[T]], T]:
    structure = make_dict_structure_fn(get_origin(cls) or cls, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: object, kind: type[T]) -> T:
        if not isinstance(value, Mapping):
            raise NotAnObjectError
        made: T = structure(value, kind)
        return made

    return hook
