"""Run by test_spool_killed_on_s3.py: for each line, a process that changes packets in a bucket until it is killed. No test.

Usage: spool_change_worker.py CONFIG rewrap|mend. Each process prints its number when it is at work, and ``dead`` is
printed when it is. Good copies for mending are in the folder ``good`` beside the configuration.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path

import ktpsync
from ktpsync.errors import OutboxError


def rewrap_for_ever(outbox: ktpsync.outbox.Outbox) -> None:
    """Rewrap all packets, again and again, to headers of different lengths."""
    while True:
        header = secrets.token_hex(4 + secrets.randbelow(8)).encode()

        def wrap(sealed: bytes, header: bytes = header) -> bytes:
            return header + b"|" + sealed.partition(b"|")[2]

        # The server may not have noticed yet that the one before is dead.
        with contextlib.suppress(OutboxError):
            outbox.rewrap(wrap, to=header.decode(), who="test")


def mend(outbox: ktpsync.outbox.Outbox, good: Path) -> None:
    """Put a good copy in the place of each damaged or missing object."""
    for suspect in outbox.suspects(read=True):
        sealed = (good / suspect.packet_id).read_bytes()
        outbox.put_back(suspect.packet_id, sealed, source="good", who="test", why="test")


def work(config: Path, what: str) -> None:
    """Open the office, say that it is open, and do it."""
    with ktpsync.Office.open(config) as office:
        os.write(1, f"{os.getpid()}\n".encode())
        if what == "rewrap":
            rewrap_for_ever(office.outbox)
        else:
            mend(office.outbox, config.parent / "good")


if __name__ == "__main__":
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            work(Path(sys.argv[1]), sys.argv[2])
            os._exit(0)
        os.waitpid(child, 0)
        os.write(1, b"dead\n")
