"""The manifest: what is in a packet, with digests, signed by the station."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

import cattrs
from attrs import field, frozen
from attrs.validators import matches_re

from ktpsync.errors import ContainerError, DigestError, PacketError
from ktpsync.packet._sealed import parse_packet_id

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "ktpsync.packet/1"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
ENROLLMENT: Final = "enrollment.json"

_SHA256 = re.compile("[0-9a-f]{64}")
_KEY_ID = re.compile("[0-9a-f]{32}")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@frozen(kw_only=True)
class Member:
    """One member of a packet other than the manifest and its signature.

    Args:
        name: Its name in the zip.
        sha256: SHA-256 of its bytes in hexadecimal.
        size: Its bytes.
    """

    name: str
    sha256: str = field(validator=matches_re(_SHA256))
    size: int


@frozen(kw_only=True)
class Warned:
    """Something unusual about the enrollment that a person may want to look at.

    Args:
        path: Where in ``enrollment.json``.
        code: The problem's stable code.
    """

    path: str
    code: str


@frozen(kw_only=True)
class Manifest:
    """What a packet says of itself.

    Args:
        format: ``ktpsync.packet/1``.
        packet_id: UUIDv7 in canonical form.
        created_at: When it was sealed, RFC 3339 in UTC with milliseconds.
        station_key_id: The key that signed this manifest.
        members: All other members, in the order of the zip.
        warnings: What was unusual about the enrollment when it was sealed.
    """

    format: str
    packet_id: str
    created_at: str = field(validator=matches_re(_UTC))
    station_key_id: str = field(validator=matches_re(_KEY_ID))
    members: tuple[Member, ...]
    warnings: tuple[Warned, ...] = ()


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)


def describe(members: Mapping[str, bytes]) -> tuple[Member, ...]:
    """Return the manifest's lines for these members."""
    return tuple(
        Member(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in members.items()
    )


def write(manifest: Manifest) -> bytes:
    """Return the manifest's bytes: JSON that a person can read."""
    return json.dumps(_CONVERTER.unstructure(manifest), indent=1, ensure_ascii=True).encode("ascii") + b"\n"


def read(data: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        ContainerError: It is not a manifest of a version that this release reads.
    """
    try:
        raw = json.loads(data)
        found = raw.get("format") if isinstance(raw, dict) else None
    except (ValueError, RecursionError):
        raise ContainerError("The packet's manifest is not JSON.") from None
    if found != FORMAT:
        raise ContainerError(
            f"The packet's manifest has the format {str(found)[:40]!r}; this release reads {FORMAT!r}. "
            "If it is newer, upgrade ktpsync."
        )
    try:
        manifest = _CONVERTER.structure(raw, Manifest)
        parse_packet_id(manifest.packet_id)
    except (cattrs.BaseValidationError, PacketError) as error:
        raise ContainerError("The packet's manifest does not have the fields of its format.") from error
    return manifest


def check_members(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Compare the members with the manifest.

    Raises:
        ContainerError: A member is missing or unannounced.
        DigestError: A member's bytes differ.
    """
    announced = {member.name for member in manifest.members}
    if announced != members.keys() or len(announced) != len(manifest.members):
        odd = sorted(announced ^ members.keys()) or ["a name listed twice"]
        raise ContainerError(
            f"Packet {manifest.packet_id}: manifest and content disagree on {', '.join(odd)}."
        )
    for member in manifest.members:
        data = members[member.name]
        if len(data) != member.size or hashlib.sha256(data).hexdigest() != member.sha256:
            raise DigestError(
                f"Packet {manifest.packet_id}: the member {member.name} differs from the manifest."
            )
