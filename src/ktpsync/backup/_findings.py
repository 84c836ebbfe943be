"""What a verification looks for and what it found."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import frozen

from ktpsync.errors import DamagedBackupError
from ktpsync.units import counted

OpenPacket = Callable[[str, bytes], object]
"""Opens sealed bytes that should be those of a packet id, and raises where they are not."""


class Depth(StrEnum):
    """How closely a verification looks."""

    LIST = "list"
    """All there, with the right sizes; manifests, signatures and chains hold."""

    READ = "read"
    """Every byte read back from the medium and compared with its digest. No key is needed."""

    OPEN = "open"
    """Every packet and every state opened with an identity as well."""


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong.

    Args:
        key: The file in the repository.
        message: What is wrong with it.
        packet_id: The packet that is damaged by it, where it is one.
        elsewhere: Where else a good copy of that packet is.
    """

    key: str
    message: str
    packet_id: str | None = None
    elsewhere: tuple[str, ...] = ()

    def __str__(self) -> str:
        packet = f"packet {self.packet_id}: " if self.packet_id else ""
        copies = ""
        if self.packet_id:
            copies = (
                f" Good copy: {', '.join(self.elsewhere)}." if self.elsewhere else " No other copy is known."
            )
        return f"{self.key}: {packet}{self.message}{copies}"


@frozen(kw_only=True)
class VerifyReport:
    """What a verification found.

    Args:
        repository: UUID of the repository.
        depth: How closely it looked.
        snapshots: Snapshots whose manifests hold.
        packs: Packs that were looked at.
        packets: Packets in these packs.
        bytes_read: Bytes of packs, indexes and states read back.
        problems: All that is wrong.
        notes: What is odd but no damage, such as files left by an interrupted backup.
        older: Ids of packets that are whole and sealed to recipients that the station had before: those given here
            do not open them until they are rewrapped.
        older_snapshots: Names of snapshots whose state is sealed so.
    """

    repository: str
    depth: Depth
    snapshots: int
    packs: int
    packets: int
    bytes_read: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    older: tuple[str, ...] = ()
    older_snapshots: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def damaged_packets(self) -> tuple[str, ...]:
        """Ids of the packets that the repository does not hold whole any more."""
        return tuple(dict.fromkeys(p.packet_id for p in self.problems if p.packet_id is not None))

    def raise_if_damaged(self) -> None:
        """Turn problems into an error.

        Raises:
            DamagedBackupError: Something is wrong.
        """
        if self.problems:
            raise DamagedBackupError(
                f"The backup repository {self.repository} is damaged in "
                f"{counted(len(self.problems), 'place', 'places')}, with "
                f"{counted(len(self.damaged_packets), 'packet', 'packets')} among them. Bring good copies with "
                "`ktpsync verify --repair-from`, and make a backup to another disk.",
                damaged=[str(problem) for problem in self.problems],
            )
