"""A repository: what is stored where, read with every check that needs no key."""

from __future__ import annotations

import contextlib
import hashlib
import io
import uuid
from typing import TYPE_CHECKING, BinaryIO

from attrs import field, frozen

from ktpsync import age, files
from ktpsync.backup._documents import (
    MARKER_KEY,
    Manifest,
    Marker,
    PackEntry,
    PackIndex,
    SnapshotRef,
    dump,
    index_key,
    load,
    manifest_key,
    pack_of_key,
    signature_key,
    snapshot_of_manifest_key,
)
from ktpsync.clock import Clock, SystemClock, utc_from_ms, utc_text
from ktpsync.errors import (
    DamagedBackupError,
    KeyFileError,
    NotFoundError,
    RepositoryError,
    SignatureError,
    UnavailableError,
)
from ktpsync.keys import StationPublicKey
from ktpsync.plugins import StorageBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DOCUMENT = 64 << 20
"""Largest marker, index or manifest that is read into memory, in bytes."""


@frozen(kw_only=True)
class Snapshot:
    """A snapshot whose manifest was read and whose signature holds.

    Args:
        manifest: What it says.
        ref: Its name and the SHA-256 of its manifest.
        signer: The public key that the manifest names and that signed it. Whether to trust it is the
            caller's to say.
    """

    manifest: Manifest
    ref: SnapshotRef
    signer: StationPublicKey


@frozen(kw_only=True)
class Repository:
    """A backup repository on a storage backend. Made by :meth:`create` or :meth:`open`.

    Args:
        storage: Where it lives.
        marker: What its marker says.
        trouble: What is wrong with its marker, if the snapshots had to tell what it said.
        witness: A file that is there as long as the repository is.
    """

    storage: StorageBackend = field(repr=False)
    marker: Marker
    trouble: str | None = None
    witness: str = field(default=MARKER_KEY, repr=False)

    @property
    def uuid(self) -> str:
        """The repository's own id."""
        return self.marker.repository

    @classmethod
    def create(
        cls, storage: StorageBackend, *, recipients: Sequence[str], clock: Clock | None = None
    ) -> Repository:
        """Make a new repository where there is none.

        Args:
            storage: Where it is to live.
            recipients: age recipients who can open the outbox state and so restore; at least one.
            clock: The clock to ask.

        Raises:
            RepositoryError: There is a repository already, or no recipient was given.
            KeyFormatError: A recipient is not one.
            BackendError: The storage did not take the marker.
        """
        if not recipients:
            raise RepositoryError(
                "A repository needs at least one recovery recipient; make one with `ktpsync keygen`."
            )
        for recipient in recipients:
            age.parse_recipient(recipient)
        if storage.exists(MARKER_KEY):
            raise RepositoryError("There is a backup repository here already; open it instead.")
        marker = Marker(
            repository=str(uuid.uuid4()),
            created_at=utc_text(utc_from_ms((clock or SystemClock()).now_ms())),
            recipients=tuple(recipients),
        )
        repository = cls(storage=storage, marker=marker)
        repository.put_bytes(MARKER_KEY, dump(marker))
        return repository

    @classmethod
    def open(cls, storage: StorageBackend, *, expected: str | None = None) -> Repository:
        """Open an existing repository.

        Args:
            storage: Where it lives.
            expected: The UUID that it should have, where that is known.

        Raises:
            RepositoryError: There is none, it is another one, or its format is newer.
            DamagedBackupError: Its marker is damaged.
            BackendError: The storage cannot be read.
        """
        try:
            data = _read(storage, MARKER_KEY)
        except NotFoundError:
            what = (
                "There is no backup here yet (ktpsync-repository.json is missing). Plug in the right disk; the first "
                "`ktpsync backup NAME` begins one."
                if expected is None
                else "The backup that was here before is missing (ktpsync-repository.json). Plug in the right disk, or "
                "look at the server; one that replaces a lost or broken disk gets a name of its own under [backups.NAME]."
            )
            raise RepositoryError(what) from None
        try:
            marker = load(Marker, data, MARKER_KEY)
        except DamagedBackupError as error:
            raise DamagedBackupError(
                f"{error} `ktpsync verify NAME --repair-from spool` writes it anew."
            ) from None
        if expected is not None and marker.repository != expected:
            raise RepositoryError(
                f"This is repository {marker.repository}, not {expected}: another disk is in its place."
            )
        return cls(storage=storage, marker=marker)

    @classmethod
    def open_to_read(cls, storage: StorageBackend, *, expected: str | None = None) -> Repository:
        """Open a repository, also where its marker is lost or damaged: its signed snapshots tell which one it is.

        Args:
            storage: Where it lives.
            expected: The UUID that it should have, where that is known.

        Raises:
            RepositoryError: There is none, it is another one, or its format is newer.
            DamagedBackupError: Neither its marker nor any snapshot can be read.
            BackendError: The storage cannot be read.
        """
        try:
            marker = load(Marker, _read(storage, MARKER_KEY), MARKER_KEY)
        except NotFoundError:
            told = _told_by_snapshots(storage, f"{MARKER_KEY} is missing.", expected)
        except DamagedBackupError as error:
            told = _told_by_snapshots(storage, str(error), expected)
        else:
            if marker.repository == expected:
                return cls(storage=storage, marker=marker)
            why = f"{MARKER_KEY} names repository {marker.repository}, and no snapshot is of that one."
            told = _told_by_snapshots(storage, why, expected, unlike=marker.repository)
        return told or cls.open(storage, expected=expected)

    def snapshot_names(self) -> list[str]:
        """Return the names of all snapshots, oldest first."""
        names = (snapshot_of_manifest_key(info.key) for info in self.storage.list("snapshots/"))
        return sorted(name for name in names if name is not None)

    def snapshot(self, name: str) -> Snapshot:
        """Read a snapshot's manifest and check it.

        Raises:
            DamagedBackupError: It or its signature is missing, damaged or of another repository.
            RepositoryError: Its format is newer.
        """
        found, key = self._signed(name), manifest_key(name)
        manifest = found.manifest
        if manifest.repository != self.uuid:
            raise DamagedBackupError(f"{key} is a snapshot of another repository ({manifest.repository}).")
        return found

    def _signed(self, name: str) -> Snapshot:
        """Read a snapshot's manifest and check it, whatever repository it is of."""
        key = manifest_key(name)
        data = self.read(key)
        manifest = load(Manifest, data, key)
        signature = self.read(signature_key(name))
        try:
            signer = StationPublicKey.from_pem(manifest.station.public_key.encode())
            signer.verify(signature, data)
        except (KeyFileError, SignatureError):
            raise DamagedBackupError(
                f"{key}: its signature does not hold: it was changed after it was written."
            ) from None
        if manifest.name != name or manifest.station.key_id != signer.key_id:
            raise DamagedBackupError(f"{key} is another snapshot's manifest under this name.")
        ref = SnapshotRef(name=name, sha256=hashlib.sha256(data).hexdigest())
        return Snapshot(manifest=manifest, ref=ref, signer=signer)

    def snapshots(self, *, after: str = "") -> Iterator[Snapshot | DamagedBackupError]:
        """Yield every snapshot, oldest first; what is wrong with one stands in its place.

        Args:
            after: The name of a snapshot: only newer ones are read.

        Raises:
            RepositoryError: The format of one is newer.
            BackendError: The storage cannot be reached.
        """
        for name in self.snapshot_names():
            if name > after:
                try:
                    yield self.snapshot(name)
                except DamagedBackupError as error:
                    yield error

    def readable_snapshots(self, *, after: str = "") -> Iterator[Snapshot]:
        """Yield every snapshot that is not damaged, oldest first.

        Args:
            after: The name of a snapshot: only newer ones are read.

        Raises:
            RepositoryError: The format of one is newer.
            BackendError: The storage cannot be reached.
        """
        return (found for found in self.snapshots(after=after) if isinstance(found, Snapshot))

    def index(self, pack: PackEntry) -> PackIndex:
        """Read a pack's index and check it against the manifest's entry.

        Raises:
            DamagedBackupError: It is missing or damaged.
        """
        key = index_key(pack.name)
        return load(PackIndex, self.read(key, sha256=pack.index_sha256), key)

    def read(self, key: str, *, sha256: str | None = None, limit: int = MAX_DOCUMENT) -> bytes:
        """Return the bytes of an object.

        Args:
            key: Which.
            sha256: Its digest, where that is known.
            limit: The most bytes to read.

        Raises:
            DamagedBackupError: It is missing, another one, or larger than the limit.
        """
        try:
            data = _read(self.storage, key, limit)
        except NotFoundError:
            raise DamagedBackupError(f"{key} is missing.") from None
        except OSError as error:
            raise DamagedBackupError(f"{key} cannot be read: {error.strerror}.") from error
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedBackupError(f"{key} is damaged: it differs from what the snapshot recorded.")
        return data

    def pack_names(self) -> list[str]:
        """Return the names of all packs that are there, oldest first, whether a snapshot names them or not."""
        names = (pack_of_key(info.key) for info in self.storage.list("packs/"))
        return sorted(name for name in names if name is not None)

    def open_from_medium(self, key: str) -> BinaryIO:
        """Open an object so that it is read from the medium, not from the page cache, where the system can do that.

        Raises:
            NotFoundError: It is missing.
            BackendError: The storage cannot be reached.
        """
        source = self.storage.open(key)
        with contextlib.suppress(OSError, AttributeError):
            files.drop_page_cache(source)
        return source

    def still_there(self) -> None:
        """Tell damage from a disk that was pulled out: then nothing that was found can be believed.

        Raises:
            UnavailableError: The place went away.
        """
        try:
            with self.open_from_medium(self.witness) as witness:
                witness.read()
        except (OSError, NotFoundError) as error:
            raise UnavailableError(
                f"Repository {self.uuid} went away while it was being read back. What was found until "
                "then says nothing. Plug the disk in again, and try again."
            ) from error

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a small object.

        Raises:
            BackendError: The storage did not take it.
        """
        self.storage.put(key, io.BytesIO(data), size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def chain(self, head: Snapshot) -> list[Snapshot]:
        """Return what a restore of a snapshot replays: from its last full one to itself.

        Raises:
            DamagedBackupError: A link is missing, damaged, or not the one that its child recorded.
        """
        links = [head]
        while links[-1].manifest.kind == "delta":
            child = links[-1].manifest
            if child.parent is None:
                raise DamagedBackupError(f"{manifest_key(child.name)} names no parent, but needs one.")
            parent = self.snapshot(child.parent.name)
            if parent.ref != child.parent:
                raise DamagedBackupError(
                    f"{manifest_key(parent.ref.name)} is not the snapshot that {child.name} continues: "
                    "another was put in its place."
                )
            links.append(parent)
        links.reverse()
        return links


def current_packs(chain: Sequence[Snapshot]) -> list[PackEntry]:
    """Return the packs that the last snapshot of a chain reaches, oldest first."""
    packs: dict[str, PackEntry] = {}
    for link in chain:
        for name in link.manifest.dropped.packs:
            packs.pop(name, None)
        packs.update((pack.name, pack) for pack in link.manifest.packs)
    return list(packs.values())


def _told_by_snapshots(
    storage: StorageBackend, trouble: str, expected: str | None, *, unlike: str | None = None
) -> Repository | None:
    """Return the repository that the snapshots in a place are of, if all agree or those of the expected one are there.

    Args:
        storage: The place.
        trouble: What is wrong with the marker.
        expected: The UUID that it should have, where that is known.
        unlike: The UUID that the marker names: if one snapshot is of that repository, nothing is told.
    """
    nobody = Repository(storage=storage, marker=Marker(repository="", created_at="", recipients=()))
    found: dict[str, list[Snapshot]] = {}
    for name in nobody.snapshot_names():
        with contextlib.suppress(DamagedBackupError):
            snapshot = nobody._signed(name)  # noqa: SLF001 - of this class
            found.setdefault(snapshot.manifest.repository, []).append(snapshot)
            if snapshot.manifest.repository == unlike:
                return None
    repository = expected if expected is not None else next(iter(found), "")
    if repository not in found or (expected is None and len(found) > 1):
        return None
    oldest, newest = found[repository][0].manifest, found[repository][-1].manifest
    marker = Marker(repository=repository, created_at=oldest.created_at, recipients=newest.recipients)
    return Repository(storage=storage, marker=marker, trouble=trouble, witness=manifest_key(newest.name))


def _read(storage: StorageBackend, key: str, limit: int = MAX_DOCUMENT) -> bytes:
    with storage.open(key) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise DamagedBackupError(f"{key} is larger than any file of its kind.")
    return data
