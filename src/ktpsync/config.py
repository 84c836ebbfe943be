"""``ktpsync.toml``: the one place that reads the configuration.

::

    [office]
    data = "data"                          # outbox, spool and keys; relative to this file
    recipients_file = "recipients.txt"     # who can open packets: age recipients, one a line

    [destinations.central]                 # where packets are delivered, each under its own name
    backend = "http"
    url = "https://central.example/"
    token = { env = "KTPSYNC_TOKEN" }

    [backups.usb-a]                        # where backups are kept
    backend = "disk"
    path = "/media/usb-a"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import fields, frozen

from ktpsync import age
from ktpsync.courier import CourierPolicy, Window
from ktpsync.errors import ConfigError, KeyFormatError
from ktpsync.plugins import ByteSize, Duration, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

S = TypeVar("S")
T = TypeVar("T")

CONFIG_NAME: Final = "ktpsync.toml"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SECTIONS: Final = ("office", "destinations", "backups")


@frozen(kw_only=True)
class OfficeSettings:
    """The table ``[office]``.

    Args:
        data: Folder of the outbox, the spool and the station's keys; relative to the file.
        recipients: age recipients that every packet is sealed to.
        recipients_file: A file with more of them, one a line; ``#`` starts a comment.
        database: SQLAlchemy URL of an outbox that several machines share. Default: SQLite in ``data``.
    """

    data: Path
    recipients: tuple[str, ...] = ()
    recipients_file: Path | None = None
    database: str | None = None


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
    concurrency: int = 4
    rate: ByteSize | None = None
    window: str | None = None

    def policy(self) -> CourierPolicy:
        """Return how couriers serve this destination.

        Raises:
            ConfigError: The window cannot be read.
        """
        window = None if self.window is None else Window.parse(self.window)
        return CourierPolicy(concurrency=self.concurrency, rate=self.rate, window=window)


@frozen(kw_only=True)
class BackupSettings:
    """What every table ``[backups.NAME]`` has besides its backend's own settings.

    Args:
        backend: Name of a storage backend.
        recipients: age recipients that can restore. Default: those of the office.
        every: How often the service makes it; without, only when asked.
    """

    backend: str
    recipients: tuple[str, ...] = ()
    every: Duration | None = None


@frozen(kw_only=True)
class Named(Generic[S]):
    """A destination or backup of the configuration.

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
    """

    path: Path
    office: OfficeSettings
    destinations: Mapping[str, Named[DestinationSettings]]
    backups: Mapping[str, Named[BackupSettings]]

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


def load(path: Path) -> Configuration:
    """Read and check a configuration file. Backends check their own settings when they are made.

    Args:
        path: The file, or the folder that holds ``ktpsync.toml``.

    Raises:
        ConfigError: It is missing or has problems; all of them are listed.
    """
    path = (path / CONFIG_NAME if path.is_dir() else path).absolute()
    return _Reader(path).configuration()


class _Reader:
    """Reads one file and collects its problems."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document = _read(path)
        self._problems: list[str] = []

    def configuration(self) -> Configuration:
        self._problems += [
            f"[{section}] is not a section; the sections are {', '.join(f'[{known}]' for known in _SECTIONS)}"
            for section in self._document
            if section not in _SECTIONS
        ]
        office = self._settings(OfficeSettings, self._document.get("office", {}), "[office]")
        destinations = self._named(DestinationSettings, "destinations")
        backups = self._named(BackupSettings, "backups")
        if self._problems or office is None:
            lines = "\n".join(f"  - {problem}" for problem in self._problems)
            raise ConfigError(f"{self._path} has problems; nothing was started:\n{lines}")
        return Configuration(path=self._path, office=office, destinations=destinations, backups=backups)

    def _named(self, cls: type[T], section: str) -> dict[str, Named[T]]:
        found: dict[str, Named[T]] = {}
        own_keys = {attribute.name for attribute in fields(cls)}  # type: ignore[arg-type]  # an attrs class
        for name, table in self._table(self._document.get(section, {}), f"[{section}]").items():
            where = f"[{section}.{name}]"
            if not _NAME.fullmatch(name):
                self._problems.append(
                    f"{where}: names are lower-case letters, digits and hyphens, 40 at most"
                )
                continue
            values = self._table(table, where)
            own = {key: value for key, value in values.items() if key in own_keys}
            settings = self._settings(cls, own, where)
            if settings is not None:
                rest = {key: value for key, value in values.items() if key not in own_keys}
                found[name] = Named(name=name, settings=settings, backend_settings=rest)
        return found

    def _table(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        self._problems.append(f"{where}: expected a table")
        return {}

    def _settings(self, cls: type[T], value: object, where: str) -> T | None:
        try:
            return read_settings(cls, self._table(value, where), where=where, base=self._path.parent)
        except ConfigError as error:
            self._problems.append(str(error))
            return None


def parse_recipients(texts: Sequence[str], *, where: str) -> tuple[age.Recipient, ...]:
    """Return the recipients of these texts.

    Raises:
        ConfigError: Some cannot be read; all of them are named.
    """
    recipients, problems = [], []
    for text in texts:
        try:
            recipients.append(age.parse_recipient(text))
        except KeyFormatError as error:
            problems.append(f"  - {text[:24]}...: {error}")
    if problems:
        raise ConfigError("\n".join([f"{where}: not age recipients:", *problems]))
    return tuple(recipients)


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Run `ktpsync init` in the office's folder, or give --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error


def read_recipients_file(path: Path) -> list[str]:
    """Return the age recipients in a file, one a line; ``#`` starts a comment.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file of recipients {path} cannot be read: {error}.") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
