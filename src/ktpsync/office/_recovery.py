"""After the database was put back from an older copy, or lost: packets in the spool get their rows again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync import config as configuration
from ktpsync.backup import outbox_was_rebuilt
from ktpsync.clock import SystemClock
from ktpsync.errors import SpoolUnavailableError
from ktpsync.office._destinations import destination_specs
from ktpsync.office._layout import DataFolder
from ktpsync.office._storage import spool_of
from ktpsync.outbox import FolderSpool, Outbox, UnrecordedBytes, check_decision, set_tables_aside
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.clock import Clock


@frozen(kw_only=True)
class RecoveryReport:
    """What the spool has and the database does not know.

    Args:
        found: All of it.
        taken: Ids of the packets that have their rows again.
        aside: A copy of the outbox's tables that were left where others were missing, which were dropped; ``None`` if
            none were.
    """

    found: tuple[UnrecordedBytes, ...]
    taken: tuple[str, ...]
    aside: Path | None = None

    @property
    def problems(self) -> tuple[UnrecordedBytes, ...]:
        """What cannot be a packet, and was left as it is."""
        return tuple(found for found in self.found if found.problem)


def find_unrecorded(
    config: Path, *, since_ms: int | None = None, clock: Clock | None = None
) -> RecoveryReport:
    """Look for packets in the spool that the database does not know; nothing is changed.

    Args:
        config: The configuration file, or its folder.
        since_ms: As for :func:`recover_packets`.
        clock: The clock to ask.

    Raises:
        ConfigError: The configuration has problems.
        SpoolUnavailableError: The spool cannot be reached, or is another outbox's.
    """
    with _opened(config, clock, looking=True) as (outbox, _, _):
        return RecoveryReport(found=tuple(outbox.unrecorded(since_ms=since_ms)), taken=())


def recover_packets(
    config: Path, *, who: str, why: str, since_ms: int | None = None, clock: Clock | None = None
) -> RecoveryReport:
    """Give packets in the spool that the database does not know their rows again; they go to all destinations.

    For a database that was put back from an older copy, and for a new one in the place of one that is lost. References and
    receipts that only the lost rows had do not come back; reconcile afterwards.

    Args:
        config: The configuration file, or its folder.
        who: Who decides this; kept in the audit trail.
        why: Why; kept in the audit trail.
        since_ms: All packets recorded since then, in milliseconds since 1970, those of transactions that may have been rolled
            back among them. What was recorded before only if a mark of its file shows that its row was committed. Without
            it, of a folder whose files are marked these alone; else all.
        clock: The clock to ask.

    Raises:
        ConfigError: The configuration has problems; or nobody, or no reason, is named.
        SpoolUnavailableError: The spool cannot be reached, or is another outbox's. What was recovered before stays.
        OutboxInUseError: Tables are missing, and another process works with the outbox.
    """
    check_decision(who, why)
    with _opened(config, clock, looking=False) as (outbox, data, aside):
        found = tuple(outbox.unrecorded(since_ms=since_ms))
        taken = tuple(one.packet_id for one in found if outbox.recover(one, who=who, why=why))
        outbox.end_recovery(who=who, why=why)
    outbox_was_rebuilt(data.backup_memory)
    return RecoveryReport(found=found, taken=taken, aside=aside)


@contextlib.contextmanager
def _opened(
    config: Path, clock: Clock | None, *, looking: bool
) -> Iterator[tuple[Outbox, DataFolder, Path | None]]:
    registry = PluginRegistry.load()
    settings = configuration.load(config, secrets=registry.secret_sources())
    clock = clock or SystemClock()
    data = DataFolder(settings.office.data)
    spool = spool_of(settings, data=data, registry=registry, clock=clock)
    if isinstance(spool, Path) and FolderSpool(spool).blank:
        raise SpoolUnavailableError(
            f"The folder of the spool, {spool}, is empty. Nothing was changed. Is its disk or share mounted?"
        )
    database = None if settings.office.database is None else settings.office.database.reveal()
    aside = None if looking or database is None else set_tables_aside(database, data.root, clock)
    with Outbox.open(
        data.database if database is None else database,
        spool,
        destinations=() if looking else destination_specs(settings),
        schema=settings.office.database_schema,
        limits=settings.office.limits(),
        clock=clock,
        recovering=True,
        looking=looking,
    ) as outbox:
        yield outbox, data, aside
