"""Packets: the sealed, immutable form of one enrollment."""

from __future__ import annotations

from ktpsync.packet._sealed import SealedPacket, new_packet_id, parse_packet_id

__all__ = ["SealedPacket", "new_packet_id", "parse_packet_id"]
