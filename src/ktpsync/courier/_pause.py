"""Stopping a destination that a person must see to, such as one that does not accept the credentials."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ktpsync.courier._observer import notify
from ktpsync.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.courier._observer import Observer
    from ktpsync.errors import AuthError
    from ktpsync.outbox import Outbox

log = logging.getLogger("ktpsync.courier")


def pause(outbox: Outbox, name: str, error: AuthError, observers: Sequence[Observer]) -> None:
    """Stop a destination for all couriers until a person resumes it; said once, by whoever is first."""
    reason = plain(str(error).removeprefix(f"{name}: "))
    if not outbox.pause(name, reason=reason):
        return
    facts = {"event": "paused", "destination": name, "reason": reason}
    log.error(
        "%s is stopped: %s. When that is corrected, run `ktpsync resume %s --who YOU`.",
        name,
        reason.rstrip("."),
        name,
        extra={"facts": facts},
    )
    notify(observers, lambda one: one.paused(name, reason))
