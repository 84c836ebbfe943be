"""Typed calls of the observing hooks: away from the threads that work, one plugin at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    import pluggy

_log = logging.getLogger("ktpsync.plugins")

DEADLINE_SECONDS: Final = 5.0
"""So long one observer may take for one event, and closing waits for what was not told yet."""

BACKLOG: Final = 10_000
"""Events that wait to be told, at most."""


@frozen
class _Event:
    hook: str
    facts: Mapping[str, object]


class Observers:
    """Tells all plugins what happened. Whatever they do, the caller goes on at once.

    Args:
        manager: The plugins.
        deadline: Seconds that one observer may take for one event.
        backlog: Events that wait to be told, at most; newer ones are dropped.
    """

    def __init__(
        self, manager: pluggy.PluginManager, *, deadline: float = DEADLINE_SECONDS, backlog: int = BACKLOG
    ) -> None:
        self._manager = manager
        self._deadline = deadline
        self._backlog = backlog
        self._events: deque[_Event] = deque()
        self._changed = threading.Condition()
        self._teller: threading.Thread | None = None
        self._closed = False
        self._dropped = 0
        self._hanging: dict[str, threading.Thread] = {}

    def packet_submitted(self, packet_id: str, sha256: str, size: int) -> None:
        """Tell that a packet is durable in the outbox."""
        self._tell("ktpsync_packet_submitted", packet_id=packet_id, sha256=sha256, size=size)

    def delivered(self, packet_id: str, destination: str) -> None:
        """Tell that a destination gave a receipt for a packet."""
        self._tell("ktpsync_delivered", packet_id=packet_id, destination=destination)

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """Tell that a destination refused a packet for good."""
        self._tell("ktpsync_rejected", packet_id=packet_id, destination=destination, code=code, reason=reason)

    def paused(self, destination: str, reason: str) -> None:
        """Tell that a destination was stopped until a person resumes it."""
        self._tell("ktpsync_paused", destination=destination, reason=reason)

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Tell that the centre changed a packet's registration status."""
        self._tell("ktpsync_status_changed", packet_id=packet_id, status=status, previous=previous)

    def backup_finished(self, backup: str, snapshot: str, packets: int) -> None:
        """Tell that a backup is complete."""
        self._tell("ktpsync_backup_finished", backup=backup, snapshot=snapshot, packets=packets)

    def backup_overdue(self, backup: str, reason: str) -> None:
        """Tell that a person must see to a backup."""
        self._tell("ktpsync_backup_overdue", backup=backup, reason=reason)

    def close(self) -> None:
        """Let the observers be told what is still waiting, for as long as one may take; then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._teller is None:
            return
        self._teller.join(self._deadline)
        if self._teller.is_alive():
            _log.warning("Plugins were not told of the last %d events: they are too slow.", len(self._events))

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return caller.get_hookimpls()

    def _tell(self, hook: str, **facts: object) -> None:
        if not self._implementations(hook):
            return
        with self._changed:
            if self._closed:
                return
            if len(self._events) >= self._backlog:
                self._drop()
                return
            self._events.append(_Event(hook, facts))
            if self._teller is None:
                self._teller = threading.Thread(target=self._serve, name="ktpsync-plugins", daemon=True)
                self._teller.start()
            self._changed.notify()

    def _drop(self) -> None:
        if self._dropped == 0:
            _log.warning(
                "Plugins are slower than the work: they are not told what happens until they have caught up. "
                "The audit trail has it all."
            )
        self._dropped += 1

    def _next(self) -> _Event | None:
        with self._changed:
            if not self._events and self._dropped:
                _log.warning("Plugins have caught up; they were not told of %d events.", self._dropped)
                self._dropped = 0
            self._changed.wait_for(lambda: self._events or self._closed)
            return self._events.popleft() if self._events else None

    def _serve(self) -> None:
        while (event := self._next()) is not None:
            for implementation in self._implementations(event.hook):
                self._call(implementation, event)

    def _call(self, implementation: pluggy.HookImpl, event: _Event) -> None:
        """Call an observer in a thread that may be left behind: there is no way to stop one that hangs."""
        plugin = implementation.plugin_name
        hanging = self._hanging.get(plugin)
        if hanging is not None:
            if hanging.is_alive():
                return
            del self._hanging[plugin]
            _log.warning("Plugin %s has come back and is told again what happens.", plugin)
        thread = threading.Thread(
            target=_run, args=(implementation, event), name=f"ktpsync-plugin-{plugin}", daemon=True
        )
        thread.start()
        thread.join(self._deadline)
        if thread.is_alive():
            self._hanging[plugin] = thread
            _log.error(
                "Plugin %s has not come back from %s after %g seconds; it is told nothing until it does. "
                "Nothing else is affected.",
                plugin,
                event.hook,
                self._deadline,
            )


def _run(implementation: pluggy.HookImpl, event: _Event) -> None:
    try:
        implementation.function(*(event.facts[name] for name in implementation.argnames))
    except BaseException:  # noqa: BLE001 - a plugin may even call sys.exit; the thread ends here anyway
        _log.exception(
            "Plugin %s failed in %s; nothing else is affected.", implementation.plugin_name, event.hook
        )
