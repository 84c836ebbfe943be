"""Typed calls of the observing hooks, one plugin at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pluggy

_log = logging.getLogger("ktpsync.plugins")


class Observers:
    """Tells all plugins what happened. A plugin that raises is logged by name and changes nothing.

    Observers run in the thread that did the work, after it is durable. One that needs long must hand
    the work to a thread of its own.

    Args:
        manager: The plugins.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager

    def packet_submitted(self, packet_id: str, sha256: str, size: int) -> None:
        """Tell that a packet is durable in the outbox."""
        self._tell("ktpsync_packet_submitted", packet_id=packet_id, sha256=sha256, size=size)

    def delivered(self, packet_id: str, destination: str) -> None:
        """Tell that a destination gave a receipt for a packet."""
        self._tell("ktpsync_delivered", packet_id=packet_id, destination=destination)

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """Tell that a destination refused a packet for good."""
        self._tell("ktpsync_rejected", packet_id=packet_id, destination=destination, code=code, reason=reason)

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Tell that the centre changed a packet's registration status."""
        self._tell("ktpsync_status_changed", packet_id=packet_id, status=status, previous=previous)

    def backup_finished(self, backup: str, snapshot: str, packets: int) -> None:
        """Tell that a backup is complete."""
        self._tell("ktpsync_backup_finished", backup=backup, snapshot=snapshot, packets=packets)

    def _tell(self, hook: str, **facts: object) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(facts[name] for name in implementation.argnames))
            except Exception:  # noqa: BLE001 - an observer's fault must not stop the work
                _log.exception(
                    "Plugin %s failed in %s; nothing else is affected.", implementation.plugin_name, hook
                )
