"""Changing who can open what an office holds: its spool, then its backups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync import packet
from ktpsync.backup import RepositoryRewrapReport, ignore_progress, no_backup_runs, rewrap_repository
from ktpsync.errors import BackendError, BackupError, UnknownDestinationError
from ktpsync.office._backup_places import without_name
from ktpsync.outbox import RewrapReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ktpsync.age import Identity, Recipient
    from ktpsync.backup import ProgressCallback
    from ktpsync.clock import Clock
    from ktpsync.keys import IndexKey, StationKey
    from ktpsync.office._backup_places import BackupPlaces
    from ktpsync.office._layout import DataFolder
    from ktpsync.outbox import Outbox


@frozen(kw_only=True)
class RotationReport:
    """What became of the packets of an office.

    Args:
        spool: The packets on the station.
        backups: The backups that were at hand, by name.
        away: Why each of the others was left, by name: it is not at hand, or its manifests are damaged.
    """

    spool: RewrapReport
    backups: Mapping[str, RepositoryRewrapReport]
    away: Mapping[str, str]

    @property
    def done(self) -> bool:
        """Whether nothing is left for another run."""
        return self.spool.done and all(report.done for report in self.backups.values()) and not self.away


class Rotation:
    """Gives an office's packets and backups to the recipients that its configuration names now.

    Args:
        recipients: Recipients of packets.
        places: The backups.
        data: The data folder.
        outbox: Whose packets.
        station: Signs snapshots.
        index_key: Goes into the sealed states.
        clock: The clock to ask.
    """

    def __init__(
        self,
        recipients: Sequence[Recipient],
        *,
        places: BackupPlaces,
        data: DataFolder,
        outbox: Outbox,
        station: StationKey,
        index_key: IndexKey,
        clock: Clock,
    ) -> None:
        self._recipients = recipients
        self._places = places
        self._data = data
        self._outbox = outbox
        self._station = station
        self._index_key = index_key
        self._clock = clock

    def run(
        self,
        identities: Sequence[Identity],
        names: Iterable[str] | None,
        *,
        who: str,
        held: bool,
        progress: ProgressCallback | None,
    ) -> RotationReport:
        """Rewrap the spool, then the backups."""
        chosen = self._places.names() if names is None else list(names)
        for name in chosen:
            if name not in self._places.names():
                known = ", ".join(self._places.names()) or "none"
                raise UnknownDestinationError(f"There is no backup {name!r}; there are: {known}.")

        def wrap(sealed: bytes) -> bytes | None:
            return packet.rewrap(sealed, identities, self._recipients)

        to = _short(map(str, self._recipients))
        with no_backup_runs(self._data.backup_memory):
            spool = self._outbox.rewrap(wrap, to=to, who=who, held=held)
        backups = {}
        away = {}
        for name in chosen:
            if self._places.known(name) is None:
                # It was never made: there is nothing in it.
                continue
            try:
                with self._places.opened(name) as repository:
                    recipients = self._places.recipients(name)
                    backups[name] = rewrap_repository(
                        self._outbox,
                        repository,
                        wrap=wrap,
                        locate=self._outbox.locate,
                        to=to,
                        moving=spool.moving,
                        recipients=recipients,
                        station=self._station,
                        memory=self._data.backup_memory,
                        index_key=self._index_key.to_hex(),
                        include_station_key=self._places.settings(name).include_station_key,
                        clock=self._clock,
                        progress=progress or ignore_progress,
                    )
            except (BackendError, BackupError) as error:
                away[name] = without_name(name, error)
        return RotationReport(spool=spool, backups=backups, away=away)


def _short(recipients: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(recipients)).encode()).hexdigest()[:16]
