"""The sealed packet as everybody but its recipients sees it: an id, a digest, a size and bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

import uuid6
from attrs import field, frozen

from ktpsync.errors import PacketError

if TYPE_CHECKING:
    from pathlib import Path

_UUID_VERSION = 7


def new_packet_id() -> str:
    """Return a new packet id: a UUIDv7 (RFC 9562) in its canonical lower-case form."""
    return str(uuid6.uuid7())


def parse_packet_id(text: str) -> str:
    """Return the text if it is a packet id in its one canonical form.

    Raises:
        PacketError: It is not a canonical lower-case UUIDv7.
    """
    parsed = _uuid(text)
    if parsed is None or parsed.version != _UUID_VERSION or str(parsed) != text:
        shown = str(parsed) if parsed is not None else "This"  # a text may be anything, a person's name too
        raise PacketError(f"{shown} is not a packet id; ids look like 01890a5d-ac96-774b-bcce-b302099a8057.")
    return text


def called(packet_id: str) -> str:
    """Return how a message calls a packet that somebody asks for: only a UUID is repeated, never a NIK or a name."""
    asked = _uuid(packet_id)
    return "with such an id" if asked is None else str(asked)


def _uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except (ValueError, AttributeError, TypeError):
        return None
    return found if str(found) == text.lower() else None


@frozen(kw_only=True)
class SealedPacket:
    """The sealed bytes of one enrollment, with what identifies them.

    Args:
        packet_id: UUIDv7 in canonical form.
        sha256: SHA-256 of the sealed bytes, 64 lower-case hexadecimal digits.
        size: Size of the sealed bytes.
        opener: Returns a new binary file object over the sealed bytes, at their start.
    """

    packet_id: str
    sha256: str
    size: int
    _opener: Callable[[], BinaryIO] = field(repr=False, eq=False)

    def open(self) -> BinaryIO:
        """Return a new binary file object over the sealed bytes; it can seek. The caller closes it.

        Raises:
            OSError: The bytes cannot be read.
        """
        return self._opener()

    @classmethod
    def from_bytes(cls, packet_id: str, sha256: str, sealed: bytes) -> SealedPacket:
        """Return a packet over bytes in memory."""
        return cls(packet_id=packet_id, sha256=sha256, size=len(sealed), opener=lambda: io.BytesIO(sealed))

    @classmethod
    def from_file(cls, packet_id: str, sha256: str, size: int, path: Path) -> SealedPacket:
        """Return a packet over a file, opened only when it is read."""
        return cls(packet_id=packet_id, sha256=sha256, size=size, opener=lambda: path.open("rb"))
