"""The tables of ``ktpsync.toml`` as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from attrs import field, fields, frozen

from ktpsync.backup import Retention
from ktpsync.config._recipients import parse_recipients, read_recipients_file
from ktpsync.courier import CourierPolicy, Window
from ktpsync.errors import ConfigError
from ktpsync.outbox import Limits
from ktpsync.plugins import ByteSize, Duration, Secret

if TYPE_CHECKING:
    from attrs import Attribute

    from ktpsync import age

S = TypeVar("S")

CONFIG_NAME: Final = "ktpsync.toml"

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""What a destination or backup may be called."""

_DAY: Final = 86_400.0


def _at_least_one(_settings: object, attribute: Attribute[int], value: int) -> None:
    if value < 1:
        raise ValueError(f"expected at least 1, and {attribute.name} is {value}")


def _hours(_settings: object, _attribute: Attribute[str | None], value: str | None) -> None:
    if value is not None:
        Window.parse(value)


@frozen(kw_only=True)
class OfficeSettings:
    """The table ``[office]``.

    Args:
        data: Folder of the outbox, the spool and the station's keys; relative to the file.
        recipients: age recipients that every packet is sealed to.
        recipients_file: A file with more of them, one a line; ``#`` starts a comment.
        database: SQLAlchemy URL of the database that the outbox lives in: a server's that several machines share, or the
            application's own; or the path of a SQLite file. Relative to the file. A secret, for it may hold a
            password. Default: SQLite in ``data``.
        database_schema: PostgreSQL schema of the outbox's tables, where they share the application's database.
        reserve: Bytes that stay free on the spool's disk: recording is refused rather than going below.
        warn_below: Bytes free on it below which `ktpsync status` asks for a person.
        max_backlog: Sealed bytes waiting for one required destination above which recording is refused.
            Default: no limit.
        max_backlog_age: Age of the oldest packet waiting for a required destination above which recording is
            refused. Default: no limit.
        retention: Time after the centre's final word after which the service drops a packet's bytes from the spool,
            if every required destination has them, and a verified backup that is at hand gives them back. Default:
            they are kept.
        offload_below: Bytes free on the spool's disk below which packets that verified backups hold are
            dropped from the spool; they are fetched back to be delivered. 0 never does.
        offload_copies: Verified backups that must hold a packet before it is dropped. One of them is read at that
            moment; the others may be on disks that are not plugged in.
        offload_proof_age: Time for which such a disk counts after a packet was read back from it.
        language: The language of what the command line shows to people, ``en`` or ``id``; the environment variable
            KTPSYNC_LANG goes before it. Default: the system's.
    """

    data: Path
    recipients: tuple[str, ...] = ()
    recipients_file: Path | None = None
    database: Secret | None = None
    database_schema: str | None = None
    reserve: ByteSize = ByteSize(200 << 20)
    warn_below: ByteSize = ByteSize(1 << 30)
    max_backlog: ByteSize | None = None
    max_backlog_age: Duration | None = None
    retention: Duration | None = None
    offload_below: ByteSize = ByteSize(2 << 30)
    offload_copies: int = field(default=1, validator=_at_least_one)
    offload_proof_age: Duration = Duration(60 * _DAY)
    language: Literal["en", "id"] | None = None

    def limits(self) -> Limits:
        """Return when the outbox refuses enrollments."""
        age = self.max_backlog_age
        return Limits(
            reserve=self.reserve,
            warn=self.warn_below,
            max_backlog=self.max_backlog,
            max_age_days=None if age is None else age / _DAY,
        )


@frozen(kw_only=True)
class DestinationSettings:
    """What every table ``[destinations.NAME]`` has besides its backend's own settings.

    Args:
        backend: Name of the backend; ``ktpsync plugins`` lists them.
        required: Whether a packet may only be purged after this destination gave a receipt.
        concurrency: Deliveries at one time, at most.
        rate: Bytes a second, at most, over all deliveries of a process.
        window: Hours of the day in which it is used, such as ``18:00-06:30``.
    """

    backend: str
    required: bool = True
    concurrency: int = field(default=4, validator=_at_least_one)
    rate: ByteSize | None = None
    window: str | None = field(default=None, validator=_hours)

    def policy(self) -> CourierPolicy:
        """Return how couriers serve this destination."""
        window = None if self.window is None else Window.parse(self.window)
        return CourierPolicy(concurrency=self.concurrency, rate=self.rate, window=window)


@frozen(kw_only=True)
class BackupSettings:
    """What every table ``[backups.NAME]`` has besides its backend's own settings.

    Args:
        backend: Name of a storage backend.
        recipients: age recipients that can restore. Default: those of the office.
        every: How often the service makes it; without, only when asked.
        max_age: Age of the last backup from which on a person is told. Default: three times ``every``, but
            a day at least.
        verify_within: Time in which everything is read back once, a share of it after each backup.
        keep_last: Snapshots to keep: the newest ones. With any of the four the service prunes once a day.
        keep_daily: Days of which the last snapshot is kept.
        keep_weekly: Weeks of which the last snapshot is kept.
        keep_monthly: Months of which the last snapshot is kept.
        rotate: A name that this backup shares with those it takes turns with, such as two disks of which
            one is always in the cupboard. It is enough that one of them is there.
        swap_after: Time after which a person is told to plug in the next one of those.
        include_station_key: Whether the station's private signing key goes into the sealed state.
    """

    backend: str
    recipients: tuple[str, ...] = ()
    every: Duration | None = None
    max_age: Duration | None = None
    verify_within: Duration = Duration(30 * _DAY)
    keep_last: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    rotate: str | None = None
    swap_after: Duration = Duration(7 * _DAY)
    include_station_key: bool = False

    @property
    def alarm_age(self) -> float | None:
        """Age of the last backup, in seconds, from which on a person is told; ``None``: never."""
        if self.max_age is not None or self.every is None:
            return self.max_age
        return max(3 * self.every, _DAY)

    @property
    def retention(self) -> Retention | None:
        """Which snapshots to keep; ``None``: all of them."""
        counts = (self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly)
        if counts == (None,) * len(counts):
            return None
        last, daily, weekly, monthly = (count or 0 for count in counts)
        return Retention(last=last, daily=daily, weekly=weekly, monthly=monthly)


@frozen(kw_only=True)
class SpoolSettings:
    """What the table ``[spool]`` has besides its backend's own settings.

    It is for machines that share an outbox in a database server and have no folder in common. Without it the spool is a
    folder in ``data``.

    Args:
        backend: Name of a storage backend, such as ``s3``.
    """

    backend: str


OWN_KEYS: Final = {
    "destinations": tuple(attribute.name for attribute in fields(DestinationSettings)),
    "backups": tuple(attribute.name for attribute in fields(BackupSettings)),
    "spool": tuple(attribute.name for attribute in fields(SpoolSettings)),
}
"""By section, what a place's table has besides the settings of its backend."""


def storage_needed(section: str, backend: str) -> str:
    """Return what is wrong with a backend that is no storage where a backup or a spool needs one.

    Args:
        section: ``backups`` or ``spool``.
        backend: Its name.
    """
    what = "backups need" if section == "backups" else "a spool needs"
    return f'{what} storage such as "disk" or "s3"; {backend!r} is none'


@frozen(kw_only=True)
class Named(Generic[S]):
    """A destination, a backup or the spool of the configuration.

    Args:
        name: Its name.
        settings: What ktpsync itself needs to know.
        backend_settings: The rest, which the backend reads.
    """

    name: str
    settings: S
    backend_settings: Mapping[str, object]


@frozen(kw_only=True)
class Configuration:
    """A whole configuration file.

    Args:
        path: The file.
        office: The table ``[office]``, with paths made absolute.
        destinations: By name, in the order of the file.
        backups: By name, in the order of the file.
        spool: The storage that the spool is in; ``None``: the folder in ``data``.
    """

    path: Path
    office: OfficeSettings
    destinations: Mapping[str, Named[DestinationSettings]]
    backups: Mapping[str, Named[BackupSettings]]
    spool: Named[SpoolSettings] | None = None

    def recipients(self) -> tuple[age.Recipient, ...]:
        """Return the age recipients of new packets.

        Raises:
            ConfigError: There is none, or one cannot be read.
        """
        return parse_recipients(self._recipient_texts(), where=f"{self.path}: [office]")

    def backup_recipients(self, name: str) -> tuple[str, ...]:
        """Return the age recipients, as text, that can restore the named backup.

        Raises:
            ConfigError: There is none, or one cannot be read.
        """
        texts = self.backups[name].settings.recipients or self._recipient_texts()
        parse_recipients(texts, where=f"{self.path}: [backups.{name}]")
        return tuple(texts)

    def _recipient_texts(self) -> list[str]:
        texts = list(self.office.recipients)
        if self.office.recipients_file is not None:
            texts += read_recipients_file(self.office.recipients_file)
        if not texts:
            raise ConfigError(
                f"{self.path}: no recipients. Packets cannot be sealed until [office] recipients_file names at "
                "least one; `ktpsync keygen` makes a key pair and prints the recipient."
            )
        return texts
