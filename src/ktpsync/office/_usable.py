"""Whether what a configuration names can be used at all: its backend is installed, and its settings and secrets can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ktpsync.config import OWN_KEYS
from ktpsync.errors import ConfigError, PluginError
from ktpsync.plugins import read_settings

if TYPE_CHECKING:
    from ktpsync.config import Configuration
    from ktpsync.plugins import PluginRegistry


def why_unusable(
    settings: Configuration, registry: PluginRegistry, section: Literal["destinations", "backups"], name: str
) -> str:
    """Return why a destination or backup cannot be used; empty if it can. Connects to nothing.

    Args:
        settings: The configuration.
        registry: The installed backends.
        section: What it is.
        name: Its name, which is in the configuration.
    """
    place = settings.destinations[name] if section == "destinations" else settings.backups[name]
    try:
        read_settings(
            registry.settings_class(place.settings.backend),
            place.backend_settings,
            where=f"[{section}.{name}]",
            base=settings.path.parent,
            secrets=registry.secret_sources(),
            also=OWN_KEYS[section],
        )
    except (ConfigError, PluginError) as error:
        return str(error)
    return ""
