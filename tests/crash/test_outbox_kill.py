"""Processes that submit and deliver are killed or stopped; nothing is lost and nothing arrives twice.

A round is: something more was acknowledged, a random time has passed, and then a random number of the three submitting
and three delivering processes, one at least and sometimes all, are killed with SIGKILL at one moment, and as many are
started anew. Here there are 100 rounds on each of the two stores, 200 in total and more than 400 kills. A longer run by
one command: ``KTPSYNC_TEST_KILL_ROUNDS=2000 pytest tests/crash/test_outbox_kill.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.outbox import DeliveryState, DestinationSpec, Outbox
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = int(os.environ.get("KTPSYNC_TEST_KILL_ROUNDS", "100"))
AT_ONCE = [1, 1, 1, 2, 2, 3, 4, 6]
"""How many are killed in a round, drawn by lot."""

WORKER = Path(__file__).with_name("outbox_worker.py")
ROLES = ["submit"] * 3 + ["deliver"] * 3


class Crowd:
    """Several submitting and several delivering processes on one outbox."""

    def __init__(self, database: str, folder: Path, seed: int) -> None:
        self.database = database
        self.acknowledged = folder / "acknowledged"
        self.acknowledged.touch()
        self.chance = random.Random(seed)
        self.errors = folder / "errors"
        self.running: list[tuple[int, str]] = []
        self.kills = 0
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
        self.kills += 1
        return role

    def round(self) -> None:
        """Wait until they have done something, kill some at one moment, and start as many."""
        before = self.acknowledged.stat().st_size
        deadline = time.monotonic() + 60
        while self.acknowledged.stat().st_size == before:
            assert time.monotonic() < deadline, self.errors.read_text()[-2000:]
            time.sleep(0.005)
        time.sleep(self.chance.uniform(0, 0.08))
        for role in [self.kill_one() for _ in range(self.chance.choice(AT_ONCE))]:
            self.start(role)

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
    for _ in range(ROUNDS):
        crowd.round()
    assert crowd.kills >= 2 * ROUNDS
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

        print(f"{ROUNDS} rounds, {crowd.kills} processes killed")  # noqa: T201 - for a long run with -s
        acknowledged, attempted = noted(tmp_path / "acknowledged"), noted(tmp_path / "attempted")
        held = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / "centre").iterdir()
        }
        assert len(acknowledged) >= ROUNDS
        assert acknowledged.items() <= held.items()
        assert held.items() <= attempted.items()
        assert {view.packet_id: view.sha256 for view in outbox.packets()} == held
        told = [item.packet_id for item in outbox.audit.entries() if item.event == "delivered"]
        assert sorted(held) == sorted(told)
        assert () == outbox.audit.verify().problems
    assert "" == crowd.errors.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_any_step_leaves_all_or_nothing(
    new_database: Callable[[], Path | str], tmp_path: Path
) -> None:
    """Before and after each change of the disk and each statement: a packet is there whole, or not at all."""
    answer = subprocess.run(
        [sys.executable, Path(__file__).with_name("outbox_steps.py"), str(new_database()), tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(answer.stdout)
    assert [] == found["failures"]
    assert all(count > 10 for count in found["steps"].values()), found["steps"]


_SLEEPER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ktpsync.errors import LeaseLostError
from ktpsync.outbox import DeliveryState, DestinationSpec, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Receipt

database, spool = sys.argv[1:]
address = database if "://" in database else Path(database)
with Outbox.open(address, Path(spool), destinations=[DestinationSpec(name="central")]) as outbox:
    (lease,) = outbox.claim("central", 1, 0.2)
    print("claimed", flush=True)
    sys.stdin.readline()
    packet = lease.packet
    receipt = Receipt.of(packet, sha256=packet.sha256, stored_at=datetime.now(UTC)
    )
    for late in (
        lambda: outbox.settle(lease, receipt),
        lambda: outbox.fail(lease, code="late", reason="late"),
        lambda: outbox.reject(lease, code="late", reason="late"),
        lambda: outbox.release(lease),
    ):
        try:
            late()
        except LeaseLostError:
            print("refused", flush=True)
    print("renewal refused" if outbox.renew([lease], 60) else "renewed", flush=True)
"""


@pytest.mark.slow
def test_invariant_04_a_stopped_worker_cannot_settle_over_a_newer_result(
    new_database: Callable[[], Path | str], tmp_path: Path
) -> None:
    """A process that SIGSTOP holds past its lease wakes up too late, whatever it has to say."""
    database = str(new_database())
    address = database if "://" in database else Path(database)
    data = b"sealed"
    with Outbox.open(address, tmp_path / "spool", destinations=[DestinationSpec(name="central")]) as outbox:
        packet_id = new_packet_id()
        outbox.submit(data, packet_id=packet_id, sha256=hashlib.sha256(data).hexdigest())
        with subprocess.Popen(
            [sys.executable, "-c", _SLEEPER, database, str(tmp_path / "spool")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as sleeper:
            assert sleeper.stdin is not None
            assert sleeper.stdout is not None
            assert "claimed\n" == sleeper.stdout.readline()
            sleeper.send_signal(signal.SIGSTOP)
            leases = []
            while not leases:  # the lease of the sleeper ends by itself
                leases = outbox.claim("central", 1, 600)
                time.sleep(0.01)
            outbox.reject(leases[0], code="newer", reason="the present holder's word")
            sleeper.send_signal(signal.SIGCONT)
            said, _ = sleeper.communicate("\n", timeout=60)
        assert ["refused"] * 4 + ["renewal refused"] == said.splitlines()
        (delivery,) = outbox.status(packet_id).deliveries
        assert (DeliveryState.REJECTED, "newer", 2) == (delivery.state, delivery.code, delivery.attempts)
        assert ["submitted", "rejected"] == [item.event for item in outbox.status(packet_id).history]
        assert () == outbox.audit.verify().problems
