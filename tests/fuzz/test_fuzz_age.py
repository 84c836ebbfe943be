"""A bounded run of the fuzzer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
def test_nothing_but_errors_of_age_escapes(tmp_path: Path) -> None:
    """For 15 seconds of changed files, nothing but AgeError escapes, in bounded memory and without a hang."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    subprocess.run([sys.executable, TARGET, "--write-seeds", corpus], check=True, timeout=60)

    run = subprocess.run(
        [
            sys.executable,
            TARGET,
            "-max_total_time=15",
            "-rss_limit_mb=0",
            "-timeout=10",
            "-max_len=100000",
            "-print_final_stats=1",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
            corpus,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert 0 == run.returncode, run.stderr[-4000:]
    executed = int(run.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])
    assert executed > 1000
