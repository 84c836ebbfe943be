"""The JSON documents of a repository: marker, pack index and snapshot manifest, format version 1.

They are described byte for byte in ``docs/reference/repository-format.md``. Reading is strict: what a
newer release wrote is refused with a sentence that says so.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import attrs
import cattrs
from attrs import Factory, frozen

from ktpsync.errors import DamagedBackupError, RepositoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
MARKER_KEY: Final = "ktpsync-repository.json"

_UUID7: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PACK_KEY: Final = re.compile(rf"packs/({_UUID7})\.tar")
_MANIFEST_KEY: Final = re.compile(rf"snapshots/([0-9]{{8}}T[0-9]{{6}}Z-{_UUID7})\.manifest\.json")


def manifest_key(snapshot: str) -> str:
    """Return the key of a snapshot's manifest, its commit point."""
    return f"snapshots/{snapshot}.manifest.json"


def signature_key(snapshot: str) -> str:
    """Return the key of the station's signature over the manifest."""
    return f"snapshots/{snapshot}.manifest.json.sig"


def state_key(snapshot: str) -> str:
    """Return the key of the sealed outbox state."""
    return f"snapshots/{snapshot}.age"


def pack_key(pack: str) -> str:
    """Return the key of a pack."""
    return f"packs/{pack}.tar"


def index_key(pack: str) -> str:
    """Return the key of a pack's index."""
    return f"packs/{pack}.index.json"


def pack_of_key(key: str) -> str | None:
    """Return the pack's name if a key is that of a pack."""
    match = _PACK_KEY.fullmatch(key)
    return match[1] if match else None


def snapshot_of_manifest_key(key: str) -> str | None:
    """Return the snapshot's name if a key is that of a manifest."""
    match = _MANIFEST_KEY.fullmatch(key)
    return match[1] if match else None


@frozen(kw_only=True)
class Marker:
    """What makes a place a repository: written once, never changed.

    Args:
        repository: UUID of the repository.
        created_at: RFC 3339, UTC.
        recipients: The age recipients at the beginning; later ones stand in the manifests.
    """

    repository: str
    created_at: str
    recipients: tuple[str, ...]


@frozen(kw_only=True)
class RecipientsEntry:
    """A change of recipients.

    Args:
        since: RFC 3339, UTC.
        station: Key id of the station whose snapshots they open.
        recipients: The age recipients from then on.
    """

    since: str
    station: str
    recipients: tuple[str, ...]


@frozen(kw_only=True)
class PacketEntry:
    """One packet in a pack.

    Args:
        packet_id: The packet.
        sha256: Of its sealed bytes.
        offset: Where they begin in the pack, in bytes.
        size: How many there are.
    """

    packet_id: str
    sha256: str
    offset: int
    size: int


@frozen(kw_only=True)
class PackIndex:
    """Which packets a pack holds, and where."""

    pack: str
    packets: tuple[PacketEntry, ...]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each packet by its id."""
        return {entry.packet_id: entry.sha256 for entry in self.packets}


@frozen(kw_only=True)
class PackEntry:
    """A pack as a manifest names it.

    Args:
        name: UUIDv7 of the pack.
        sha256: Of the tar file.
        size: Its bytes.
        packets: How many packets it holds.
        index_sha256: Of its index.
        index_size: Bytes of its index.
    """

    name: str
    sha256: str
    size: int
    packets: int
    index_sha256: str
    index_size: int


@frozen(kw_only=True)
class SnapshotRef:
    """A snapshot's name with the SHA-256 of its manifest."""

    name: str
    sha256: str


@frozen(kw_only=True)
class Station:
    """Who signed: the key id and the public key in PEM."""

    key_id: str
    public_key: str


@frozen(kw_only=True)
class StateEntry:
    """The sealed outbox state of a snapshot.

    Args:
        sha256: Of the sealed file.
        size: Its bytes.
        after: The outbox sequence of the snapshot before; 0 in a full one.
        sequence: The outbox sequence that the state reaches.
    """

    sha256: str
    size: int
    after: int
    sequence: int


@frozen(kw_only=True)
class Chain:
    """What restoring a snapshot replays, for those who read the manifest.

    Args:
        length: Snapshots since the last full one, this one included; 0 in a full one.
        full_bytes: Size of the last full state.
        delta_bytes: Sizes of the states since, together.
    """

    length: int
    full_bytes: int
    delta_bytes: int


@frozen(kw_only=True)
class Totals:
    """Packs, packets and bytes of packs that the snapshot reaches."""

    packs: int
    packets: int
    bytes: int


@frozen(kw_only=True)
class Dropped:
    """What a snapshot took out of its lineage, so that its absence is no damage."""

    snapshots: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()


@frozen(kw_only=True)
class Manifest:
    """One consistent state of a station, checkable without any key.

    Args:
        repository: UUID of the repository it belongs to.
        name: The snapshot's own name.
        lineage: UUID shared by all snapshots that continue one another.
        created_at: RFC 3339, UTC.
        kind: ``full`` names all packs and holds the whole state; ``delta`` what is new since its parent.
        complete: Whether every packet that the outbox had is in a pack.
        parent: The snapshot that this one continues.
        station: Who signed it.
        recipients: To whom the state is sealed.
        state: The sealed state.
        packs: Packs, oldest first.
        dropped: What this snapshot took out of the repository.
        chain: What restoring it costs.
        totals: What it reaches.
    """

    repository: str
    name: str
    lineage: str
    created_at: str
    kind: Literal["full", "delta"]
    complete: bool
    parent: SnapshotRef | None
    station: Station
    recipients: tuple[str, ...]
    state: StateEntry
    packs: tuple[PackEntry, ...]
    dropped: Dropped = Factory(Dropped)
    chain: Chain
    totals: Totals


def dropped_keys(dropped: Dropped) -> Iterator[str]:
    """Yield the keys of all that a snapshot dropped, commit points first."""
    for name in dropped.snapshots:
        yield from (manifest_key(name), signature_key(name), state_key(name))
    for name in dropped.packs:
        yield from (pack_key(name), index_key(name))


_Document = TypeVar("_Document", Marker, RecipientsEntry, PackIndex, Manifest)

_FORMATS: Final[dict[type, str]] = {
    Marker: "ktpsync-repository",
    RecipientsEntry: "ktpsync-recipients",
    PackIndex: "ktpsync-pack-index",
    Manifest: "ktpsync-snapshot",
}


_converter = cattrs.Converter(forbid_extra_keys=True)


def dump(document: Marker | RecipientsEntry | PackIndex | Manifest) -> bytes:
    """Return the bytes of a document: JSON in UTF-8, one key a line, ended by a newline."""
    head = {"format": _FORMATS[type(document)], "version": VERSION}
    body = attrs.asdict(document)
    return (json.dumps(head | body, ensure_ascii=True, indent=1) + "\n").encode("ascii")


def load(cls: type[_Document], data: bytes, key: str) -> _Document:
    """Read a document.

    Args:
        cls: What it should be.
        data: Its bytes.
        key: Where it was stored, for messages.

    Raises:
        RepositoryError: A newer release wrote it, or it is something else.
        DamagedBackupError: It cannot be read.
    """
    try:
        raw = json.loads(data)
    except ValueError:
        raise DamagedBackupError(f"{key} is not readable JSON: the file is damaged.") from None
    if not isinstance(raw, dict) or raw.pop("format", None) != _FORMATS[cls]:
        raise RepositoryError(f"{key} is not a file of a ktpsync backup repository.")
    version = raw.pop("version", None)
    if version != VERSION:
        raise RepositoryError(
            f"{key} has format version {version}; this release reads version {VERSION}. Install a newer ktpsync."
        )
    try:
        return _converter.structure(raw, cls)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError):
        raise DamagedBackupError(
            f"{key} does not hold what its format asks for: the file is damaged."
        ) from None
