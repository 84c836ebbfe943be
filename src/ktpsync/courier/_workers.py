"""Threads that deliver."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Workers:
    """As many threads as there are deliveries at a time, started when they are needed first.

    They are daemons: an upload that hangs on a dead connection does not keep the process from ending. Its packet
    was given back by then, and what arrived of it counts once.

    Args:
        name: For their names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, job: Callable[[], None], *, at_a_time: int) -> None:
        """Run a job that never raises, in one of ``at_a_time`` threads."""
        if len(self._threads) < at_a_time:
            thread = threading.Thread(
                target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def end(self, *, wait: bool) -> None:
        """Let the threads end after their present job.

        Args:
            wait: Whether to wait until they have.
        """
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
