"""What every spool of sealed packets can do, wherever it keeps them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ktpsync.errors import DigestError, SpoolError
from ktpsync.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ktpsync.outbox._ownership import Recent
    from ktpsync.packet import SealedPacket


class Spool(Protocol):
    """Sealed packets by id: each is written once, durably, and removed by rule only.

    Attributes:
        place: Where it is, for messages.
        fetch: Given a packet's id and the SHA-256 of its bytes, returns them from a backup where they are not in
            the spool any more; ``None`` where there is no such place.
    """

    fetch: Callable[[str, str], BinaryIO] | None

    @property
    def place(self) -> str: ...

    def owner(self) -> str | None:
        """Return the id of the outbox that the place is of, for a new database to become that outbox's.

        ``None`` where it is nobody's.
        """

    def claim(
        self,
        outbox_id: str,
        *,
        recent: Recent,
        locate: Callable[[str], tuple[str, str] | None],
    ) -> None:
        """Belong to an outbox from now on; a place that is not its own is refused when it is used.

        Args:
            outbox_id: Its id.
            recent: Asked where the place is nobody's yet: one of these packets, if there are any, must be there.
            locate: Says where a packet's bytes are and their digest, by its row; ``None`` for an unknown packet.
        """

    def adopt(self, outbox_id: str) -> bool:
        """Become an outbox's because a person says so, though none of its packets is here; return whether it was not.

        Raises:
            SpoolUnavailableError: The place is another outbox's.
        """

    def check(self) -> None:
        """Look whether the place is there and the outbox's own.

        Raises:
            SpoolUnavailableError: It is not.
        """

    # --- one packet ---

    def packet(self, packet_id: str, sha256: str, size: int) -> SealedPacket:
        """Return a packet over its bytes here, opened only when it is read."""

    def at_hand(self, packet: SealedPacket) -> AbstractContextManager[SealedPacket]:
        """Give a packet that can be read often and quickly while the block runs.

        Raises:
            SpoolError: Its bytes are missing or damaged.
            KtpsyncError: They cannot be reached now.
        """

    def glance(self, packet: SealedPacket) -> bool:
        """Return whether a packet's bytes are here, in the right number, without reading them.

        Raises:
            SpoolError: They are missing, where no backup is at hand, or cut short.
        """

    def verify(self, packet: SealedPacket) -> None:
        """Read a packet's bytes and compare them with its digest.

        Raises:
            SpoolError: They are missing or damaged.
        """

    def read(self, packet_id: str) -> bytes | None:
        """Return the bytes that the spool itself has under a packet's id, unverified; ``None`` if it has none."""

    def write(self, packet_id: str, sealed: bytes, sha256: str) -> None:
        """Store a packet's bytes durably under an id that must be free.

        Raises:
            DigestError: They do not have this digest; nothing was stored.
            FileExistsError: The id is taken; what is there was left as it is.
            StationFullError: No room; nothing was stored.
            SpoolUnavailableError: The place cannot be reached.
        """

    def settle(self, packet_id: str) -> None:
        """Make bytes durable that another submission has written."""

    def keep(self, packet_ids: Iterable[str]) -> None:
        """Mark packets whose rows are committed, if that costs next to nothing: their bytes are no orphans ever."""

    def discard(self, packet_id: str) -> None:
        """Remove a packet's bytes durably. Removing what is not there is no error.

        Only for packets whose row says that the bytes are not here any more; see :class:`Unrecorded` for those
        without a row.
        """

    # --- many ---

    def write_many(self, sealed: Mapping[str, bytes]) -> None:
        """Store several packets' bytes durably, in less time than one after the other.

        When it raises, some of them may be there, whole and without a row.

        Raises:
            FileExistsError: One of the ids is taken; what is there was left as it is.
            StationFullError: No room.
            SpoolUnavailableError: The place cannot be reached.
        """

    def lacking(self, packet_ids: Iterable[str]) -> list[str]:
        """Return those of these packets whose bytes are not here."""

    def pages(self, count: int) -> Iterator[list[str]]:
        """Yield the ids of all packets that have bytes here, so many at a time."""

    def old_files(self, before_ms: int) -> Iterator[str]:
        """Yield the ids of packets whose bytes were written before a moment."""

    def clear_temporaries(self, before_ms: int) -> None:
        """Remove what was left half done before a moment by who died over it."""

    def free(self) -> int | None:
        """Return the bytes that still fit; ``None`` where that is not the station's business."""

    def close(self) -> None:
        """Let go of connections."""


def check_digest(packet_id: str, sealed: bytes, sha256: str) -> None:
    """Refuse bytes that are not what their giver says.

    Raises:
        DigestError: They do not have this digest.
    """
    if hashlib.sha256(sealed).hexdigest() != sha256:
        raise DigestError(
            f"The sealed bytes given for packet {packet_id} differ from their digest. Nothing was stored."
        )


def verify_bytes(packet: SealedPacket, *, damaged: SpoolError) -> None:
    """Read a packet's bytes and compare them with its digest.

    Args:
        packet: The packet.
        damaged: What to raise when they differ.

    Raises:
        SpoolError: They are missing or damaged.
    """
    try:
        with packet.open() as file:
            found = sha256_of(file)
    except OSError as error:
        raise SpoolError(f"The sealed bytes of packet {packet.packet_id} cannot be read: {error}") from error
    if found != (packet.sha256, packet.size):
        raise damaged
