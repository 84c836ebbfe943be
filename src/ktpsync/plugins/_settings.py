"""Settings of plugins, and of ktpsync itself: from TOML values to frozen attrs classes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NewType, NoReturn, TypeVar

import cattrs

from ktpsync.errors import ConfigError
from ktpsync.structure import ExpectedError, UnknownFieldError, misfits, new_converter

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

Duration = NewType("Duration", float)
"""Seconds; in the file a number, or text such as ``"30s"``, ``"15m"``, ``"2h"``, ``"1d"``."""

ByteSize = NewType("ByteSize", int)
"""Bytes; in the file a number, or text such as ``"64 MiB"`` or ``"5 MB"``."""

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES: Final = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)")


class Secret:
    """A value that is never shown: a token, a password, a secret key.

    In the file it is text, or says where the text is: ``{ env = "NAME" }``, ``{ file = "path" }`` or
    ``{ keyring = "service/name" }``.

    Args:
        value: The secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret is not pickled: it would be in clear.")


def read_settings(cls: type[T], table: Mapping[str, object], *, where: str, base: Path | None = None) -> T:
    """Return an instance of a frozen attrs class from the values of a TOML table.

    Besides plain values, tuples, mappings and nested attrs classes it knows :class:`Secret`,
    :data:`Duration`, :data:`ByteSize` and :class:`pathlib.Path`.

    Args:
        cls: The class; a field without default is required.
        table: The values.
        where: What to call the table in messages, such as ``[destinations.central]``.
        base: The folder that relative paths start from. Default: the current one.

    Raises:
        ConfigError: Values are missing, unknown or malformed; all of them are listed.
    """
    converter = new_converter()
    converter.register_structure_hook_func(lambda kind: kind is Duration, _duration)
    converter.register_structure_hook_func(lambda kind: kind is ByteSize, _byte_size)
    converter.register_structure_hook_func(lambda kind: kind is float, _number)
    converter.register_structure_hook(Path, lambda value, _: _path(value, base))
    converter.register_structure_hook(Secret, lambda value, _: _secret(value, base))
    try:
        return converter.structure(table, cls)
    except cattrs.BaseValidationError as error:
        lines = [f"{where} {misfit.path}: {_sentence(misfit.error)}" for misfit in misfits(error)]
        raise ConfigError("\n  - ".join(lines)) from None


def _sentence(error: BaseException) -> str:
    match error:
        case UnknownFieldError(suggestion=str(suggestion)):
            return f"there is no such setting; perhaps {suggestion!r}"
        case UnknownFieldError():
            return "there is no such setting"
        case KeyError():
            return "this setting is missing"
        case ExpectedError():
            return f"expected {error}"
        case ConfigError() | ValueError():
            return str(error)
        case _:
            return "the value is not of the right kind"


def _number(value: object, _: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ExpectedError("a number")
    return float(value)


def _duration(value: object, _: object) -> Duration:
    return Duration(_quantity(value, _SECONDS, "a time such as 30s, 15m, 2h or 1d"))


def _byte_size(value: object, _: object) -> ByteSize:
    return ByteSize(int(_quantity(value, _BYTES, "a size such as 500 kB, 64 MiB or 2 GB")))


def _quantity(value: object, units: Mapping[str, float], words: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return value
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ExpectedError(words)
    return float(match[1]) * units[match[2].lower()]


def _path(value: object, base: Path | None) -> Path:
    if not isinstance(value, str) or not value:
        raise ExpectedError("a path")
    return (base or Path()).absolute() / Path(value).expanduser()


def _secret(value: object, base: Path | None) -> Secret:
    match value:
        case str():
            return Secret(value)
        case {"env": str(name), **rest} if not rest:
            if name not in os.environ:
                raise ConfigError(f"the environment variable {name} is not set")
            return Secret(os.environ[name])
        case {"file": str(name), **rest} if not rest:
            path = _path(name, base)
            try:
                return Secret(path.read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"the file {path} cannot be read: {error}") from None
        case {"keyring": str(name), **rest} if not rest:
            return _from_keyring(name)
        case _:
            raise ExpectedError('a text, { env = "NAME" }, { file = "path" } or { keyring = "service/name" }')


def _from_keyring(name: str) -> Secret:
    try:
        import keyring  # noqa: PLC0415 - an optional package
    except ImportError:
        raise ConfigError("secrets from the keyring need one more package: pip install keyring") from None
    service, _, user = name.rpartition("/")
    found = keyring.get_password(service, user)
    if found is None:
        raise ConfigError(f"the keyring has no entry {name!r}; add it with: keyring set {service} {user}")
    return Secret(found)
