"""A bounded run of the fuzzer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("atheris", reason="atheris has no wheel for this Python and platform")

TARGET = Path(__file__).with_name("fuzz_age.py")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the bound is one of Linux")
@pytest.mark.parametrize(
    "greedy",
    [
        "bytearray(fuzz_age.MAX_GROWTH)",
        "fuzz_age.EVERYBODY = [age.Passphrase('password')]; fuzz_age.fuzz_file(costly)",
    ],
)
def test_memory_beyond_the_bound_is_noticed(greedy: str) -> None:
    """An input that made the library allocate too much ends the fuzzing, whatever the library makes of it."""
    program = (
        f"import sys; sys.path.insert(0, {str(TARGET.parent)!r}); import fuzz_age; from ktpsync import age; "
        "stanza = age.Stanza(args=('scrypt', 22 * 'A', '17'), body=bytes(32)); "
        "costly = fuzz_age._header.build([stanza], fuzz_age.FILE_KEY); "
        f"fuzz_age.bound_memory(fuzz_age.MAX_GROWTH); {greedy}"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert 1 == run.returncode
    assert "MemoryError" in run.stderr or "allocate too much" in run.stderr


@pytest.mark.slow
def test_nothing_but_errors_of_age_escapes(fuzz: Callable[..., int]) -> None:
    """For 15 seconds of changed files, nothing but AgeError escapes, in bounded memory and without a hang."""
    executed = fuzz(
        TARGET, "-max_total_time=15", "-timeout=10", "-max_len=100000", seeds_timeout=60, timeout=120
    )

    assert executed > 1000
