"""What a sandbox centre is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from attrs import Factory, field, frozen

from ktpsync.age import Identity
from ktpsync.keys import StationPublicKey


@frozen(kw_only=True)
class OAuthClient:
    """An office that fetches its tokens by client credentials (RFC 6749, section 4.4).

    Args:
        office: The office's name.
        secret: The client's secret.
    """

    office: str
    secret: str = field(repr=False)


@frozen(kw_only=True)
class Tls:
    """How a centre is reached over HTTPS.

    Args:
        certificate: PEM file of the centre's certificate and those above it.
        key: PEM file of its private key.
        client_ca: PEM file of the authority whose client certificates are accepted; the common name in the
            subject is the office. ``None``: client certificates are not asked for.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@frozen(kw_only=True)
class CentralSettings:
    """Settings of a sandbox centre.

    Args:
        folder: Where it keeps packets and its database; made if missing.
        identities: Private keys that open packets.
        tokens: Bearer token to office name; an office sees only its own packets.
        expiries: When a bearer token ends (aware), for those that do.
        clients: OAuth client id to client.
        token_lifetime: Seconds that a token fetched by client credentials is good for.
        stations: Public keys of the stations whose packets are accepted.
        tls: Certificate and key for HTTPS; ``None``: plain HTTP, for this machine only.
        faults: Whether ``/sandbox/`` requests may play outages and ask for the inventory.
        largest_packet: Bytes of a packet, at most.
        uploads_kept: Interrupted uploads kept for an office, at most; the oldest goes first.
        upload_bytes_kept: Their bytes together, at most.
        upload_age: Seconds that an interrupted upload is kept.
        patience: Seconds to wait for more of a body.
    """

    folder: Path
    identities: Sequence[Identity] = field(repr=False)
    tokens: Mapping[str, str] = field(factory=dict, repr=False)
    expiries: Mapping[str, datetime] = field(factory=dict, repr=False)
    clients: Mapping[str, OAuthClient] = Factory(dict)
    token_lifetime: float = 3600
    stations: Sequence[StationPublicKey] = Factory(tuple)
    tls: Tls | None = None
    faults: bool = False
    largest_packet: int = 64 << 20
    uploads_kept: int = 200
    upload_bytes_kept: int = 256 << 20
    upload_age: float = 7 * 86400
    patience: float = 60
