"""From the import strings of an announcement to classes that can be used, or a message that says why not."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

import attrs

from ktpsync.errors import PluginError
from ktpsync.plugins._backend import Backend
from ktpsync.plugins._secrets import SecretSources
from ktpsync.plugins._settings import settings_converter
from ktpsync.plugins._spec import BackendSpec

if TYPE_CHECKING:
    from ktpsync.plugins._secrets import ReadSecret
    from ktpsync.plugins._spec import SecretProvider

_EXTRAS: Final = {"boto3": "s3", "botocore": "s3", "keyring": "keyring"}
"""Missing module to the extra of ktpsync that installs it."""

_SOURCES: Final = SecretSources()
"""Any will do to learn whether a class can be read."""


def settings_class(spec: BackendSpec) -> type:
    """Import a backend's settings and return their class.

    Raises:
        PluginError: They cannot be imported, or are no frozen attrs class.
    """
    found = _resolve(spec, spec.config)
    if not isinstance(found, type) or not attrs.has(found) or not attrs.inspect(found).is_frozen:
        raise PluginError(
            f"The backend {spec.name!r} cannot be used: its settings {spec.config} must be a class made with "
            "@attrs.frozen."
        )
    try:
        settings_converter(_SOURCES).get_structure_hook(found)
    except Exception as error:
        raise PluginError(
            f"The backend {spec.name!r} cannot be used: {_unreadable(found)} of its settings {spec.config} is of a kind "
            f"that cannot be read from the file: {error}"
        ) from error
    return found


def _unreadable(settings: type) -> str:
    """Name the field whose type nothing can read."""
    converter = settings_converter(_SOURCES)
    for attribute in attrs.fields(settings):
        try:
            converter.get_structure_hook(attribute.type)
        except Exception:  # noqa: BLE001 - whatever it is, it is this field's
            return f"the field {attribute.name!r}"
    return "a field"


def backend_class(spec: BackendSpec) -> type[Backend]:
    """Import a backend and return its class.

    Raises:
        PluginError: It cannot be imported, or is no backend.
    """
    found = _resolve(spec, spec.factory)
    if not isinstance(found, type) or not issubclass(found, Backend):
        raise PluginError(
            f"The backend {spec.name!r} cannot be used: {spec.factory} is not a subclass of ktpsync.plugins.Backend."
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise PluginError(
            f"The backend {spec.name!r} cannot be used: {spec.factory} lacks {', '.join(missing)}."
        )
    return found


def reading_function(provider: SecretProvider) -> ReadSecret:
    """Import a secret provider and return the function that reads.

    Raises:
        PluginError: It cannot be imported.
    """
    found = _resolve(provider, provider.read)
    if not callable(found):
        raise PluginError(
            f"The secret provider {provider.name!r} cannot be used: {provider.read} is no function."
        )
    return cast("ReadSecret", found)


def _resolve(spec: BackendSpec | SecretProvider, target: str) -> object:
    kind = "backend" if isinstance(spec, BackendSpec) else "secret provider"
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if "." in missing and f"{module}.".startswith(f"{missing}."):
            raise PluginError(
                f"The {kind} {spec.name!r} cannot be used: {target!r} names no module. Tell the plugin's author; "
                f"there is no {missing!r}."
            ) from error
        extra = _EXTRAS.get(missing.partition(".")[0])
        hint = f'; run: pip install "ktpsync[{extra}]"' if extra else ""
        raise PluginError(
            f"The {kind} {spec.name!r} needs the package {missing!r}, which is missing{hint}."
        ) from error
    except Exception as error:
        raise PluginError(
            f"The {kind} {spec.name!r} cannot be imported from {target}: {type(error).__name__}: {error}."
        ) from error
