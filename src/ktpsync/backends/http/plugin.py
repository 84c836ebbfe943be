"""Announces the HTTP backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def ktpsync_backends() -> Iterator[BackendSpec]:
    """Offer the HTTP backend."""
    yield BackendSpec(
        name="http",
        api_version=PLUGIN_API_VERSION,
        summary="The central service, over HTTP: packets, receipts, registration statuses.",
        config="ktpsync.backends.http.backend:HttpSettings",
        factory="ktpsync.backends.http.backend:HttpBackend",
    )
