"""What long work says of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen(kw_only=True)
class Progress:
    """How far a backup, a verification or a restore has come.

    Args:
        stage: What is being done: ``pack``, ``verify``, ``restore``, ``prune``.
        bytes_done: Bytes handled.
        bytes_total: Bytes to handle, where that is known.
        packets_done: Packets handled.
        packets_total: Packets to handle, where that is known.
    """

    stage: str
    bytes_done: int
    bytes_total: int | None
    packets_done: int
    packets_total: int | None


ProgressCallback = Callable[[Progress], None]
"""Called often, from a thread that does the work, once at a time; it should return quickly."""


def ignore_progress(progress: Progress) -> None:
    """Take no notice."""
