"""Processes that work until they are killed, one after the other, forked from one that has imported all it needs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


def fork_for_each_line(work: Callable[[], object]) -> None:
    """Fork for each line of standard input; print the process's number, and ``dead`` when it is."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
        sys.stdout.write("dead\n")
        sys.stdout.flush()


def kill_one(worker: subprocess.Popen[str], *, after: float | None) -> bool:
    """Let a process start, and kill it after so many seconds; return whether it was not done before."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    child = int(worker.stdout.readline())
    killed = False
    if after is not None:
        time.sleep(after)  # whatever it is doing then
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
            killed = True
    assert "dead\n" == worker.stdout.readline()
    return killed
