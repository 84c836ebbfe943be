"""For the tests of apps and plugins: made-up enrollments, a clock to move, the conformance kit, and backends that fail on purpose.

Made-up enrollments and samples need nothing but ktpsync. The strategies need Hypothesis, the conformance kit needs
pytest: ``pip install "ktpsync[testing]"`` brings both. Names are loaded on first use.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.testing._bad_line import BadLine
    from ktpsync.testing._central_contract import CentralContract
    from ktpsync.testing._clock import ManualClock
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
    from ktpsync.testing._rclone import rclone_server
    from ktpsync.testing._storage_contract import StorageContract
    from ktpsync.testing._strategies import enrollments, niks

_ROOMS = {
    "_bad_line": ("BadLine",),
    "_central_contract": ("CentralContract",),
    "_clock": ("ManualClock",),
    "_contract": ("BackendContract",),
    "_factory": ("make_enrollment", "make_nik"),
    "_faulty": (
        "Fault",
        "FaultyBackend",
        "FaultyCentral",
        "FaultyStorage",
        "answer_lost",
        "fails",
        "throttled",
        "unreachable",
    ),
    "_images": ("make_sample",),
    "_made_up": ("made_up_packet",),
    "_rclone": ("rclone_server",),
    "_storage_contract": ("StorageContract",),
    "_strategies": ("enrollments", "niks"),
}

__all__ = [
    "BackendContract",
    "BadLine",
    "CentralContract",
    "Fault",
    "FaultyBackend",
    "FaultyCentral",
    "FaultyStorage",
    "ManualClock",
    "StorageContract",
    "answer_lost",
    "enrollments",
    "fails",
    "made_up_packet",
    "make_enrollment",
    "make_nik",
    "make_sample",
    "niks",
    "rclone_server",
    "throttled",
    "unreachable",
]


_load, __dir__ = exports(__name__, _ROOMS)

_KIT = ("_contract", "_storage_contract", "_central_contract")

_pytest = sys.modules.get("pytest")
if _pytest is not None:
    # Before they are imported, so that a failing test of the kit shows the values that it compared.
    _pytest.register_assert_rewrite(*(f"{__name__}.{room}" for room in _KIT))


def __getattr__(name: str) -> object:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if error.name not in {"hypothesis", "pytest"}:
            raise
        raise ImportError(
            f'ktpsync.testing.{name} needs {error.name}: pip install "ktpsync[testing]"'
        ) from error
