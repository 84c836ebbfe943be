"""How a plugin announces what it offers, without importing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from attrs.validators import instance_of, matches_re

if TYPE_CHECKING:
    from attrs import Attribute

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_TARGET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")


def _import_string(_spec: object, attribute: Attribute[str], value: str) -> None:
    if not _TARGET.fullmatch(value):
        raise ValueError(f"{attribute.name} must be an import string such as package.module:Name")


@frozen(kw_only=True)
class BackendSpec:
    """A backend that a plugin offers, without importing it.

    Args:
        name: The name that users write after ``backend =``: lower-case letters, digits, hyphens.
        api_version: The ``PLUGIN_API_VERSION`` that the plugin was written for, as a number: not the
            constant, which changes when ktpsync is upgraded.
        summary: One sentence for ``ktpsync plugins``.
        config: Import string ``package.module:Class`` of the frozen attrs class of its settings.
        factory: Import string of the backend class, called as ``factory(config, context)``.
    """

    name: str = field(validator=matches_re(_NAME))
    api_version: int = field(validator=instance_of(int))
    summary: str = field(validator=instance_of(str))
    config: str = field(validator=_import_string)
    factory: str = field(validator=_import_string)


@frozen(kw_only=True)
class SecretProvider:
    """A place that secrets can be read from, such as the system's keyring, without importing it.

    A setting that holds a secret names it: ``token = { NAME = "reference" }``.

    Args:
        name: The name that users write: lower-case letters, digits, hyphens.
        api_version: The ``PLUGIN_API_VERSION`` that the plugin was written for, as a number.
        summary: One sentence for ``ktpsync plugins``.
        read: Import string of a function that takes the reference and returns the secret as text, or
            ``None`` where there is no such entry. What keeps it from reading it raises as
            :class:`ktpsync.errors.ConfigError`, whose message is shown; of other exceptions only the
            class is shown, for their text might hold the secret.
    """

    name: str = field(validator=matches_re(_NAME))
    api_version: int = field(validator=instance_of(int))
    summary: str = field(validator=instance_of(str))
    read: str = field(validator=_import_string)
