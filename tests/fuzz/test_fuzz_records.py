"""A bounded run of the fuzzer of records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("atheris", reason="atheris has no wheel for this Python and platform")

TARGET = Path(__file__).with_name("fuzz_records.py")
RUNS = 12_000


@pytest.mark.slow
def test_nothing_but_errors_of_ktpsync_escapes(fuzz: Callable[..., int]) -> None:
    """For 12,000 changed documents, tables, samples, packets and NIKs, in bounded memory and without a hang."""
    executed = fuzz(TARGET, f"-runs={RUNS}", "-timeout=30", "-max_len=20000", seeds_timeout=120, timeout=250)

    assert executed >= RUNS
