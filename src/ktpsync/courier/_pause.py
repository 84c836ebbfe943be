"""Stopping a destination that does not accept the credentials."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ktpsync.courier._observer import notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.courier._observer import Observer
    from ktpsync.errors import AuthError
    from ktpsync.outbox import Outbox

log = logging.getLogger("ktpsync.courier")


def pause(outbox: Outbox, name: str, error: AuthError, observers: Sequence[Observer]) -> None:
    """Stop a destination for all couriers until a person resumes it; said once, by whoever is first."""
    if not outbox.pause(name, reason=str(error)):
        return
    facts = {"event": "paused", "destination": name, "reason": str(error)}
    log.error(
        "%s does not accept the credentials and is stopped; correct and resume it: %s",
        name,
        error,
        extra={"facts": facts},
    )
    notify(observers, lambda one: one.paused(name, str(error)))
