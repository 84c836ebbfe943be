"""Run by test_outbox_kill.py: a submit and a settle that are killed at each of their steps. Not a test itself.

Usage: outbox_steps.py DATABASE FOLDER. A process of its own without threads, so that it can fork. Prints one JSON
object: how many steps there were, and what was wrong after which.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from ktpsync.outbox import Delivered, DestinationSpec, Outbox, Submission
from ktpsync.outbox._sqlite import SqliteFile
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Receipt

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_CALLS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "mkdir", "chmod")
_INSTRUCTIONS = 20
"""So many of its instructions SQLite carries out of a statement from one step to the next."""


def submission(text: str) -> Submission:
    """Return something to submit."""
    sealed = text.encode() * 500
    digest = hashlib.sha256(sealed).hexdigest()
    return Submission(
        sealed=sealed,
        packet_id=new_packet_id(),
        sha256=digest,
        reference=text,
        fingerprint=b"f",
        person=text.encode(),
    )


class Steps:
    """Dies at one of its steps: before and after each call that changes the disk or the database.

    On SQLite also in the middle of statements.
    """

    def __init__(self, number: int) -> None:
        self.left = number

    def step(self, *_: Any) -> None:
        """Count down, and die."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, outbox: Outbox) -> None:
        """Count from now on."""
        for name in _CALLS:
            setattr(os, name, self._stepping(getattr(os, name)))
        engine = outbox._database.engine
        if isinstance(engine, SqliteFile):
            engine.close()
            connect, give_back = engine._connect, engine.give_back
            engine._connect = lambda **options: self._watched(connect(**options))
            engine.give_back = self._stepping(give_back)
            return
        for moment in ("begin", "before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(engine, moment, self.step)
        event.listen(engine, "checkin", self.step)

    def _watched(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.set_trace_callback(self.step)
        connection.set_progress_handler(self.step, _INSTRUCTIONS)
        return connection

    def _stepping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            self.step()
            answer = call(*arguments, **options)
            self.step()
            return answer

        return stepping


class Play:
    """One outbox through many deaths."""

    def __init__(self, database: str, folder: Path) -> None:
        self.address = database if "://" in database else Path(database)
        self.folder = folder
        self.failures: list[str] = []
        self.present: dict[str, str] = {}

    def open(self) -> Outbox:
        """Open the outbox as a new process does."""
        return Outbox.open(
            self.address, self.folder / "spool", destinations=[DestinationSpec(name="central")]
        )

    def dies(self, work: Callable[[Outbox], object], number: int) -> bool:
        """Let a child work and die at a step; return whether it got there."""
        child = os.fork()
        if child == 0:
            outbox = self.open()
            Steps(number).watch(outbox)
            work(outbox)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    def submit(self, items: list[Submission], number: int) -> bool:
        """Kill a submission at a step, look at what is there, and submit again."""
        what = f"submitting {len(items)}, step {number}"
        died = self.dies(lambda outbox: outbox.submit_many(items), number)
        with self.open() as outbox:
            ids = {item.packet_id: item.sha256 for item in items}
            rows = {view.packet_id: view.sha256 for view in outbox.packets() if view.packet_id in ids}
            if len(rows) not in {0, len(items)}:
                self.failures.append(f"{what}: {len(rows)} of the rows are there")
            if not died and len(rows) != len(items):
                self.failures.append(f"{what}: acknowledged, and not there")
            self.check(outbox, what)
            again = outbox.submit_many(items)
            if any(isinstance(one, Exception) for one in again):
                self.failures.append(f"{what}: submitting again gave {again}")
            self.check(outbox, f"{what}, again")
            self.present |= ids
        return died

    def settle(self, number: int) -> bool:
        """Kill a settling at a step: the packet is delivered or it is not, and the trail agrees."""

        def work(outbox: Outbox) -> None:
            (lease,) = outbox.claim("central", 1, 3600)
            packet = lease.packet
            receipt = Receipt.of(
                packet,
                sha256=packet.sha256,
                stored_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
            outbox.apply("central", [Delivered(lease=lease, receipt=receipt)])

        died = self.dies(work, number)
        with self.open() as outbox:
            self.check(outbox, f"settling, step {number}")
        return died

    def check(self, outbox: Outbox, what: str) -> None:
        """Every row has its whole file, and everything that changed is told."""
        found = outbox.examine(read=True)
        self.failures += [f"{what}: {problem}" for problem in found.problems]
        rows = {view.packet_id: view.sha256 for view in outbox.packets()}
        if self.present.items() - rows.items():
            self.failures.append(f"{what}: acknowledged packets are lost")
        (line,) = outbox.summary()
        told = sum(1 for item in outbox.audit.entries() if item.event == "delivered")
        if line.delivered != told:
            self.failures.append(f"{what}: {line.delivered} counted as delivered, {told} told")


def main(database: str, folder: Path) -> None:
    """Die at every step of each kind of work."""
    play = Play(database, folder)
    play.open().close()
    steps = {}
    for name, work in {
        "submit": lambda number: play.submit([submission(f"one-{number}")], number),
        "submit_many": lambda number: play.submit(
            [submission(f"many-{number}-{n}") for n in range(3)], number
        ),
        "settle": play.settle,
    }.items():
        number = 1
        while work(number):
            number += 1
        steps[name] = number - 1
    print(json.dumps({"steps": steps, "failures": play.failures}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
