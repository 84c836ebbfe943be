"""Record e-KTP enrolments through outages, and lose none.

The names here are loaded on first use: ``import ktpsync`` itself imports neither SQLAlchemy nor any backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync import age, errors, packet, records
    from ktpsync.backends.disk import init_disk
    from ktpsync.office import (
        Office,
        SyncReport,
        extract_packets,
        init_office,
        list_snapshots,
        restore,
        verify_backup,
    )
    from ktpsync.outbox import DeliveryState, PacketStatus, Submitted, borrowed_connection
    from ktpsync.records import Enrollment

_ROOMS = {
    "": ("age", "errors", "packet", "records"),
    "backends.disk": ("init_disk",),
    "office": (
        "Office",
        "SyncReport",
        "extract_packets",
        "init_office",
        "list_snapshots",
        "restore",
        "verify_backup",
    ),
    "outbox": ("DeliveryState", "PacketStatus", "Submitted", "borrowed_connection"),
    "records": ("Enrollment",),
}

__all__ = [
    "DeliveryState",
    "Enrollment",
    "Office",
    "PacketStatus",
    "Submitted",
    "SyncReport",
    "age",
    "borrowed_connection",
    "errors",
    "extract_packets",
    "init_disk",
    "init_office",
    "list_snapshots",
    "packet",
    "records",
    "restore",
    "verify_backup",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
