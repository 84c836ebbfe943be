"""The hooks that plugins can implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.plugins._spec import BackendSpec

PROJECT = "ktpsync"
"""pluggy's project name and the entry-point group."""

PLUGIN_API_VERSION = 1
"""Version of the interface between ktpsync and plugins. This release accepts it and the one before."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ktpsync_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Offer backends. Called once; must not import the backends themselves."""


@hookspec
def ktpsync_packet_submitted(packet_id: str, sha256: str, size: int) -> None:
    """Observe that a packet is durable in the outbox."""


@hookspec
def ktpsync_delivered(packet_id: str, destination: str) -> None:
    """Observe that a destination gave a receipt for a packet."""


@hookspec
def ktpsync_rejected(packet_id: str, destination: str, code: str, reason: str) -> None:
    """Observe that a destination refused a packet for good."""


@hookspec
def ktpsync_status_changed(packet_id: str, status: str, previous: str | None) -> None:
    """Observe that the centre changed a packet's registration status."""


@hookspec
def ktpsync_backup_finished(backup: str, snapshot: str, packets: int) -> None:
    """Observe that a backup is complete."""
