"""Announces the S3 backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def ktpsync_backends() -> Iterator[BackendSpec]:
    """Offer the S3 backend."""
    yield BackendSpec(
        name="s3",
        api_version=PLUGIN_API_VERSION,
        summary="A bucket of any S3-compatible storage.",
        config="ktpsync.backends.s3.settings:S3Settings",
        factory="ktpsync.backends.s3.backend:S3Backend",
    )
