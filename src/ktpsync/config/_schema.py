"""The JSON Schema of ``ktpsync.toml``, with the settings of all installed backends, so that editors complete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from attrs import frozen

from ktpsync.config._sections import NAME, BackupSettings, DestinationSettings, OfficeSettings, SpoolSettings
from ktpsync.errors import PluginError
from ktpsync.plugins import StorageBackend, settings_schema

if TYPE_CHECKING:
    from ktpsync.plugins import PluginRegistry


@frozen(kw_only=True)
class FileSchema:
    """The JSON Schema of a configuration file.

    Args:
        document: The schema (draft 2020-12).
        left_out: One line for each backend whose settings it lacks.
    """

    document: dict[str, object]
    left_out: tuple[str, ...]


def schema(registry: PluginRegistry) -> FileSchema:
    """Return the JSON Schema of a configuration file. Imports every installed backend.

    Args:
        registry: The installed backends.
    """
    sources = registry.secret_sources().names
    destinations: list[dict[str, object]] = []
    backups: list[dict[str, object]] = []
    spools: list[dict[str, object]] = []
    left_out = []
    for name, spec in sorted(registry.backends().items()):
        try:
            settings = settings_schema(registry.settings_class(name), secret_sources=sources)
            stores = issubclass(registry.backend_class(name), StorageBackend)
        except PluginError as error:
            left_out.append(str(error))
            continue
        for kind, variants in (
            (DestinationSettings, destinations),
            (BackupSettings, backups),
            (SpoolSettings, spools),
        ):
            if kind is DestinationSettings or stores:
                own = settings_schema(kind, secret_sources=sources)
                variants.append(_joined(own, settings, name, spec.summary))
    document: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ktpsync.toml",
        "type": "object",
        "properties": {
            "office": settings_schema(OfficeSettings, secret_sources=sources),
            "destinations": _named("Where packets are delivered, each under its own name.", destinations),
            "backups": _named("Where backups are kept, each under its own name.", backups),
            "spool": {
                "description": "Where sealed packets wait, if not in the data folder: for machines that share an outbox.",
                "oneOf": spools,
            },
        },
        "required": ["office"],
        "dependentSchemas": {"spool": {"properties": {"office": {"required": ["database"]}}}},
        "additionalProperties": False,
    }
    return FileSchema(document=document, left_out=tuple(left_out))


def _joined(
    own: dict[str, object], settings: dict[str, object], backend: str, summary: str
) -> dict[str, object]:
    properties = {
        **cast("dict[str, object]", settings["properties"]),
        **cast("dict[str, object]", own["properties"]),
        "backend": {"const": backend, "description": summary},
    }
    required = [*cast("list[str]", own["required"]), *cast("list[str]", settings["required"])]
    return {
        "title": backend,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _named(description: str, variants: list[dict[str, object]]) -> dict[str, object]:
    return {
        "description": description,
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": {"oneOf": variants},
    }
