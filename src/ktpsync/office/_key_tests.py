"""Whether the keys that are locked away still open what is sealed to them: tried at set-up, and from time to time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync import age, files, packet
from ktpsync.errors import AgeError, OutboxError, PacketError, RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.keys import StationPublicKey
    from ktpsync.outbox import Outbox

_DAY_MS: Final = 86_400_000
_OLD_DAYS: Final = 180
_PACKETS: Final = "packets"
_SHOWN: Final = 14


@frozen(kw_only=True)
class KeyState:
    """A recipient, and when its identity was last shown to open what is sealed to it.

    Args:
        recipient: The age recipient.
        uses: What is sealed to it: ``packets``, and names of backups.
        last_test_ms: Milliseconds since 1970-01-01 UTC; ``None``: never.
    """

    recipient: str
    uses: tuple[str, ...]
    last_test_ms: int | None

    @property
    def label(self) -> str:
        """The recipient, short enough for a line."""
        return short_recipient(self.recipient)


@frozen(kw_only=True)
class KeyTestReport:
    """How a test of keys went.

    Args:
        tested: The recipients whose identity was there and opened what was sealed to it just now.
        packet_id: The packet that was opened; ``None`` if there was none on the station to open.
        problems: One line for each thing that is wrong.
    """

    tested: tuple[KeyState, ...]
    packet_id: str | None
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the identity opens what it should."""
        return not self.problems


class KeyTests:
    """Tries keys, and remembers when.

    Args:
        path: The file in the data folder that remembers.
        uses: What is sealed to which recipients: ``packets``, and each backup by its name.
        outbox: Where a packet to open is.
        stations: The stations whose packets are trusted.
        clock: The clock to ask.
    """

    def __init__(
        self,
        path: Path,
        *,
        uses: Mapping[str, Sequence[str]],
        outbox: Outbox,
        stations: Sequence[StationPublicKey],
        clock: Clock,
    ) -> None:
        self._path = path
        self._uses = uses
        self._outbox = outbox
        self._stations = stations
        self._clock = clock

    def states(self) -> list[KeyState]:
        """Return all recipients with the time of their last test."""
        remembered = self._load()
        recipients = dict.fromkeys(text for texts in self._uses.values() for text in texts)
        return [
            KeyState(
                recipient=recipient,
                uses=tuple(use for use, texts in self._uses.items() if recipient in texts),
                last_test_ms=remembered.get(_name(recipient)),
            )
            for recipient in recipients
        ]

    def warnings(self) -> list[str]:
        """Return what a person must see to: no key was tried, or none for half a year."""
        last = max((state.last_test_ms or 0 for state in self.states()), default=0)
        how = "Fetch a recovery key and run `ktpsync keys test --identity FILE`."
        if not last:
            return [f"No key was ever shown to open what this station seals. {how}"]
        days = (self._clock.now_ms() - last) // _DAY_MS
        return [f"No key was tried for {days} days. {how}"] if days > _OLD_DAYS else []

    def run(self, identities: Iterable[age.Identity]) -> KeyTestReport:
        """Try identities on what is sealed to them just now, and on the newest packet."""
        identities = tuple(identities)
        mine = {str(identity.recipient): identity for identity in identities}
        matching = [state for state in self.states() if state.recipient in mine]
        problems = []
        tested = []
        for state in matching:
            if _opens(mine[state.recipient], state.recipient):
                tested.append(state)
            else:
                problems.append(f"The identity of {state.label} does not open what is sealed to it.")
        if not matching:
            shown = ", ".join(state.label for state in self.states()) or "none"
            problems.append(
                "This office seals nothing to this identity. Look for the right one before you need it; it "
                f"seals to: {shown}."
            )
        opened = None
        if any(_PACKETS in state.uses for state in tested):
            opened = self._open_packet(identities, problems)
        if not problems:
            now = self._clock.now_ms()
            self._save(self._load() | {_name(state.recipient): now for state in tested})
        return KeyTestReport(tested=tuple(tested), packet_id=opened, problems=tuple(problems))

    def _open_packet(self, identities: Sequence[age.Identity], problems: list[str]) -> str | None:
        newest = self._outbox.newest()
        if newest is None:
            return None
        try:
            with newest.open() as file:
                packet.open(file.read(), identities, stations=self._stations)
        except (AgeError, PacketError, RecordError, OutboxError, OSError) as error:
            problems.append(f"Packet {newest.packet_id} does not open: {error}")
            return None
        return newest.packet_id

    def _load(self) -> dict[str, int]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._path.read_bytes())
            if isinstance(found, dict):
                return {str(key): value for key, value in found.items() if isinstance(value, int)}
        return {}

    def _save(self, tested: Mapping[str, int]) -> None:
        files.write_atomic(self._path, json.dumps(tested, indent=1).encode("ascii"))


def short_recipient(text: str) -> str:
    """Return a recipient shortened for a line: its beginning and its end, which are its check digits."""
    return f"{text[:_SHOWN]}...{text[-6:]}"


def _opens(identity: age.Identity, recipient: str) -> bool:
    probe = secrets.token_bytes(16)
    try:
        return age.decrypt(age.encrypt(probe, age.parse_recipient(recipient)), identity) == probe
    except AgeError:
        return False


def _name(recipient: str) -> str:
    return hashlib.sha256(recipient.encode()).hexdigest()[:32]
