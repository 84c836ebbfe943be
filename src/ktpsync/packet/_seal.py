"""Enrollment to sealed packet, and back for those who hold an identity."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import field, frozen

from ktpsync import age, records
from ktpsync.clock import utc_from_ms, utc_text
from ktpsync.discreet import discreet
from ktpsync.errors import ContainerError, UnknownStationError
from ktpsync.packet import _container, _manifest
from ktpsync.packet._manifest import ENROLLMENT, MANIFEST, SIGNATURE, Manifest, Warned
from ktpsync.packet._sealed import SealedPacket, new_packet_id
from ktpsync.records import Enrollment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ktpsync.clock import Clock
    from ktpsync.keys import StationKey, StationPublicKey


@frozen(kw_only=True)
class OpenedPacket:
    """A packet whose seal, digests, signature and schema all held.

    Args:
        manifest: What the packet says of itself.
        enrollment: What the office captured.
    """

    manifest: Manifest
    enrollment: Enrollment = field(repr=False)


@frozen(kw_only=True)
class Sealing:
    """A new packet, in memory.

    Args:
        packet: Id, digest and size.
        sealed: The sealed bytes.
        content_sha256: SHA-256 of ``enrollment.json``, which names every file by its own digest: the same
            for the same enrollment, however often it is sealed. Personal data: never keep it without a key.
    """

    packet: SealedPacket
    sealed: bytes = field(repr=False)
    content_sha256: bytes = field(repr=False)


@discreet
def seal(
    enrollment: Enrollment,
    *,
    recipients: Sequence[age.Recipient],
    station_key: StationKey,
    clock: Clock,
) -> Sealing:
    """Seal an enrollment once, for good. Nothing of it is written anywhere in clear.

    Args:
        enrollment: The enrollment; it must be valid.
        recipients: Who can open the packet. At least one; all hybrid or none.
        station_key: Signs the manifest.
        clock: Gives the creation time.

    Returns:
        The packet with a new id, and its sealed bytes.

    Raises:
        ValidationError: The enrollment has problems.
        ContainerError: It is larger than a packet may be.
        AgeError: It cannot be encrypted to these recipients.
    """
    now = utc_from_ms(clock.now_ms())
    warnings = records.validate(enrollment, now=now)
    document, attachments = records.to_json(enrollment)
    members = {ENROLLMENT: document, **attachments}
    packet_id = new_packet_id()
    manifest = _manifest.write(
        Manifest(
            format=_manifest.FORMAT,
            packet_id=packet_id,
            created_at=utc_text(now),
            station_key_id=station_key.public.key_id,
            members=_manifest.describe(members),
            warnings=tuple(Warned(path=found.path, code=found.code) for found in warnings),
        )
    )
    container = _container.write({MANIFEST: manifest, SIGNATURE: station_key.sign(manifest), **members})
    sealed = age.encrypt(container, recipients)
    digest = hashlib.sha256(sealed).hexdigest()
    return Sealing(
        packet=SealedPacket.from_bytes(packet_id, digest, sealed),
        sealed=sealed,
        content_sha256=hashlib.sha256(document).digest(),
    )


@discreet
def open_packet(
    sealed: bytes, identities: Iterable[age.Identity], *, stations: Iterable[StationPublicKey]
) -> OpenedPacket:
    """Open a packet and check all of it: container limits, digests, signature, schema.

    Args:
        sealed: The sealed bytes.
        identities: Private keys to try.
        stations: The public keys of the stations that are trusted.

    Raises:
        AgeError: The seal does not open, or the bytes were changed.
        ContainerError: What is inside is not a packet, or one beyond the limits.
        DigestError: A member differs from the manifest.
        UnknownStationError: The signing station is not among ``stations``.
        SignatureError: The signature does not hold.
        SchemaError: The enrollment has a schema version that this release does not read.
        ValidationError: The enrollment has problems.
    """
    members = _container.read(age.decrypt(sealed, list(identities)))
    try:
        manifest_bytes, signature = members.pop(MANIFEST), members.pop(SIGNATURE)
        document = members[ENROLLMENT]
    except KeyError as missing:
        raise ContainerError(f"The opened bytes are not a packet: {missing.args[0]} is missing.") from None
    manifest = _manifest.read(manifest_bytes)
    _manifest.check_members(manifest, members)
    station = next((key for key in stations if key.key_id == manifest.station_key_id), None)
    if station is None:
        raise UnknownStationError(
            f"Packet {manifest.packet_id} was signed by station key {manifest.station_key_id}, "
            "which is not among the trusted ones. Add that station's public key if it is yours."
        )
    station.verify(signature, manifest_bytes)
    return OpenedPacket(manifest=manifest, enrollment=records.from_json(document, members.__getitem__))
