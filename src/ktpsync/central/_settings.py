"""What a sandbox centre is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import Factory, field, frozen

from ktpsync.age import Identity
from ktpsync.keys import StationPublicKey


@frozen(kw_only=True)
class CentralSettings:
    """Settings of a sandbox centre.

    Args:
        folder: Where it keeps packets and its database; made if missing.
        identities: Private keys that open packets.
        tokens: Bearer token to office name; an office sees only its own packets.
        stations: Public keys of the stations whose packets are accepted.
        faults: Whether ``/sandbox/`` requests may play outages and ask for the inventory.
        largest_packet: Bytes of a packet, at most.
    """

    folder: Path
    identities: Sequence[Identity] = field(repr=False)
    tokens: Mapping[str, str] = field(repr=False)
    stations: Sequence[StationPublicKey] = Factory(tuple)
    faults: bool = False
    largest_packet: int = 64 << 20
