"""Secrets in settings: values that are never shown, and the places they are read from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from ktpsync.errors import ConfigError, PluginError
from ktpsync.structure import ExpectedError

if TYPE_CHECKING:
    from collections.abc import Iterable

ReadSecret = Callable[[str], "str | None"]
"""Takes the reference that stands in the file, returns the secret."""

BUILT_IN_SOURCES: Final = ("env", "file")
"""Sources of secrets that need no plugin."""


class Secret:
    """A value that is never shown: a token, a password, a secret key.

    In the file it is text, or says where the text is: ``{ env = "NAME" }``, ``{ file = "path" }``, or
    the name of a secret provider with its reference, such as ``{ keyring = "service/name" }``.

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

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret is not pickled: it would be in clear.")


class SecretSources:
    """Where secrets can be read from: the environment, files, and what plugins add.

    Args:
        providers: By name, a function that returns the reading function of a plugin; called at first use.
    """

    def __init__(self, providers: Mapping[str, Callable[[], ReadSecret]] | None = None) -> None:
        self._providers = dict(providers or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a setting can use."""
        return (*BUILT_IN_SOURCES, *sorted(self._providers))

    def read(self, value: object, *, base: Path | None = None) -> Secret:
        """Return the secret that a value of the file stands for.

        Args:
            value: Text, or a table with one source and its reference.
            base: The folder that relative paths start from.

        Raises:
            ConfigError: It cannot be read there; the message never holds the secret.
            ExpectedError: The value is neither text nor such a table.
        """
        match value:
            case str():
                return Secret(value)
            case {"env": str(name), **rest} if not rest:
                return _from_environment(name)
            case {"file": str(name), **rest} if not rest and name:
                return _from_file((base or Path()).absolute() / Path(name).expanduser())
            case dict() if len(value) == 1:
                ((source, reference),) = value.items()
                return self._from_provider(str(source), reference)
            case _:
                raise ExpectedError(f"a text or {_alternatives(self.names)}")

    def _from_provider(self, source: str, reference: object) -> Secret:
        if source not in self._providers:
            raise ExpectedError(f"a text or {_alternatives(self.names)}; no plugin reads others")
        if not isinstance(reference, str):
            raise ExpectedError(f"{_alternatives([source])}")
        try:
            found = self._providers[source]()(reference)
        except (ConfigError, PluginError) as error:
            raise ConfigError(str(error)) from None
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with the secret in its text
            raise ConfigError(f"reading it from {source} failed ({type(error).__name__})") from None
        if not isinstance(found, str):
            raise ConfigError(f"{source} has no entry {reference!r}")
        return Secret(found)


def _from_environment(name: str) -> Secret:
    if name not in os.environ:
        raise ConfigError(f"the environment variable {name} is not set")
    return _not_empty(os.environ[name].strip(), f"the environment variable {name}")


def _from_file(path: Path) -> Secret:
    try:
        return _not_empty(path.read_text(encoding="utf-8-sig").strip(), f"the file {path}")
    except UnicodeDecodeError:
        raise ConfigError(f"the file {path} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be read: {error.strerror or error}") from None


def _not_empty(value: str, where: str) -> Secret:
    if not value:
        raise ConfigError(f"{where} is empty")
    return Secret(value)


def _alternatives(names: Iterable[str]) -> str:
    references = {"env": "NAME", "file": "path"}
    return " or ".join(f'{{ {name} = "{references.get(name, "...")}" }}' for name in names)
