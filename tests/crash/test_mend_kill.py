"""Killed at any moment while it mends the spool, an office loses neither good bytes nor damaged ones."""

from __future__ import annotations

import contextlib
import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from crash.one_by_one import kill_one
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id

WORKER = Path(__file__).with_name("mend_worker.py")
ROUNDS = 20


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox as any other process does."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_while_it_mends(tmp_path: Path) -> None:
    """After each of 20 kills every file is whole, still damaged or missing; the damaged bytes are kept; then all is whole."""
    good, bad = {}, set()
    (tmp_path / "good").mkdir()
    with open_outbox(tmp_path) as outbox:
        for number in range(30):
            sealed = b"enrollment %d" % number
            packet_id = new_packet_id()
            outbox.submit(sealed, packet_id=packet_id, sha256=hashlib.sha256(sealed).hexdigest())
            good[packet_id] = sealed
            (tmp_path / "good" / packet_id).write_bytes(sealed)
        path = outbox.spool.path
    moments = random.Random(7)
    with subprocess.Popen(
        [sys.executable, WORKER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        for number in range(ROUNDS):
            for packet_id in moments.sample(sorted(good), 10):
                damaged = b"damaged %d %s" % (number, packet_id.encode())
                if path(packet_id).exists() and path(packet_id).read_bytes() == good[packet_id]:
                    path(packet_id).write_bytes(damaged)
                    bad.add(damaged)
            kill_one(worker, after=moments.uniform(0.005, 0.08))
            kept = set(contents(tmp_path / "spool")) | set(contents(tmp_path / "spool.quarantine"))
            assert bad <= kept
            for packet_id, sealed in good.items():
                with contextlib.suppress(FileNotFoundError):
                    assert path(packet_id).read_bytes() in {sealed, *bad}
        kill_one(worker, after=None)
        assert worker.stdin is not None
        worker.stdin.close()
    assert good == {packet_id: path(packet_id).read_bytes() for packet_id in good}
    with open_outbox(tmp_path) as outbox:
        assert () == outbox.examine(read=True).problems


def contents(folder: Path) -> list[bytes]:
    """Return what the sealed files below a folder hold."""
    return [path.read_bytes() for path in folder.rglob("*.age*") if not path.name.endswith(".json")]
