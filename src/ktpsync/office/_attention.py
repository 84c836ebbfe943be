"""What a person must see to: one sentence for each thing, saying what to do."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from ktpsync.courier import Said, Task
from ktpsync.errors import OutboxDamagedError
from ktpsync.units import amount, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ktpsync.clock import Clock
    from ktpsync.courier import Estimate
    from ktpsync.outbox import DestinationSummary, Outbox, StorageView

log = logging.getLogger("ktpsync.office")

_EVERY_SECONDS = 600.0
_GRACE_MS = 7 * 86_400_000
"""Time in which an office can be set up before its untried keys need a person."""

_NUMBER = re.compile(r"[0-9.]+")


def telling(sentences: Callable[[], Iterable[str]], clock: Clock) -> Task:
    """Return what the service does to log what a person must see to: each once a day, and at once when it is new.

    Args:
        sentences: What there is to say.
        clock: The clock to ask.
    """
    said = Said(clock)

    def tell() -> None:
        for sentence in sentences():
            # Only numbers that have changed are no news.
            if said.is_news(_NUMBER.sub("#", sentence), ""):
                log.warning("%s", sentence, extra={"facts": {"event": "attention"}})

    return Task(name="attention", every=_EVERY_SECONDS, run=tell)


def attention(
    lines: Iterable[tuple[DestinationSummary, Estimate | None]], storage: StorageView, others: Sequence[str]
) -> list[str]:
    """Return what a person must see to; empty if all goes by itself.

    Args:
        lines: The destinations, with the estimate for each; ``None`` for one that is not configured any more.
        storage: The room on the station's disk.
        others: What is to be seen to elsewhere: at the backups, and at secrets.
    """
    found = []
    for line, estimate in lines:
        name = line.state.name
        if line.state.paused is not None:
            why = f"{line.state.paused.rstrip('.')}."
            found.append(f"{name} is stopped: {why} Then run `ktpsync resume {name} --who YOU`.")
        if line.unusable:
            found.append(f"{name} cannot be used, and its packets wait: {line.unusable}")
        if line.damaged:
            what = counted(line.damaged, "packet waits", "packets wait")
            found.append(
                f"{what} for {name} because the bytes on this station are damaged: run `ktpsync doctor --repair`."
            )
        if line.not_registered:
            what = counted(line.not_registered, "packet is", "packets are")
            found.append(f"{what} at {name}, which could not register the person: see `ktpsync rejected`.")
        if refused := line.rejected - line.damaged - line.not_registered:
            what = counted(refused, "packet was", "packets were")
            found.append(f"{what} rejected at {name}: see `ktpsync rejected`.")
        if estimate is None and line.pending + line.leased:
            found.append(
                f"{counted(line.pending + line.leased, 'packet waits', 'packets wait')} for {name}, which is not in the "
                "configuration any more: "
                f"put it back, or run `ktpsync destination retire {name}`."
            )
        if estimate is not None and estimate.per_day is not None and storage.per_day > estimate.per_day:
            found.append(
                f"More is recorded in a day ({amount(storage.per_day)}) than {name} takes "
                f"({amount(estimate.per_day)}): its backlog grows. Widen its hours or its rate, or bring packets "
                "there on a disk."
            )
    return [*found, *storage.warnings, *others]


def of_the_office(outbox: Outbox, keys: Sequence[str], *, now_ms: int) -> list[str]:
    """Return what a person must see to about the office itself.

    Args:
        outbox: Its outbox.
        keys: What is to be seen to about its keys. A new office has some days for it.
        now_ms: The wall clock, in milliseconds since 1970.
    """
    found = []
    if not outbox.can_be_written():
        found.append(
            "The disk of the outbox can only be read: nothing can be recorded or delivered. Systems do that to a disk that fails. Copy "
            "the office's folder to another disk, and have this one checked."
        )
    try:
        outbox.check_database()
    except OutboxDamagedError as error:
        found.append(str(error))
    if outbox.records_for_nobody():
        found.append(
            "Packets are recorded, and the configuration names no destination: they go nowhere. Add [destinations.NAME]."
        )
    if now_ms - outbox.created_ms() > _GRACE_MS:
        found += keys
    return found
