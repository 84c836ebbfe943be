"""Killed at any moment while it rewraps, an outbox has each packet whole, under the digest that its row says."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from crash.one_by_one import kill_one
from ktpsync.files import TEMPORARY_SUFFIX
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id

WORKER = Path(__file__).with_name("rewrap_worker.py")
ROUNDS = 25


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox, which puts right what a crash left."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_while_it_rewraps(tmp_path: Path) -> None:
    """Every packet keeps its payload through 25 kills, and nothing is left over."""
    payloads = {}
    with open_outbox(tmp_path) as outbox:
        for number in range(40):
            sealed = b"old|enrollment %d" % number
            packet_id = new_packet_id()
            outbox.submit(sealed, packet_id=packet_id, sha256=hashlib.sha256(sealed).hexdigest())
            payloads[packet_id] = sealed.partition(b"|")[2]
    moments = random.Random(5)
    digests = set()
    with subprocess.Popen(
        [sys.executable, WORKER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        for _ in range(ROUNDS):
            assert kill_one(worker, after=moments.uniform(0.01, 0.12))
            with open_outbox(tmp_path) as outbox:
                for view in outbox.packets():
                    sealed = outbox.spool.path(view.packet_id).read_bytes()
                    assert (view.sha256, view.size) == (hashlib.sha256(sealed).hexdigest(), len(sealed))
                    assert payloads[view.packet_id] == sealed.partition(b"|")[2]
                    digests.add(view.sha256)
            # What was begun and never named is a temporary file, which the collector clears away as any other.
            names = [path for path in (tmp_path / "spool").glob("*/*") if path.suffix != TEMPORARY_SUFFIX]
            assert payloads.keys() == {path.stem for path in names}
            assert {".age"} == {path.suffix for path in names}
        assert worker.stdin is not None
        worker.stdin.close()
    with open_outbox(tmp_path) as outbox:
        assert () == outbox.audit.verify().problems
    assert len(digests) > ROUNDS
