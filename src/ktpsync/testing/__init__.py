"""For the tests of apps and plugins: made-up enrollments, the conformance kit, and backends that fail on purpose.

Made-up enrollments and samples need nothing but ktpsync. The strategies need Hypothesis, the conformance kit needs
pytest: ``pip install "ktpsync[testing]"`` brings both. Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktpsync.testing._central_contract import CentralContract
    from ktpsync.testing._contract import BackendContract
    from ktpsync.testing._factory import make_enrollment, make_nik
    from ktpsync.testing._faulty import (
        Fault,
        FaultyBackend,
        FaultyCentral,
        FaultyStorage,
        answer_lost,
        fails,
        throttled,
        unreachable,
    )
    from ktpsync.testing._images import make_sample
    from ktpsync.testing._made_up import made_up_packet
    from ktpsync.testing._storage_contract import StorageContract
    from ktpsync.testing._strategies import enrollments, niks

_HOME = {
    "BackendContract": "_contract",
    "CentralContract": "_central_contract",
    "Fault": "_faulty",
    "FaultyBackend": "_faulty",
    "FaultyCentral": "_faulty",
    "FaultyStorage": "_faulty",
    "StorageContract": "_storage_contract",
    "answer_lost": "_faulty",
    "enrollments": "_strategies",
    "fails": "_faulty",
    "made_up_packet": "_made_up",
    "make_enrollment": "_factory",
    "make_nik": "_factory",
    "make_sample": "_images",
    "niks": "_strategies",
    "throttled": "_faulty",
    "unreachable": "_faulty",
}

__all__ = [
    "BackendContract",
    "CentralContract",
    "Fault",
    "FaultyBackend",
    "FaultyCentral",
    "FaultyStorage",
    "StorageContract",
    "answer_lost",
    "enrollments",
    "fails",
    "made_up_packet",
    "make_enrollment",
    "make_nik",
    "make_sample",
    "niks",
    "throttled",
    "unreachable",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ktpsync.testing' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"ktpsync.testing.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in {"hypothesis", "pytest"}:
            raise
        raise ImportError(
            f'ktpsync.testing.{name} needs {error.name}: pip install "ktpsync[testing]"'
        ) from error
