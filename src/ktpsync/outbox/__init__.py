"""The outbox: sealed packets durable on the station, and their deliveries.

See ``docs/explanation/outbox.md`` for states, invariants and what is promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.outbox._address import database_address
    from ktpsync.outbox._audit import AuditReport, AuditTrail, check_decision
    from ktpsync.outbox._borrowed import borrowed_connection
    from ktpsync.outbox._breaker import LONGEST_THROTTLE_MS, Breaker, BreakerPolicy
    from ktpsync.outbox._central import FINAL_STATUSES
    from ktpsync.outbox._examine import Examination
    from ktpsync.outbox._folder_spool import FolderSpool
    from ktpsync.outbox._limits import Limits
    from ktpsync.outbox._mending import Suspect
    from ktpsync.outbox._outbox import Outbox
    from ktpsync.outbox._rebuild import Found, Rebuilt, rebuild, recovered
    from ktpsync.outbox._recovery import UnrecordedBytes
    from ktpsync.outbox._registration import NOT_REGISTERED
    from ktpsync.outbox._retry import RetryPolicy, backoff_ms, failing_for_ms
    from ktpsync.outbox._rewrap import RewrapReport
    from ktpsync.outbox._sound import is_sound
    from ktpsync.outbox._spool import Spool
    from ktpsync.outbox._states import DAMAGED, DeliveryState, state_diagram
    from ktpsync.outbox._storage import StorageView
    from ktpsync.outbox._storage_spool import StorageSpool
    from ktpsync.outbox._tables_aside import set_tables_aside
    from ktpsync.outbox._values import (
        AuditEntry,
        Delivered,
        DeliveryView,
        DestinationSpec,
        DestinationState,
        DestinationSummary,
        Failed,
        HoldingsApplied,
        Lease,
        Outcome,
        PacketStatus,
        PacketView,
        Rejected,
        Returned,
        StatusApplied,
        Submission,
        Submitted,
    )

_ROOMS = {
    "_address": ("database_address",),
    "_audit": ("AuditReport", "AuditTrail", "check_decision"),
    "_borrowed": ("borrowed_connection",),
    "_breaker": ("LONGEST_THROTTLE_MS", "Breaker", "BreakerPolicy"),
    "_central": ("FINAL_STATUSES",),
    "_examine": ("Examination",),
    "_folder_spool": ("FolderSpool",),
    "_limits": ("Limits",),
    "_mending": ("Suspect",),
    "_outbox": ("Outbox",),
    "_rebuild": ("Found", "Rebuilt", "rebuild", "recovered"),
    "_sound": ("is_sound",),
    "_recovery": ("UnrecordedBytes",),
    "_registration": ("NOT_REGISTERED",),
    "_retry": ("RetryPolicy", "backoff_ms", "failing_for_ms"),
    "_rewrap": ("RewrapReport",),
    "_spool": ("Spool",),
    "_states": ("DAMAGED", "DeliveryState", "state_diagram"),
    "_storage": ("StorageView",),
    "_storage_spool": ("StorageSpool",),
    "_tables_aside": ("set_tables_aside",),
    "_values": (
        "AuditEntry",
        "Delivered",
        "DeliveryView",
        "DestinationSpec",
        "DestinationState",
        "DestinationSummary",
        "Failed",
        "HoldingsApplied",
        "Lease",
        "Outcome",
        "PacketStatus",
        "PacketView",
        "Rejected",
        "Returned",
        "StatusApplied",
        "Submission",
        "Submitted",
    ),
}

__all__ = [
    "DAMAGED",
    "FINAL_STATUSES",
    "LONGEST_THROTTLE_MS",
    "NOT_REGISTERED",
    "AuditEntry",
    "AuditReport",
    "AuditTrail",
    "Breaker",
    "BreakerPolicy",
    "Delivered",
    "DeliveryState",
    "DeliveryView",
    "DestinationSpec",
    "DestinationState",
    "DestinationSummary",
    "Examination",
    "Failed",
    "FolderSpool",
    "Found",
    "HoldingsApplied",
    "Lease",
    "Limits",
    "Outbox",
    "Outcome",
    "PacketStatus",
    "PacketView",
    "Rebuilt",
    "Rejected",
    "RetryPolicy",
    "Returned",
    "RewrapReport",
    "Spool",
    "StatusApplied",
    "StorageSpool",
    "StorageView",
    "Submission",
    "Submitted",
    "Suspect",
    "UnrecordedBytes",
    "backoff_ms",
    "borrowed_connection",
    "check_decision",
    "database_address",
    "failing_for_ms",
    "is_sound",
    "rebuild",
    "recovered",
    "set_tables_aside",
    "state_diagram",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
