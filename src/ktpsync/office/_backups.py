"""What an office does with its backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from ktpsync import backup, packet
from ktpsync.errors import (
    BackendError,
    BackupError,
    BackupInUseError,
    ConfigError,
    UnavailableError,
    UnknownDestinationError,
)
from ktpsync.office._backup_places import BackupPlaces
from ktpsync.office._offload import Offload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from ktpsync.age import Identity
    from ktpsync.backup import (
        Depth,
        DrillReport,
        ExtractReport,
        ProgressCallback,
        PruneReport,
        RepairReport,
        Repository,
        Retention,
        Snapshot,
        SnapshotReport,
        VerifyReport,
    )
    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.errors import DamagedBackupError
    from ktpsync.keys import IndexKey, StationKey, StationPublicKey
    from ktpsync.office._good_copies import GoodCopies
    from ktpsync.office._layout import DataFolder
    from ktpsync.office._mending import MendReport
    from ktpsync.outbox import Outbox
    from ktpsync.plugins import Backend, PluginRegistry

_AT_ONCE: Final = 64 << 20
"""Bytes that are read back from a backup and dropped while somebody waits for room."""


class Backups:
    """Makes, checks, mends and thins out the backups of an office.

    Args:
        settings: The configuration.
        data: The data folder.
        outbox: What is backed up.
        station: Signs the snapshots.
        index_key: Goes into the sealed state, so that a restored outbox recognises what it holds.
        clock: The clock to ask.
        registry: Makes the storage backends.
        destination: Makes the backend of a destination, which may hold good copies.
    """

    def __init__(
        self,
        settings: Configuration,
        *,
        data: DataFolder,
        outbox: Outbox,
        station: StationKey,
        index_key: IndexKey,
        clock: Clock,
        registry: PluginRegistry,
        destination: Callable[[str], Backend],
    ) -> None:
        self._settings = settings
        self._data = data
        self._outbox = outbox
        self._station = station
        self._index_key = index_key
        self._clock = clock
        self._destination = destination
        self.places = BackupPlaces(settings, data=data, clock=clock, registry=registry)
        self.offload = Offload(
            settings.office,
            places=self.places,
            outbox=outbox,
            memory=data.backup_memory,
            verify=self._read_back,
            clock=clock,
        )

    def close(self) -> None:
        """Close what is open."""
        self.offload.close()

    def backup(
        self, name: str, progress: ProgressCallback | None = None, *, read_back: bool = False
    ) -> SnapshotReport:
        """Copy what is new, then read back what is due for it.

        Args:
            name: The backup.
            progress: Called as packs are stored.
            read_back: Whether to read back all that is new as well, as the service does.
        """
        with self.places.made(name) as repository:
            backup.note_recipients(
                repository,
                self.places.recipients(name),
                station=self._station.public.key_id,
                clock=self._clock,
            )
            report = backup.backup(
                self._outbox,
                repository,
                station=self._station,
                memory=self._data.backup_memory,
                recipients=self.places.recipients(name),
                include_station_key=self.places.settings(name).include_station_key,
                index_key=self._index_key.to_hex(),
                clock=self._clock,
                progress=progress or backup.ignore_progress,
            )
            fresh = report.packs if read_back or self.offload.low else ()
            found = self._sample(name, repository, report, fresh)
            return evolve(report, name=name, found=(*report.found, *found))

    def backup_in_turn(
        self,
        name: str,
        progress: ProgressCallback | None = None,
        *,
        read_back: bool = False,
        by_person: bool = False,
    ) -> tuple[str, SnapshotReport]:
        """Make the backup that a name means; of those that take turns, the next one at hand where one fails.

        Args:
            name: The backup, or the common name.
            progress: Called as packs are stored.
            read_back: As for :meth:`backup`.
            by_person: Whether a person has asked for it, who is to find in the status how it went.

        Returns:
            The backup that was made, and how; its warnings name those that failed, and what was found those that are
            damaged or not what they were.

        Raises:
            UnknownDestinationError: There is none of this name.
            BackupInUseError: A backup to the one whose turn it is is running.
            BackendError: None could be made.
            BackupError: None could be made, because what is on one of them is damaged or not what it was.
        """
        failed: dict[str, BackendError | BackupError] = {}
        for member in self.places.in_turn(name):
            try:
                report = self.backup(member, progress, read_back=read_back)
            except BackupInUseError:
                raise
            except (BackendError, BackupError) as error:
                self.places.note_try(member, error, by_person=by_person)
                failed[member] = error
            else:
                self.places.note_try(member, None, by_person=by_person)
                return member, _with_failures(report, failed.values(), instead=member)
        raise _joined(list(failed.values()))

    def lacking(self, name: str) -> tuple[int | None, int | None]:
        """Return how many packets a backup lacks, and when the oldest of them was recorded, in milliseconds since 1970.

        Of a backup that was never made it lacks all: that number is not counted, and ``None``.
        """
        lineage = self.places.lineage(name)
        if lineage:
            return self._outbox.lacking(lineage)[0], self._outbox.oldest_lacking_ms(lineage)
        first = next(self._outbox.packets(), None)
        return (0, None) if first is None else (None, round(first.created_at.timestamp() * 1000))

    def verify(
        self,
        name: str,
        *,
        depth: Depth | None = None,
        identities: tuple[Identity, ...] = (),
        progress: ProgressCallback | None = None,
    ) -> VerifyReport:
        """Check a backup."""
        with self.places.opened_to_read(name) as repository:
            return self._verify(
                name,
                repository,
                depth=depth or (backup.Depth.OPEN if identities else backup.Depth.READ),
                identities=identities,
                progress=progress,
            )

    def repair(
        self, name: str, sources: Sequence[str], *, progress: ProgressCallback | None = None
    ) -> tuple[RepairReport, VerifyReport]:
        """Bring good copies of what is damaged, and look again."""
        with self.places.opened_to_read(name) as repository, self._good_copies(name) as copies:
            mended = backup.repair(repository, copies.sources(sources), memory=self._data.backup_memory)
            mended = evolve(mended, away={name: copies.away[name] for name in sources if name in copies.away})
        return mended, self.verify(name, progress=progress)

    def mend(self, *, read: bool, who: str, why: str) -> MendReport:
        """Bring good copies of what is damaged in the spool."""
        from ktpsync.office._good_copies import SPOOL  # noqa: PLC0415 - rarely needed
        from ktpsync.office._mending import mend  # noqa: PLC0415 - see above

        with self._good_copies(SPOOL) as copies:
            return mend(self._outbox, copies, read=read, who=who, why=why)

    def unknown_lineages(self) -> list[str]:
        """Return under what the outbox counts copies that this station can go on with no more, as after a restore.

        Where machines share an outbox each remembers its own, and none can say that of another one's.
        """
        if self._outbox.shared:
            return []
        known = backup.known_lineages(self._data.backup_memory)
        return [lineage for lineage in self._outbox.copy_targets() if lineage not in known]

    def places_of(self, lineages: Collection[str]) -> dict[str, str]:
        """Return on which backups of the configuration lineages are, as far as these are at hand: their names, by lineage."""
        found: dict[str, str] = {}
        for name in self.places.names() if lineages else ():
            try:
                with self.places.opened_to_read(name) as repository:
                    there = {one.manifest.lineage for one in repository.readable_snapshots()}
            except (BackendError, BackupError):
                continue
            found |= {lineage: name for lineage in lineages if lineage in there}
        return found

    def forget(self, name: str, *, who: str, why: str) -> None:
        """End a backup that the configuration does not name any more; see :meth:`Office.forget_backup`."""
        if name in self.unknown_lineages():
            self._outbox.forget_copies(name, name=name, who=who, why=why)
            return
        if name in self.places.names():
            raise ConfigError(
                f"{name} is still in {self._settings.path}, and backups to it would go on. Take it out of the configuration "
                "first."
            )
        if self.places.known(name) is None:
            known = ", ".join(self.places.left()) or "none"
            raise UnknownDestinationError(
                f"No backup {name!r} was ever made here. Those that the configuration does not name any more: {known}."
            )
        lineage = self.places.lineage(name)
        # Under a new name its copies go on to count.
        if lineage and name in self.places.left():
            self._outbox.forget_copies(lineage, name=name, who=who, why=why)
        self.places.drop(name)

    def drill(self, name: str, identities: tuple[Identity, ...], sample: int) -> DrillReport:
        """Try a restore."""
        with self.places.opened_to_read(name) as repository:
            return backup.drill(
                repository,
                identities=identities,
                open_packet=backup.packet_opener(identities, self.trusted()),
                sample=sample,
                memory=self._data.backup_memory,
                clock=self._clock,
            )

    def prune(
        self,
        name: str,
        retention: Retention | None = None,
        *,
        dry_run: bool = False,
        progress: ProgressCallback | None = None,
    ) -> PruneReport:
        """Drop old snapshots, and packets that nobody needs any more."""
        with self.places.opened(name) as repository:
            return backup.prune(
                self._outbox,
                repository,
                station=self._station,
                memory=self._data.backup_memory,
                retention=retention or self.places.settings(name).retention or backup.Retention(),
                expendable=backup.purged_packets(self._outbox),
                dry_run=dry_run,
                index_key=self._index_key.to_hex(),
                include_station_key=self.places.settings(name).include_station_key,
                clock=self._clock,
                progress=progress or backup.ignore_progress,
            )

    def extract(self, name: str, packet_ids: Iterable[str], into: Path) -> ExtractReport:
        """Take single packets out, still sealed."""
        with self.places.opened_to_read(name) as repository:
            return backup.extract(repository, packet_ids, into)

    def snapshots(self, name: str) -> list[Snapshot | DamagedBackupError]:
        """Return what is there to be restored."""
        with self.places.opened_to_read(name) as repository:
            return list(repository.snapshots())

    def make_room_for(self, size: int) -> bool:
        """Drop bytes from the spool so that a packet fits; return whether any were dropped."""
        below = self._settings.office.offload_below
        return self.offload.make_room(max(size, min(below // 4, _AT_ONCE))) > 0

    def _read_back(self, name: str) -> None:
        """Read a backup whole, for the outbox to know what is in it; a disk that goes away meanwhile is no news."""
        try:
            self.verify(name)
        except UnavailableError:
            return

    def _verify(
        self,
        name: str,
        repository: Repository,
        *,
        depth: Depth | None = None,
        identities: tuple[Identity, ...] = (),
        share: float | None = None,
        packs: Collection[str] = (),
        progress: ProgressCallback | None = None,
    ) -> VerifyReport:
        stations = self.trusted()
        with self._good_copies(name) as copies:
            return backup.verify(
                repository,
                depth=depth or backup.Depth.READ,
                identities=identities,
                open_packet=lambda _, sealed: packet.open(sealed, identities, stations=stations),
                trusted=stations,
                memory=self._data.backup_memory,
                copies=copies.elsewhere,
                source=self._outbox,
                share=share,
                packs=packs,
                former=lambda: self._rewrapped_to(identities),
                clock=self._clock,
                progress=progress or backup.ignore_progress,
            )

    def _rewrapped_to(self, identities: Sequence[Identity]) -> bool:
        """Return whether packets were rewrapped, and the identities are those of the packets' recipients now."""
        recipients = {str(recipient) for recipient in self._settings.recipients()}
        return (
            any(str(identity.recipient) in recipients for identity in identities) and self._outbox.rewrapped()
        )

    def _sample(
        self, name: str, repository: Repository, report: SnapshotReport, fresh: Collection[str]
    ) -> list[str]:
        """Read back the share that the time since the last sample asks for, and return what was wrong."""
        now_ms = self._clock.now_ms()
        sampled_ms = backup.backup_dates(self._data.backup_memory, repository.uuid).sampled_ms
        if sampled_ms is None or sampled_ms > now_ms:
            backup.begin_sampling(self._data.backup_memory, repository.uuid, now_ms)
            share = 0.0
        else:
            share = (now_ms - sampled_ms) / 1000 / self.places.settings(name).verify_within
        # Less than a pack is not worth the reading: it adds up until it is.
        due = share * report.totals.packs >= 1
        if not due and not fresh:
            return []
        found = self._verify(name, repository, share=min(share, 1.0) if due else 0.0, packs=fresh)
        return [str(problem) for problem in found.problems]

    def trusted(self) -> list[StationPublicKey]:
        """Return the stations whose packets and snapshots are believed."""
        return self._data.trusted_stations(self._station.public)

    def _good_copies(self, missing_from: str) -> GoodCopies:
        from ktpsync.office._good_copies import GoodCopies  # noqa: PLC0415 - rarely needed

        destinations = tuple(self._settings.destinations), self._destination
        return GoodCopies(self._outbox, self.places, destinations, missing_from=missing_from)


def _with_failures(
    report: SnapshotReport, failed: Iterable[BackendError | BackupError], *, instead: str
) -> SnapshotReport:
    """Return the report of a backup with what failed before it: damage has to be seen to, a full disk to be known."""
    warnings, found = list(report.warnings), list(report.found)
    for error in failed:
        told = found if isinstance(error, BackupError) else warnings
        told.append(f"{error} The backup went to {instead} instead.")
    return evolve(report, warnings=tuple(warnings), found=tuple(found))


def _joined(failed: Sequence[BackendError | BackupError]) -> BackendError | BackupError:
    """Return one error for all; it is of the kind that a person must see to, if one is."""
    if len(failed) == 1:
        return failed[0]
    told = "\n".join(str(error) for error in failed)
    kinds = [type(error) for error in failed if isinstance(error, BackupError)]
    return kinds[0](told) if kinds else UnavailableError(told)
