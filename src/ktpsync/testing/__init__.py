"""For the tests of apps and plugins: made-up enrollments, and the conformance kit for backends.

The names are loaded on first use, so that importing this pulls in neither pytest nor hypothesis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktpsync.testing._contract import BackendContract, StorageContract, made_up_packet
    from ktpsync.testing._factory import make_enrollment

_HOME = {
    "BackendContract": "ktpsync.testing._contract",
    "StorageContract": "ktpsync.testing._contract",
    "made_up_packet": "ktpsync.testing._contract",
    "make_enrollment": "ktpsync.testing._factory",
}

__all__ = ["BackendContract", "StorageContract", "made_up_packet", "make_enrollment"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ktpsync.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
