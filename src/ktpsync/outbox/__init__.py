"""The outbox: sealed packets durable on the station, and their deliveries.

See ``docs/explanation/outbox.md`` for states, invariants and what is promised.
"""

from __future__ import annotations

from ktpsync.outbox._audit import AuditReport, AuditTrail
from ktpsync.outbox._borrowed import borrowed_connection
from ktpsync.outbox._breaker import Breaker, BreakerPolicy
from ktpsync.outbox._central import FINAL_STATUSES
from ktpsync.outbox._deliveries import check_receipt
from ktpsync.outbox._destinations import LONGEST_THROTTLE_MS
from ktpsync.outbox._examine import Examination
from ktpsync.outbox._outbox import Outbox
from ktpsync.outbox._plain import plain
from ktpsync.outbox._rebuild import Found, Rebuilt, rebuild, recovered
from ktpsync.outbox._retry import RetryPolicy, backoff_ms, failing_for_ms
from ktpsync.outbox._rewrap import RewrapReport
from ktpsync.outbox._spool import Spool
from ktpsync.outbox._states import DeliveryState, state_diagram
from ktpsync.outbox._storage import Limits, StorageView
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

__all__ = [
    "FINAL_STATUSES",
    "LONGEST_THROTTLE_MS",
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
    "StorageView",
    "Submission",
    "Submitted",
    "backoff_ms",
    "borrowed_connection",
    "check_receipt",
    "failing_for_ms",
    "plain",
    "rebuild",
    "recovered",
    "state_diagram",
]
