"""Bounded runs of the fuzzers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def fuzz(tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs a fuzzer from its seeds on, and returns how many inputs it tried."""

    def run(target: Path, *limits: str, seeds_timeout: int, timeout: int) -> int:
        corpus = tmp_path / "corpus"
        corpus.mkdir()
        subprocess.run([sys.executable, target, "--write-seeds", corpus], check=True, timeout=seeds_timeout)
        done = subprocess.run(
            [
                sys.executable,
                target,
                *limits,
                "-rss_limit_mb=0",
                "-print_final_stats=1",
                "-seed=1",
                f"-artifact_prefix={tmp_path}/",
                corpus,
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert 0 == done.returncode, done.stderr[-4000:]
        return int(done.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])

    return run
