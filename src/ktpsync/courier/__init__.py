"""Couriers: carry packets from the outbox to their destinations, and news of them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.courier._centre import poll_statuses, reconcile
    from ktpsync.courier._courier import Courier
    from ktpsync.courier._drain import DrainReport
    from ktpsync.courier._estimate import Estimate, Speed, estimate
    from ktpsync.courier._events import JsonFormatter
    from ktpsync.courier._observer import Observer
    from ktpsync.courier._pace import Pace
    from ktpsync.courier._policy import CourierPolicy, Window, throttled_ms
    from ktpsync.courier._rate import TokenBucket
    from ktpsync.courier._said import Said
    from ktpsync.courier._service import Service, Task

_ROOMS = {
    "_centre": ("poll_statuses", "reconcile"),
    "_courier": ("Courier",),
    "_drain": ("DrainReport",),
    "_estimate": ("Estimate", "Speed", "estimate"),
    "_events": ("JsonFormatter",),
    "_observer": ("Observer",),
    "_pace": ("Pace",),
    "_policy": ("CourierPolicy", "Window", "throttled_ms"),
    "_rate": ("TokenBucket",),
    "_said": ("Said",),
    "_service": ("Service", "Task"),
}

__all__ = [
    "Courier",
    "CourierPolicy",
    "DrainReport",
    "Estimate",
    "JsonFormatter",
    "Observer",
    "Pace",
    "Said",
    "Service",
    "Speed",
    "Task",
    "TokenBucket",
    "Window",
    "estimate",
    "poll_statuses",
    "reconcile",
    "throttled_ms",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
