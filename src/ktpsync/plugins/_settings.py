"""Settings of plugins, and of ktpsync itself: from TOML values to frozen attrs classes."""

from __future__ import annotations

import difflib
import functools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NewType, TypeVar, get_args, get_origin

import attrs
import cattrs

from ktpsync.errors import ConfigError
from ktpsync.plugins._secrets import Secret, SecretSources
from ktpsync.structure import ExpectedError, Misfit, UnknownFieldError, misfits, new_converter

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

Duration = NewType("Duration", float)
"""Seconds; in the file a number, or text such as ``"30s"``, ``"15m"``, ``"2h"``, ``"1d"``."""

Duration.__doc__ = (
    """Seconds, for a field of settings; in the file a number, or text such as "30s", "15m", "2h", "1d"."""
)

ByteSize = NewType("ByteSize", int)
"""Bytes; in the file a number, or text such as ``"64 MiB"`` or ``"5 MB"``."""

ByteSize.__doc__ = (
    """Bytes, for a field of settings; in the file a number, or text such as "64 MiB" or "5 MB"."""
)

DURATION_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTE_SIZE_UNITS: Final = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_TELLING: Final = 4
"""A shorter text in the middle of a sentence is taken for a part of a word."""

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)")


def read_settings(
    cls: type[T],
    table: Mapping[str, object],
    *,
    where: str,
    base: Path | None = None,
    secrets: SecretSources | None = None,
    also: Iterable[str] = (),
) -> T:
    """Return an instance of a frozen attrs class from the values of a TOML table.

    Besides plain values, tuples, mappings and nested attrs classes it knows :class:`Secret`,
    :data:`Duration`, :data:`ByteSize` and :class:`pathlib.Path`.

    Args:
        cls: The class; a field without default is required.
        table: The values.
        where: What to call the table in messages, such as ``[destinations.central]``.
        base: The folder that relative paths start from. Default: the current one.
        secrets: Where secrets are read from. Default: the environment and files.
        also: Other settings that the table may have, to be suggested for an unknown one.

    Raises:
        ConfigError: Values are missing, unknown or malformed; all of them are listed.
    """
    converter = settings_converter(secrets or SecretSources(), base)
    attrs.resolve_types(cls)  # type: ignore[type-var]  # an attrs class
    try:
        made = converter.structure(table, cls)
    except cattrs.BaseValidationError as error:
        found = list(misfits(error))
    else:
        return made
    refused = list(_refused(converter, cls, table, {misfit.path for misfit in found}))
    names = [*also, *(attribute.name for attribute in attrs.fields(cls))]  # type: ignore[arg-type]  # an attrs class
    problems = [
        f"{_place(where, misfit.path)}: {_discreet(misfit, table, _sentence(misfit, names))}"
        for misfit in [*found, *refused]
        if misfit.path or not refused
    ]
    raise ConfigError("\n  - ".join(problems), problems=problems)


@functools.lru_cache(maxsize=4)
def settings_converter(sources: SecretSources, base: Path | None = None) -> cattrs.Converter:
    """Return a converter that knows all kinds of settings; it learns a class once, which takes about a millisecond.

    Args:
        sources: Where secrets are read from.
        base: The folder that relative paths start from. Default: the current one.
    """
    converter = new_converter()
    converter.register_structure_hook_func(lambda kind: kind is Duration, _duration)
    converter.register_structure_hook_func(lambda kind: kind is ByteSize, _byte_size)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Path, lambda value, _: _path(value, base))
    converter.register_structure_hook(Secret, lambda value, _: sources.read(value, base=base))
    converter.register_structure_hook_func(_is_choice, _choice)
    return converter


def _refused(
    converter: cattrs.Converter, cls: type, table: Mapping[str, object], wrong: Container[str]
) -> Iterator[Misfit]:
    """Yield what the class's validators refuse, each by its name: the class itself stops at the first."""
    for attribute in attrs.fields(cls):
        if attribute.validator is None or attribute.name in wrong or attribute.name not in table:
            continue
        try:
            value = converter.structure(table[attribute.name], attribute.type)
            attribute.validator(None, attribute, value)
        except (ValueError, TypeError, ConfigError) as error:
            yield Misfit(attribute.name, error)
        except cattrs.BaseValidationError:
            continue


def _place(where: str, path: str) -> str:
    return f"{where} {path}" if path else where


def _discreet(misfit: Misfit, table: Mapping[str, object], sentence: str) -> str:
    """Leave values out of what validators say: those of attrs print them, and a text may hold a password."""
    if isinstance(misfit.error, ConfigError | ExpectedError | UnknownFieldError | KeyError):
        return sentence
    if not misfit.path and len(misfit.error.args) == 1:
        return sentence  # the class's own words about several settings
    name = re.split(r"[.\[]", misfit.path, maxsplit=1)[0]
    for text in sorted(_texts(table.get(name, table)), key=len, reverse=True):
        sentence = sentence.replace(repr(text), "***")
        if len(text) >= _TELLING:
            sentence = sentence.replace(text, "***")
    return sentence


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _sentence(misfit: Misfit, names: Sequence[str]) -> str:
    match misfit.error:
        case UnknownFieldError(suggestion=suggestion):
            top_level = misfit.path.isidentifier()
            close = difflib.get_close_matches(misfit.path, names, n=1) if top_level else [suggestion]
            return f"there is no such setting{f'; perhaps {close[0]!r}' if close and close[0] else ''}"
        case KeyError():
            return "this setting is missing"
        case ExpectedError() as error:
            return f"expected {error}"
        case ConfigError() | ValueError() | TypeError() as error if error.args:
            return str(error.args[0])  # attrs' validators add the objects that the sentence is about
        case _:
            return "the value is not of the right kind"


def _is_choice(kind: object) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


def _choice(value: object, kind: object) -> object:
    if value not in get_args(kind):
        raise ExpectedError(f"one of {', '.join(map(str, get_args(kind)))}")
    return value


def _number(value: object, _: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ExpectedError("a number")
    return float(value)


def _duration(value: object, _: object) -> Duration:
    return Duration(_quantity(value, DURATION_UNITS, "a time such as 30s, 15m, 2h or 1d"))


def _byte_size(value: object, _: object) -> ByteSize:
    return ByteSize(int(_quantity(value, BYTE_SIZE_UNITS, "a size such as 500 kB, 64 MiB or 2 GB")))


def _quantity(value: object, units: Mapping[str, float], words: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return value
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ExpectedError(words)
    return float(match[1]) * units[match[2].lower()]


def _path(value: object, base: Path | None) -> Path:
    if not isinstance(value, str) or not value:
        raise ExpectedError("a path")
    return (base or Path()).absolute() / Path(value).expanduser()
