"""A bounded run of the fuzzer of records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this Python and platform")

TARGET = Path(__file__).with_name("fuzz_records.py")
RUNS = 12_000


@pytest.mark.slow
def test_nothing_but_errors_of_ktpsync_escapes(tmp_path: Path) -> None:
    """For 12,000 changed documents, tables, samples, packets and NIKs, in bounded memory and without a hang."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    subprocess.run([sys.executable, TARGET, "--write-seeds", corpus], check=True, timeout=120)

    run = subprocess.run(
        [
            sys.executable,
            TARGET,
            f"-runs={RUNS}",
            "-rss_limit_mb=0",
            "-timeout=30",
            "-max_len=20000",
            "-print_final_stats=1",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
            corpus,
        ],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )

    assert 0 == run.returncode, run.stderr[-4000:]
    executed = int(run.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])
    assert executed >= RUNS
