"""Announces the disk backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def ktpsync_backends() -> Iterator[BackendSpec]:
    """Offer the disk backend."""
    yield BackendSpec(
        name="disk",
        api_version=PLUGIN_API_VERSION,
        summary="A folder on a local or external disk, bound by a marker file.",
        config="ktpsync.backends.disk.backend:DiskSettings",
        factory="ktpsync.backends.disk.backend:DiskBackend",
    )
