"""What a backup needs of an outbox, and a restore of the place it restores to.

The outbox offers these methods; the protocols keep the two rooms apart.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ktpsync.packet import SealedPacket


class BackupSource(Protocol):
    """Where packets and their state come from."""

    def sequence(self) -> int:
        """Return a number that rises with every change of state."""

    def export(self, after: int = 0) -> Iterator[Mapping[str, object]]:
        """Yield the whole state of everything that changed after a sequence number, in one consistent read."""

    def register_copy_target(self, target: str, /) -> None:
        """Begin to count which packets a target holds."""

    def lacking(self, target: str, /) -> tuple[int, int]:
        """Return how many packets a target does not hold, and their bytes: what there is to do, for the progress."""

    def uncopied(self, target: str, /) -> Iterator[SealedPacket]:
        """Yield the packets that a target does not hold, at a cost that follows their number."""

    def mark_copied(
        self, target: str, packets: Mapping[str, str], snapshot: str, /, *, verified_ms: int | None = None
    ) -> None:
        """Note durably that a snapshot on the target holds these packets; the sequence rises by one.

        They are given with the SHA-256 of the bytes that it holds. A packet that has other bytes by now is not held.
        """

    def copied(self, target: str, /) -> Iterator[str]:
        """Yield the ids of the packets that a target is noted to hold."""

    def lose_copies(self, target: str, packet_ids: Iterable[str], /, *, why: str) -> None:
        """Note durably that a target holds these packets no more; from now on it lacks them."""

    def give_up_copies(self, target: str, /, *, why: str) -> None:
        """Count no copy on a target any more."""


_MARKED_AT_ONCE: Final = 500
"""Packets that are marked in one transaction: nobody who records waits for longer than it takes."""


def mark_copied(
    source: BackupSource,
    target: str,
    packets: Mapping[str, str],
    snapshot: str,
    *,
    verified_ms: int | None = None,
) -> int:
    """Note that a snapshot holds packets, in short transactions.

    Returns:
        How many there were: by so much the sequence rose.
    """
    remaining = iter(packets.items())
    count = 0
    while page := dict(itertools.islice(remaining, _MARKED_AT_ONCE)):
        source.mark_copied(target, page, snapshot, verified_ms=verified_ms)
        count += 1
    return count


class RestoreTarget(Protocol):
    """Where packets and their state go to."""

    def plan(self, records: Iterable[Mapping[str, object]], /) -> Callable[[str], bool]:
        """Look through the state and return which packet ids are wanted. Called once, first."""

    def holds(self, packet_id: str, sha256: str, /) -> bool:
        """Return whether the packet is there already, whole: an interrupted restore goes on."""

    def add_packet(self, packet_id: str, sealed: bytes, /) -> None:
        """Store the sealed bytes of a packet. Several threads call it at once."""

    def import_state(self, records: Iterable[Mapping[str, object]], /) -> Sequence[str]:
        """Take over the state, when all packets are there and durable.

        Returns:
            Ids of the packets that the state knows and whose bytes are missing.
        """
