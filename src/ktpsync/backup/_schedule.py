"""When a backup is due, and when a person must be told that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.backup._memory import BackupMemory
from ktpsync.errors import BackupError

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.backup._repository import Repository


@frozen(kw_only=True)
class BackupDates:
    """What a station remembers of its backups to one repository, in milliseconds since 1970-01-01 UTC.

    Args:
        last_backup_ms: When the last complete backup ended; ``None``: never.
        last_verified_ms: When the last verification without a problem ended.
        last_drill_ms: When the last restore drill without a problem ended.
        sampled_ms: When a part of it was read back last, or the counting of time for it began.
        pruned_ms: When the last prune ended.
        damaged_ms: When damage was found that no verification of everything has found mended since.
        lineage: UUID under which the outbox counts its copies there; ``None``: there was no backup yet.
    """

    last_backup_ms: int | None
    last_verified_ms: int | None
    last_drill_ms: int | None
    sampled_ms: int | None
    pruned_ms: int | None
    damaged_ms: int | None
    lineage: str | None


def backup_dates(memory: Path, repository: str) -> BackupDates:
    """Return when things last went well, also while the disk is not there.

    Args:
        memory: The folder given to :func:`ktpsync.backup.backup`.
        repository: UUID of the repository.
    """
    remembered = BackupMemory(memory, repository)
    known, checks = remembered.load(), remembered.checks()
    return BackupDates(
        last_backup_ms=known.last_backup_ms if known else None,
        last_verified_ms=checks.last_verified_ms,
        last_drill_ms=checks.last_drill_ms,
        sampled_ms=checks.sampled_ms,
        pruned_ms=checks.pruned_ms,
        damaged_ms=checks.damaged_ms,
        lineage=known.lineage if known else None,
    )


def known_lineages(memory: Path) -> set[str]:
    """Return the lineages that this station can go on with: those it remembers.

    Args:
        memory: The folder given to :func:`ktpsync.backup.backup`.
    """
    found = (BackupMemory(memory, path.stem).load() for path in memory.glob("*.json"))
    return {known.lineage for known in found if known is not None}


def goes_on(memory: Path, repository: Repository) -> bool:
    """Return whether a repository holds the last snapshot that this station made in it.

    An older copy of a disk has its UUID and not what was backed up since.

    Args:
        memory: The folder given to :func:`ktpsync.backup.backup`.
        repository: Which.

    Raises:
        BackendError: The storage cannot be reached.
    """
    known = BackupMemory(memory, repository.uuid).load()
    if known is None or known.head is None:
        return True
    try:
        return repository.snapshot(known.head.name).ref == known.head
    except BackupError:
        return False


def begin_sampling(memory: Path, repository: str, now_ms: int) -> None:
    """Begin to count the time that a routine verification must make up for."""
    remembered = BackupMemory(memory, repository)
    remembered.save_checks(evolve(remembered.checks(), sampled_ms=now_ms))


def damage_found(memory: Path, repository: str, now_ms: int) -> None:
    """Remember that a part of a backup is damaged, for a person to see to."""
    BackupMemory(memory, repository).note_damage(now_ms)


def due(now_ms: int, last_ms: int | None, every_ms: int) -> bool:
    """Return whether something that is done every so often is due.

    A backup that was missed, because the disk was away or the computer slept, is due at once. So is one
    whose last time lies in the future: the clock was wrong then.

    Args:
        now_ms: The wall clock, in milliseconds since 1970-01-01 UTC.
        last_ms: When it was done last; ``None``: never.
        every_ms: How often it is to be done, in milliseconds.
    """
    return last_ms is None or now_ms - last_ms >= every_ms or last_ms > now_ms
