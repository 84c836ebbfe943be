"""The lines to an office's destinations: what was set at run time, how fast they were, when a backlog is gone."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Final

import cattrs
from attrs import asdict, field, fields, frozen

from ktpsync import courier, files
from ktpsync.errors import ConfigError
from ktpsync.plugins import ByteSize, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from attrs import Attribute

    from ktpsync.clock import Clock
    from ktpsync.config import Configuration
    from ktpsync.courier import Estimate, Speed
    from ktpsync.office._layout import DataFolder
    from ktpsync.outbox import DestinationState, DestinationSummary, Outbox

AS_CONFIGURED: Final = "configured"
NO_LIMIT: Final = "none"
_ADDRESS_KEYS: Final = ("url", "endpoint")


def _hours(_settings: object, _attribute: Attribute[str | None], value: str | None) -> None:
    if value is not None:
        courier.Window.parse(value)


@frozen(kw_only=True)
class LineSettings:
    """What can be set for a destination while it is served.

    Args:
        rate: Bytes a second, at most, over all deliveries of a process.
        window: Hours of the day in which it is used, such as ``18:00-06:30``.
        concurrency: Deliveries at one time, at most.
    """

    rate: ByteSize | None = None
    window: str | None = field(default=None, validator=_hours)
    concurrency: int | None = None


class Lines:
    """The lines of one office.

    Args:
        settings: The configuration.
        data: Where measured speeds are kept.
        outbox: Where what was set at run time is kept, for all processes.
        clock: The clock to ask.
    """

    def __init__(self, settings: Configuration, *, data: DataFolder, outbox: Outbox, clock: Clock) -> None:
        self._settings = settings
        self._data = data
        self._outbox = outbox
        self._clock = clock

    def set(self, name: str, changes: Mapping[str, str], *, who: str) -> Mapping[str, str]:
        """Change how a destination is served, for all processes, at once; return what is set now.

        Raises:
            ConfigError: A value cannot be read; all problems are listed, nothing was changed.
            UnknownDestinationError: There is none of this name.
        """
        settings = dict(self._outbox.destination(name).settings)
        given: dict[str, object] = {}
        for key, value in changes.items():
            settings.pop(key, None)
            if value == NO_LIMIT and key != "concurrency":
                settings[key] = ""
            elif value != AS_CONFIGURED:
                number = key != "window" and value.isascii() and value.isdigit()
                given[key] = int(value) if number else value
        read = read_settings(LineSettings, given, where=f"[destinations.{name}]")
        if read.rate == 0 or (read.concurrency is not None and read.concurrency < 1):
            raise ConfigError(
                f"[destinations.{name}]: nothing would ever be sent. To stop it, use `ktpsync destination pause`; "
                f"for no limit of the rate, give {NO_LIMIT!r}."
            )
        settings |= {key: str(value) for key, value in asdict(read).items() if value is not None}
        if "rate" in settings and not settings["rate"]:
            settings["rate"] = "0"
        self._outbox.set_settings(name, settings, who=who)
        return settings

    def estimate(self, line: DestinationSummary) -> Estimate | None:
        """Return when a destination's backlog is gone; ``None`` for one that is not configured any more."""
        name = line.state.name
        place = self._settings.destinations.get(name)
        if place is None:
            return None
        return courier.estimate(
            line.open_bytes, self.speed(name), place.settings.policy(), line.state, self._clock.now_ms()
        )

    def served(self, state: DestinationState) -> dict[str, str]:
        """Return how a destination is served, as text; ``*`` marks what was set at run time."""
        place = self._settings.destinations.get(state.name)
        configured: dict[str, object] = {}
        if place is not None:
            configured = {key: getattr(place.settings, key) for key in LINE_KEYS}
        told = {}
        for key in LINE_KEYS:
            value = state.settings.get(key, configured.get(key))
            mark = "*" if key in state.settings else ""
            told[key] = (NO_LIMIT if value in (None, "", "0") else str(value)) + mark
        return told

    def speed(self, name: str) -> Speed:
        """Return how fast a destination was, as this machine has seen it."""
        with contextlib.suppress(OSError, ValueError, TypeError, cattrs.BaseValidationError):
            return cattrs.structure(json.loads(self._file(name).read_bytes()), courier.Speed)
        return courier.Speed()

    def remember(self, name: str, speed: Speed) -> None:
        """Keep how fast a destination was. Losing it costs an estimate, nothing else."""
        if speed != self.speed(name):
            with contextlib.suppress(OSError):
                files.make_folder(self._file(name).parent)
                files.write_atomic(self._file(name), json.dumps(asdict(speed)).encode())

    def moved(self, name: str) -> bool:
        """Return whether a destination has another address than when this machine asked last, and remember the new one.

        What the old address has asked for does not hold for the new one.
        """
        place = self._settings.destinations[name]
        parts = [place.settings.backend, *(str(place.backend_settings.get(key)) for key in _ADDRESS_KEYS)]
        # Hashed, as an address may hold a password.
        address = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        file = self._data.state("lines", f"{name}.address")
        before = None
        with contextlib.suppress(OSError):
            before = file.read_text(encoding="ascii")
        if before != address:
            with contextlib.suppress(OSError):
                files.make_folder(file.parent)
                files.write_atomic(file, address.encode("ascii"))
        return before not in {None, address}

    def _file(self, name: str) -> Path:
        return self._data.state("lines", f"{name}.json")


LINE_KEYS: Final = tuple(attribute.name for attribute in fields(LineSettings))
