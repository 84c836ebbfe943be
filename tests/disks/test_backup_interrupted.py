"""Backups on a real disk that are killed, run out of room, meet bad sectors, are unplugged or lose power."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 210


@pytest.fixture(scope="module")
def quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: the medium of the disk need not be slow, only its file system real."""
    memory = Path("/dev/shm")  # noqa: S108 - what the system has for this
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("rounds")
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="ktpsync-test-") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_interrupted_in_every_way_at_random_points(quick_folder: Path, new_disk: Callable[..., Any]) -> None:
    """After each round what was committed verifies; nothing is lost, nothing is sent twice, and it always goes on."""
    disk = new_disk("ext4", size_mb=48, folder=quick_folder)
    station = quick_folder / "station"
    station.mkdir()
    script = Path(__file__).parents[1] / "crash" / "backup_rounds.py"

    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            script,
            station,
            "disk",
            str(ROUNDS),
            "11",
            disk.mount_point,
            disk.image,
        ],
        capture_output=True,
        check=False,
        text=True,
    )

    assert (0, "") == (done.returncode, done.stderr)
    told = json.loads(done.stdout)
    assert [] == told["failures"]
    expected = dict.fromkeys(("kill", "full", "io-error", "pulled-out", "power-cut"), ROUNDS // 5)
    assert expected == told["rounds"]
    assert told["packets"] > ROUNDS
