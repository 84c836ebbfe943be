"""Opening packets the way a deep verification and a drill do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync import packet
from ktpsync.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.age import Identity
    from ktpsync.backup._findings import OpenPacket
    from ktpsync.keys import StationPublicKey


def packet_opener(identities: Iterable[Identity], stations: Iterable[StationPublicKey]) -> OpenPacket:
    """Return what opens a packet wholly: seal, container, digests, signature, schema.

    Args:
        identities: age identities of a recipient of the packets.
        stations: The public keys of the stations that are trusted.
    """
    tried, trusted = tuple(identities), tuple(stations)

    def open_packet(packet_id: str, sealed: bytes) -> None:
        opened = packet.open(sealed, tried, stations=trusted)
        if opened.manifest.packet_id != packet_id:
            raise ContainerError(f"It holds packet {opened.manifest.packet_id} under the id {packet_id}.")

    return open_packet
