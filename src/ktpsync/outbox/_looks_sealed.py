"""What can be seen of sealed bytes without a key: whether they can be a packet at all."""

from __future__ import annotations

from typing import Final

HEADER_LIMIT: Final = 1 << 16
"""Bytes from the beginning that are enough to see it."""

_SEALED_START: Final = b"age-encryption.org/v1\n"
_MAC_LINE: Final = len("--- ") + 43 + 1
_LEAST_PAYLOAD: Final = 16 + 16


def why_not_sealed(head: bytes, size: int) -> str | None:
    """Return why bytes cannot be a sealed packet; ``None`` if they can.

    Args:
        head: How they begin, :data:`HEADER_LIMIT` bytes at most.
        size: How many they are in all.
    """
    if size == 0:
        return "it is empty"
    if not head.startswith(_SEALED_START):
        return "it does not start as a sealed packet does"
    mac = head.find(b"\n--- ")
    if mac < 0 or size < mac + 1 + _MAC_LINE + _LEAST_PAYLOAD:
        return "it is cut short"
    return None
