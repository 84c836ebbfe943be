"""Packets: the sealed, immutable form of one enrollment.

Format: ``age( zip( manifest.json, manifest.sig, enrollment.json, biometrics/..., documents/... ) )``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.packet._manifest import Manifest, Member, Warned
    from ktpsync.packet._rewrap import rewrap
    from ktpsync.packet._seal import OpenedPacket, Sealing, seal
    from ktpsync.packet._seal import open_packet as open  # noqa: A004 - read as `packet.open`
    from ktpsync.packet._sealed import SealedPacket, called, new_packet_id, parse_packet_id

_ROOMS = {
    "_manifest": ("Manifest", "Member", "Warned"),
    "_rewrap": ("rewrap",),
    "_seal": ("OpenedPacket", "Sealing", "open_packet as open", "seal"),
    "_sealed": ("SealedPacket", "called", "new_packet_id", "parse_packet_id"),
}

__all__ = [
    "Manifest",
    "Member",
    "OpenedPacket",
    "SealedPacket",
    "Sealing",
    "Warned",
    "called",
    "new_packet_id",
    "open",
    "parse_packet_id",
    "rewrap",
    "seal",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
