"""Processes that submit and deliver are killed at random moments; nothing is lost and nothing arrives twice.

A longer run by one command: ``KTPSYNC_TEST_KILL_ROUNDS=2000 pytest tests/crash/test_outbox_kill.py``.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.outbox import DestinationSpec, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = int(os.environ.get("KTPSYNC_TEST_KILL_ROUNDS", "200"))
WORKER = Path(__file__).with_name("outbox_worker.py")
ROLES = ["submit"] * 3 + ["deliver"] * 3


class Crowd:
    """Several submitting and several delivering processes on one outbox."""

    def __init__(self, database: str, folder: Path, seed: int) -> None:
        self.database = database
        self.chance = random.Random(seed)
        self.errors = folder / "errors"
        self.running: list[tuple[int, str]] = []
        with self.errors.open("wb") as errors:
            self.forker = subprocess.Popen(
                [sys.executable, WORKER, database, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def start(self, role: str) -> None:
        """Start one process."""
        assert self.forker.stdin is not None
        assert self.forker.stdout is not None
        self.forker.stdin.write(f"{role} {self.chance.random()}\n")
        self.forker.stdin.flush()
        self.running.append((int(self.forker.stdout.readline()), role))

    def kill_one(self) -> str:
        """Kill one process without warning and return what it did."""
        victim, role = self.running.pop(self.chance.randrange(len(self.running)))
        os.kill(victim, signal.SIGKILL)  # fails if it has died by itself
        return role

    def end(self) -> None:
        """Kill all."""
        while self.running:
            self.kill_one()
        self.forker.communicate(timeout=30)


@pytest.fixture
def crowd(new_database: Callable[[], Path | str], tmp_path: Path) -> Iterator[Crowd]:
    """The processes, all started."""
    for name in ("centre", "arriving"):
        (tmp_path / name).mkdir()
    crowd = Crowd(str(new_database()), tmp_path, seed=20261124)
    for role in ROLES:
        crowd.start(role)
    yield crowd
    if crowd.forker.poll() is None:
        crowd.end()


def noted(path: Path) -> dict[str, str]:
    """Return digests by packet id; each note was one write, so no line is cut."""
    return dict(line.split() for line in path.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_lost_and_nothing_arrives_twice_through_kills(crowd: Crowd, tmp_path: Path) -> None:
    """Every acknowledged packet is at the centre once, byte-identical; of the others each is whole or not there."""
    time.sleep(1)
    for _ in range(ROUNDS):
        time.sleep(crowd.chance.uniform(0.01, 0.15))
        crowd.start(crowd.kill_one())
    while "submit" in [role for _pid, role in crowd.running]:
        crowd.kill_one()
    crowd.start("deliver")

    address = crowd.database if "://" in crowd.database else Path(crowd.database)
    with Outbox.open(address, tmp_path / "spool", destinations=[DestinationSpec(name="central")]) as outbox:
        deadline = time.monotonic() + 300
        while outbox.next_due_ms("central") is not None:
            assert time.monotonic() < deadline, crowd.errors.read_text()[-2000:]
            time.sleep(0.1)
        crowd.end()

        acknowledged, attempted = noted(tmp_path / "acknowledged"), noted(tmp_path / "attempted")
        held = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / "centre").iterdir()
        }
        assert len(acknowledged) > ROUNDS
        assert acknowledged.items() <= held.items()
        assert held.items() <= attempted.items()
        assert {view.packet_id: view.sha256 for view in outbox.packets()} == held
        told = [item.packet_id for item in outbox.audit.entries() if item.event == "delivered"]
        assert sorted(held) == sorted(told)
        assert () == outbox.audit.verify().problems
    assert "" == crowd.errors.read_text()
