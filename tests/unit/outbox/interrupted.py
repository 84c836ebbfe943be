"""Interrupt one kind of transaction at each of its steps: ``python interrupted.py write|read FOLDER``.

A process of its own: what a trace function raises where an exception's handler begins stays the current exception of
its thread, and every later error of that thread would seem to come from it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktpsync.outbox import Outbox
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ROOMS = ("_sqlite.py", "_database.py", "_failures.py")


class Interruption:
    """Raises at one step of what runs meanwhile.

    Args:
        number: At which.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps = 0

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        """Count a step."""
        if not frame.f_code.co_filename.endswith(ROOMS):
            return None
        self.steps += 1
        if self.steps == self.number:
            raise KeyboardInterrupt
        return self


def main(kind: str, folder: Path) -> None:
    """Interrupt at the first step, then at the second, until there is none; nobody is ever locked out."""
    with Outbox.open(folder / "outbox.db", folder / "spool") as outbox:
        other = sqlite3.connect(folder / "outbox.db", timeout=0, isolation_level=None)
        with contextlib.closing(other):
            for number in itertools.count(1):
                interruption = Interruption(number)
                with contextlib.suppress(KeyboardInterrupt):
                    sys.settrace(interruption)
                    try:
                        with getattr(outbox._database, kind)():
                            pass
                    finally:
                        sys.settrace(None)
                if interruption.steps < number:
                    break
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
        assert number > 10
        gc.collect()
        assert outbox.submit(b"x", packet_id=new_packet_id(), sha256=hashlib.sha256(b"x").hexdigest()).created
    sys.stdout.write(f"{number - 1} interruptions")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
