"""Backups that are killed, anywhere. What happens on a real disk is in tests/disks/test_backup_interrupted.py."""

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
def test_killed_before_every_change_of_the_medium(tmp_path: Path) -> None:
    """Whichever change is the last one, the snapshots before verify and restore, and the next run goes on."""
    (tmp_path / "disk").mkdir()

    told = play(tmp_path, "step", 40)

    assert [] == told["failures"]
    assert told["rounds"]["step"] == 40


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Record, back up, prune, die, many times over: nothing that a snapshot held is ever lost."""
    (tmp_path / "disk").mkdir()

    told = play(tmp_path, "kill", 60)

    assert ([], {"kill": 60}) == (told["failures"], told["rounds"])
    assert told["packets"] > 60
