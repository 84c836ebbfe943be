"""Record e-KTP enrolments through outages, and lose none.

The names here are loaded on first use: ``import ktpsync`` itself imports neither SQLAlchemy nor any backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

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

_HOME = {
    "DeliveryState": "ktpsync.outbox",
    "Enrollment": "ktpsync.records",
    "Office": "ktpsync.office",
    "PacketStatus": "ktpsync.outbox",
    "Submitted": "ktpsync.outbox",
    "SyncReport": "ktpsync.office",
    "age": "ktpsync.age",
    "borrowed_connection": "ktpsync.outbox",
    "errors": "ktpsync.errors",
    "extract_packets": "ktpsync.office",
    "init_disk": "ktpsync.backends.disk",
    "init_office": "ktpsync.office",
    "list_snapshots": "ktpsync.office",
    "packet": "ktpsync.packet",
    "records": "ktpsync.records",
    "restore": "ktpsync.office",
    "verify_backup": "ktpsync.office",
}
"""Public name to the module it lives in; a name that is itself a module maps to that module."""

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ktpsync' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if _HOME[name] == f"ktpsync.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
