"""Backups under SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


def play(folder: Path, kind: str, rounds: int) -> dict[str, object]:
    """Return what a process that plays the rounds says."""
    script = Path(__file__).with_name("backup_rounds.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(folder), kind, str(rounds), "7"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_killed_before_and_after_every_change_of_the_repository(tmp_path: Path) -> None:
    """Whichever step is the last one, the snapshots before verify and restore, and the next run goes on."""
    told = play(tmp_path, "step", 60)

    assert [] == told["failures"]
    assert told["kills"] > 25


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Record, back up, prune, die, many times over: nothing that a snapshot held is ever lost."""
    told = play(tmp_path, "time", 200)

    assert ([], 200) == (told["failures"], told["kills"])
    assert told["packets"] > 200
