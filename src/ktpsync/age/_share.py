"""Sharing work on parts of a buffer with helper threads."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

_MAX_HELPERS: Final = 3

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


@functools.cache
def _helper_count() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MAX_HELPERS, cores - 1)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_helper_count(), thread_name_prefix="ktpsync-age")


def share(work: Callable[[_Part], _Result], parts: Sequence[_Part]) -> list[_Result]:
    """Do work on each part and return the results in the order of the parts.

    Everybody takes the next part that nobody has taken. So this is right, if slower, where no helper comes: on one
    core, on a busy machine, in a process that was forked, while the interpreter ends.

    Args:
        work: Called once for each part; it frees the interpreter's lock where it is slow.
        parts: What is to be done.
    """
    helpers = min(_helper_count(), len(parts) - 1)
    if helpers < 1:
        return [work(part) for part in parts]
    numbered = deque(enumerate(parts))
    results: dict[int, _Result] = {}

    def drain() -> None:
        while True:
            try:
                number, part = numbered.popleft()
            except IndexError:
                return
            results[number] = work(part)

    futures: list[Future[None]] = []
    # Where no thread can be started any more, those that were find nothing left to do.
    with contextlib.suppress(RuntimeError):
        futures.extend(_pool().submit(drain) for _ in range(helpers))
    try:
        drain()
    finally:
        begun = [future for future in futures if not future.cancel()]
        wait(begun)
    for future in begun:
        future.result()
    return [results[number] for number in range(len(parts))]
