"""A bound on what inputs make a fuzzed program allocate, tighter than that of libFuzzer.

``-rss_limit_mb`` counts the interpreter, and also what the process that started this one ever used: the kernel hands the
peak of a process on to the program that it turns into.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path


@functools.cache
def bound_memory(growth: int) -> None:
    """Let allocations fail from here on that no input of this size justifies. Only on Linux.

    The limit is on what is allocated, not on what is resident: memory that was asked for and never touched counts.

    Args:
        growth: Bytes that all inputs together, and the fuzzer's corpus, may take above what there is now.
    """
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii")
    allocated = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (allocated + growth, resource.RLIM_INFINITY))
