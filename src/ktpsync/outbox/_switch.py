"""What every kind of spool can do so that packets get new bytes under their ids, together with their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ktpsync.packet import SealedPacket


@frozen(kw_only=True)
class Change:
    """New bytes for one packet.

    Args:
        packet_id: Which.
        old: The digest of its former bytes.
        new: The digest of the new ones.
        sealed: The new bytes.
    """

    packet_id: str
    old: str
    new: str
    sealed: bytes


class Switch(Protocol):
    """Puts new bytes of packets beside the former ones, and lets them take their place when the rows do.

    Killed at any moment, the bytes that the row names are whole, here or after the next start.
    """

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from switching while the block runs, after what a crash left was put right.

        Raises:
            OutboxError: Another process is at it.
        """

    def read(self, packets: Sequence[SealedPacket]) -> list[bytes | str]:
        """Return the verified bytes of packets; a sentence in place of those that are missing or damaged."""

    def stage(self, changes: Sequence[Change]) -> None:
        """Make new bytes durable, where nobody takes them for the packet's."""

    def unstage(self, changes: Sequence[Change]) -> None:
        """Remove new bytes whose row is not going to be switched."""

    def switch(self, changes: Sequence[Change]) -> None:
        """Let new bytes be the packets', in the transaction that has changed the rows, before its commit."""

    def end(self, changes: Sequence[Change]) -> None:
        """Remove former bytes, after the commit."""

    def put_right(self, changes: Sequence[Change]) -> None:
        """Let bytes and rows agree after a failure; whether it was committed, the rows alone know."""
