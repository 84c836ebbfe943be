"""Versions of the interface between ktpsync and plugins."""

from __future__ import annotations

from typing import Final

PLUGIN_API_VERSION: Final = 1
"""Version of the interface between ktpsync and plugins. This release accepts it and the one before."""


def accepted_versions(current: int = PLUGIN_API_VERSION) -> tuple[int, ...]:
    """Return the versions that are accepted, the oldest first: the current one and the one before."""
    return tuple(version for version in (current - 1, current) if version >= 1)
