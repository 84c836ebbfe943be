"""When backups are made by themselves, and when a person must be told that there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync.backup import due
from ktpsync.courier import Task
from ktpsync.errors import UnavailableError
from ktpsync.office._backup_places import when
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ktpsync.backup import BackupDates, SnapshotReport
    from ktpsync.clock import Clock
    from ktpsync.office._backup_places import BackupPlaces
    from ktpsync.office._backups import Backups

log = logging.getLogger("ktpsync.backup")

_LOOK_SECONDS: Final = 60.0
"""How often the service looks whether a backup is due and its disk is there."""

_DAY_MS: Final = 86_400_000
_PATIENCE_MS: Final = 3 * _DAY_MS
"""How long packets may be on no backup where nothing says how often one is to be made: over a weekend."""

Lacking = Callable[[str], tuple[int | None, int | None]]
"""Says how many packets a backup lacks (``None``: all), and when the oldest of them was recorded."""


@frozen(kw_only=True)
class BackupState:
    """How a backup stands. Times are milliseconds since 1970-01-01 UTC; ``None``: never.

    Args:
        name: The backup.
        last_backup_ms: When the last one ended.
        last_verified_ms: When everything was last found whole, at once or share by share.
        last_drill_ms: When a restore was last tried with success.
        lacking: How many packets are not in it yet; ``None``: all, as it was never made.
        awaited: Packets that were moved off the station and wait for this backup to be plugged in.
        warnings: One sentence for each thing that a person must see to.
    """

    name: str
    last_backup_ms: int | None
    last_verified_ms: int | None
    last_drill_ms: int | None
    lacking: int | None
    awaited: int
    warnings: tuple[str, ...]


def backup_states(
    places: BackupPlaces,
    awaited: dict[str, int],
    now_ms: int,
    *,
    lacking: Lacking,
    unknown: Mapping[str, str] | None = None,
) -> list[BackupState]:
    """Return how each backup stands, also while its disk is away.

    Args:
        places: The backups.
        awaited: By name, how many packets wait for a backup to be plugged in.
        now_ms: The wall clock, in milliseconds since 1970.
        lacking: Says what a backup lacks.
        unknown: Under what the outbox counts copies that this station can go on with no more, each with the name of the backup
            on whose disk they were found; empty where on none.
    """
    states = []
    for set_name, members in places.sets().items():
        lacks = {name: lacking(name) for name in members}
        newest_lacks = lacks[max(members, key=places.last_ms)]
        overdue = _overdue(places, set_name, members, now_ms) or _left_behind(
            places, set_name, members, newest_lacks, now_ms
        )
        for name in members:
            dates = places.dates(name)
            warnings = [overdue] if overdue and name == _next(places, members) else []
            if why := places.why_unusable(name):
                warnings.append(f"The backup {name} cannot be used: {why}")
            warnings += _swap(places, name, members, now_ms)
            if dates and dates.damaged_ms is not None:
                warnings.append(
                    f"Damage was found on {name} at {when(dates.damaged_ms)}: `ktpsync verify {name} --repair-from spool` "
                    "mends what it can and says what is left; a disk that goes on failing is to be replaced."
                )
            if count := awaited.get(name, 0):
                warnings.append(
                    f"{name} holds {counted(count, 'packet', 'packets')} still to be delivered that this station has not any more: plug "
                    "it in, and it goes on."
                )
            states.append(_state(name, dates, awaited, warnings, lacks[name][0]))
    states += [_state(name, places.dates(name), awaited, [_left(name, awaited)]) for name in places.left()]
    return [*states, *(_unknown(lineage, name) for lineage, name in (unknown or {}).items())]


def _unknown(lineage: str, name: str) -> BackupState:
    told = (
        f"Copies that a backup from before a restore made still count: those on the disk of {name} ({lineage}). This station "
        f"cannot go on with them: run `ktpsync backup {name}`, then `ktpsync backup forget {lineage}`."
        if name
        else f"Copies that a backup from before a restore made still count ({lineage}), and this station cannot go on with it. Let a "
        f"new backup be made on that disk if it is there, then run `ktpsync backup forget {lineage}`."
    )
    return _state(lineage, None, {}, [told])


def _state(
    name: str,
    dates: BackupDates | None,
    awaited: dict[str, int],
    warnings: list[str],
    lacking: int | None = 0,
) -> BackupState:
    return BackupState(
        name=name,
        last_backup_ms=dates.last_backup_ms if dates else None,
        last_verified_ms=dates.last_verified_ms if dates else None,
        last_drill_ms=dates.last_drill_ms if dates else None,
        lacking=lacking,
        awaited=awaited.get(name, 0),
        warnings=tuple(warnings),
    )


def _left(name: str, awaited: dict[str, int]) -> str:
    """Return what is to be done about a backup that the configuration does not name any more."""
    if count := awaited.get(name, 0):
        return (
            f"{name} holds {counted(count, 'packet', 'packets')} still to be delivered, and is not in the "
            "configuration any more: put it back, plug it in, and it goes on."
        )
    return (
        f"The backup {name} is not in the configuration any more, and its copies still count: put it back, or run "
        f"`ktpsync backup forget {name}`."
    )


def _next(places: BackupPlaces, members: list[str]) -> str:
    return min(members, key=places.last_ms)


def _overdue(places: BackupPlaces, set_name: str, members: list[str], now_ms: int) -> str | None:
    ages = [age for name in members if (age := places.settings(name).alarm_age) is not None]
    last_ms = max(places.last_ms(name) for name in members)
    if not ages or not due(now_ms, last_ms or None, round(min(ages) * 1000)):
        return None
    if not last_ms:
        told = f"There is no backup on {set_name} yet."
    elif last_ms > now_ms:
        told = (
            f"The last backup to {set_name} is dated {when(last_ms)}, which is still to come: this station's clock was wrong "
            "then, or it is wrong now. Look at the clock."
        )
    else:
        told = f"The last backup to {set_name} is from {when(last_ms)}, too long ago."
    failures = [failure for name in members if (failure := places.failure(name))]
    named = " or ".join(members)
    how = f"Plug in {named}; then it is made by itself, or with `ktpsync backup {set_name}`."
    if not _plugged_in(places, members):
        how = f"See that {named} can be reached; then it is made by itself, or with `ktpsync backup {set_name}`."
    return " ".join([told, *failures, how])


def _left_behind(
    places: BackupPlaces,
    set_name: str,
    members: list[str],
    lacks: tuple[int | None, int | None],
    now_ms: int,
) -> str | None:
    """Return that packets are on no backup because a person's try failed, or for long where nothing says how often."""
    count, oldest_ms = lacks
    if oldest_ms is None:
        return None
    last_ms = max(places.last_ms(name) for name in members)
    failures = [
        failure for name in members if (failure := places.failure(name, by_person=True, after_ms=last_ms))
    ]
    timed = any(places.settings(name).alarm_age is not None for name in members)
    if not failures and (timed or now_ms - oldest_ms < _PATIENCE_MS):
        return None
    told = f"No packet is on {set_name} yet; the oldest was recorded at {when(oldest_ms)}."
    if count is not None:
        told = (
            f"Packets that are not on {set_name} yet: {count}. The oldest was recorded at {when(oldest_ms)}."
        )
    named = " or ".join(members)
    how = f"Plug in {named} and run `ktpsync backup {set_name}`."
    if not _plugged_in(places, members):
        how = f"See that {named} can be reached and run `ktpsync backup {set_name}`."
    return " ".join([told, *failures, how])


def _plugged_in(places: BackupPlaces, members: list[str]) -> bool:
    """Return whether backups are disks, which a person fetches; storage elsewhere is reached over a line."""
    return any(places.settings(name).backend == "disk" for name in members)


def _swap(places: BackupPlaces, name: str, members: list[str], now_ms: int) -> list[str]:
    """Return the reminder to plug in the one that was in the cupboard for too long."""
    if len(members) == 1 or name != _next(places, members):
        return []
    last_ms, swap_ms = places.last_ms(name), round(places.settings(name).swap_after * 1000)
    newest = max(members, key=places.last_ms)
    if newest == name or not due(now_ms, last_ms or None, swap_ms):
        return []
    return [f"It is time to change disks: put {newest} into the cupboard and plug in {name}."]


class BackupWatch:
    """Makes backups that are due, and says when that fails for too long.

    Args:
        backups: The backups.
        clock: The clock to ask.
        finished: Told of each backup that was made, with its name.
        overdue: Told of each backup that a person must see to, once a day, with the sentence.
    """

    def __init__(
        self,
        backups: Backups,
        *,
        clock: Clock,
        finished: Callable[[str, SnapshotReport], None],
        overdue: Callable[[str, str], None],
    ) -> None:
        self._backups = backups
        self._places = backups.places
        self._clock = clock
        self._finished = finished
        self._overdue = overdue
        self._away: dict[str, str] = {}
        self._looked: set[str] = set()
        self._told_ms: dict[str, int] = {}

    def tasks(self) -> Iterator[Task]:
        """Yield what the service does for backups."""
        for name, members in self._places.sets().items():
            if any(self._places.settings(member).every is not None for member in members):
                yield Task(name=f"backup-{name}", every=_LOOK_SECONDS, run=partial(self.look, name))
        if self._places.names():
            yield Task(name="backup-watch", every=_LOOK_SECONDS, run=self.tell_overdue)
            yield Task(name="offload", every=_LOOK_SECONDS, run=self._backups.offload.run)

    def look(self, set_name: str) -> SnapshotReport | None:
        """Make the backup of a set if it is due and one of its disks is there."""
        try:
            return self._look(set_name)
        finally:
            self._looked.add(set_name)

    def _look(self, set_name: str) -> SnapshotReport | None:
        members = self._places.sets()[set_name]
        every = [period for name in members if (period := self._places.settings(name).every) is not None]
        last_ms = max(self._places.last_ms(name) for name in members)
        if not due(self._clock.now_ms(), last_ms or None, round(min(every) * 1000)):
            return None
        try:
            name, report = self._backups.backup_in_turn(set_name, read_back=True)
        except UnavailableError as error:
            self._note_away(set_name, error)
            return None
        self._away.pop(set_name, None)
        self._say(name, report)
        self._finished(name, report)
        self._prune(name)
        return report

    def tell_overdue(self) -> None:
        """Tell of backups that a person must see to, each once a day."""
        now_ms = self._clock.now_ms()
        for state in backup_states(self._places, {}, now_ms, lacking=self._backups.lacking):
            if state.name in self._places.names() and not self._settled(state.name):
                continue
            told_ms = self._told_ms.get(state.name)
            if state.warnings and (told_ms is None or abs(now_ms - told_ms) >= _DAY_MS):
                self._told_ms[state.name] = now_ms
                for sentence in state.warnings:
                    log.warning("%s", sentence)
                    self._overdue(state.name, sentence)
            elif not state.warnings:
                self._told_ms.pop(state.name, None)

    def _settled(self, name: str) -> bool:
        """Return whether a backup is not one that may be made any moment."""
        settings = self._places.settings(name)
        return settings.every is None or (settings.rotate or name) in self._looked

    def _note_away(self, set_name: str, error: UnavailableError) -> None:
        reason = str(error)
        if self._away.get(set_name) != reason:
            self._away[set_name] = reason
            failed = any(self._places.failure(name) for name in self._places.sets()[set_name])
            log.log(
                logging.WARNING if failed else logging.INFO,
                "the backup to %s is due and waits: %s",
                set_name,
                reason,
            )

    def _say(self, name: str, report: SnapshotReport) -> None:
        if report.snapshots:
            log.info(
                "backed up %d packets (%d bytes) to %s: snapshot %s",
                report.packets,
                report.bytes_written,
                name,
                report.head,
            )
        for line in report.warnings:
            log.warning("%s: %s", name, line)
        for line in (*report.damaged, *report.found):
            log.error("%s: %s", name, line)

    def _prune(self, name: str) -> None:
        dates = self._places.dates(name)
        pruned_ms = dates.pruned_ms if dates else None
        if self._places.settings(name).retention is None:
            return
        if due(self._clock.now_ms(), pruned_ms, _DAY_MS):
            report = self._backups.prune(name)
            if report.dropped or report.packets_dropped:
                log.info(
                    "pruned %s: %d snapshots and %d packets dropped, %d bytes freed",
                    name,
                    len(report.dropped),
                    report.packets_dropped,
                    report.bytes_freed,
                )
