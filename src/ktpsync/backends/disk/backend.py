"""The disk backend."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import frozen

from ktpsync import files
from ktpsync.backends.disk._binding import Binding
from ktpsync.backends.disk._marker import MARKER_NAME, read_marker
from ktpsync.errors import (
    BackendError,
    ConflictError,
    CorruptError,
    DiskFullError,
    NotFoundError,
    NotPluggedInError,
    UnavailableError,
    WrongDiskError,
)
from ktpsync.plugins import ByteSize, Health, ObjectInfo, StorageBackend, valid_key
from ktpsync.units import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.plugins import BackendContext

_LEFTOVER_SECONDS: Final = 24 * 3600
"""After so long nobody is still writing a temporary file."""

_REASONS: Final = {
    errno.EROFS: "it became read-only",
    errno.EIO: "it does not read or write (I/O error)",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.ENODEV: "it is gone",
    errno.ENXIO: "it is gone",
}


@frozen(kw_only=True)
class DiskSettings:
    """Settings of a place on a disk: ``path``, ``disk`` or both.

    Args:
        path: The folder that was marked with ``ktpsync disk init``. When the disk is mounted elsewhere, it is
            found there by its marker.
        disk: The disk's UUID, as ``ktpsync disk list`` shows it. Default: that of the first disk seen at
            ``path``, from then on.
        reserve: Bytes that must stay free after each write.
    """

    path: Path | None = None
    disk: str | None = None
    reserve: ByteSize = ByteSize(64 << 20)

    def __attrs_post_init__(self) -> None:
        if self.path is None and self.disk is None:
            raise ValueError(
                'a disk needs a path, such as path = "/media/usb-a", or its UUID, which `ktpsync disk list` shows'
            )
        if self.disk is not None:
            try:
                uuid.UUID(self.disk)
            except ValueError:
                raise ValueError(
                    f"disk = {self.disk!r} is not a UUID; `ktpsync disk list` shows the UUIDs of marked disks"
                ) from None


class DiskBackend(StorageBackend):
    """Objects as files under a marked folder.

    Before each write the marker is read: an empty mount point or another disk is never written to.

    Args:
        settings: Where.
        context: The destination's name and state folder.
    """

    def __init__(self, settings: DiskSettings, context: BackendContext) -> None:
        self._name = context.name
        self._clock = context.clock
        self._reserve = settings.reserve
        self._binding = Binding(
            name=context.name, path=settings.path, uuid=settings.disk, state_folder=context.state_folder
        )
        self._lock = threading.Lock()
        self._tidied: set[Path] = set()

    def check(self) -> Health:
        """See the base class."""
        root, _ = self._binding.right_disk()
        with self._speaking_of("check", root):
            free = files.free_bytes(root)
            if not os.access(root, os.W_OK):
                raise UnavailableError(
                    f"{self._name}: {self._disk(root)} is read-only. Plug it in again; check its write lock."
                )
        if free <= self._reserve:
            raise self._full(root, free, 0)
        marker = read_marker(root)
        summary = f"Disk {marker.label or marker.uuid} at {root}, {free >> 20} MiB free."
        return Health(summary=summary, free=free, details={"uuid": marker.uuid, "path": str(root)})

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See the base class."""
        self._valid(key)
        root, device = self._binding.right_disk()
        path = root / key
        try:
            with self._speaking_of(key, root):
                if path.exists():
                    return self._same(key, path, size, sha256)
                free = files.free_bytes(root)
                if free - size < self._reserve:
                    raise self._full(root, free, size)
                files.make_folder(path.parent)
                self._tidy(path.parent)
                try:
                    with files.atomic_writer(path, replace=False) as file:
                        self._still_there(file, device, root)
                        self._copy(key, source, file, size=size, sha256=sha256)
                except FileExistsError:
                    return self._same(key, path, size, sha256)
                return self._info(key, path.stat(), sha256)
        except _SourceError as failed:
            # The bytes could not be read where they come from: this disk is not to blame.
            raise failed.error from None

    def open(self, key: str) -> BinaryIO:
        """See the base class."""
        self._valid(key)
        root, _ = self._binding.right_disk()
        with self._speaking_of(key, root):
            try:
                return (root / key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise self._not_found(key, root) from None

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        self._valid(key)
        root, _ = self._binding.right_disk()
        with self._speaking_of(key, root):
            try:
                status = (root / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                raise self._not_found(key, root) from None
            if not stat.S_ISREG(status.st_mode):
                raise self._not_found(key, root)
            return self._info(key, status, None)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        root, _ = self._binding.right_disk()
        folder = prefix.rpartition("/")[0]
        if not folder or valid_key(folder):
            yield from self._walk(root, folder, prefix)
        # What a disk that was pulled out no longer shows is not gone.
        self._binding.right_disk()

    def delete(self, key: str) -> None:
        """See the base class."""
        self._valid(key)
        root, _ = self._binding.right_disk()
        path = root / key
        with self._speaking_of(key, root):
            if path.is_dir():
                return  # a folder is no object
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            files.fsync_folder(path.parent)

    def _walk(self, root: Path, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is under a folder. Names that are no keys are not ours: the system's, or not yet whole."""
        with self._speaking_of("list", root):
            try:
                entries = os.scandir(root / folder)
            except (FileNotFoundError, NotADirectoryError):
                return
            with entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if not valid_key(entry.name) or key == MARKER_NAME:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if key.startswith(prefix) or prefix.startswith(f"{key}/"):
                            yield from self._walk(root, key, prefix)
                    elif key.startswith(prefix) and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):
                            yield self._info(key, entry.stat(follow_symlinks=False), None)

    def _valid(self, key: str) -> None:
        if not valid_key(key) or key.lower() == MARKER_NAME:
            raise NotFoundError(
                f"{self._name}: {key!r} is not a key; keys are ASCII words with '/' between them."
            )

    def _tidy(self, folder: Path) -> None:
        """Once for each folder: remove what was left when a writer died or the disk was pulled out."""
        with self._lock:
            if folder in self._tidied:
                return
            self._tidied.add(folder)
        files.remove_leftovers(folder, older_than=_LEFTOVER_SECONDS, now=self._clock.now_ms() / 1000)

    def _still_there(self, file: BinaryIO, device: int, root: Path) -> None:
        """Notice that the disk was pulled out between looking and writing: the file is on what is below."""
        if os.fstat(file.fileno()).st_dev != device:
            raise NotPluggedInError(
                f"{self._name}: the disk at {root} was pulled out. Nothing was written; plug it in again."
            )

    def _copy(self, key: str, source: BinaryIO, file: BinaryIO, *, size: int, sha256: str) -> None:
        if isinstance(source, files.MemoryFile) and source.sha256 == sha256 and len(source.view) == size:
            files.write_steadily(file, source.view)
            return
        digest = hashlib.sha256()
        written = 0
        while block := _read(source):
            file.write(block)
            files.begin_writing_out(file)
            digest.update(block)
            written += len(block)
        if written != size or digest.hexdigest() != sha256:
            raise CorruptError(
                f"{self._name}: the bytes given for {key} are not those with SHA-256 {sha256}; nothing was stored."
            )

    def _same(self, key: str, path: Path, size: int, sha256: str) -> ObjectInfo:
        """Return what is there if it is the same, durable and readable on the medium, not in memory only.

        Whoever wrote it may not have come as far as the last sync.
        """
        if path.name not in os.listdir(path.parent):  # noqa: PTH208 - names only
            raise ConflictError(
                f"{self._name}: {path} cannot be stored: its name differs only by case from one that is there, and "
                "this disk does not tell them apart. What is there is left as it is."
            )
        # Windows syncs only what is open for writing; elsewhere a read-only disk can still tell what it holds.
        with path.open("r+b" if sys.platform == "win32" else "rb") as file:
            files.fsync_file(file)
            files.drop_page_cache(file)
            found, found_size = files.sha256_of(file)
        if (found, found_size) != (sha256, size):
            raise ConflictError(
                f"{self._name}: {path} holds other bytes (SHA-256 {found}, not {sha256}). It is left as it is; "
                "compare it with the backup."
            )
        files.fsync_folder(path.parent)
        return self._info(key, path.stat(), sha256)

    @staticmethod
    def _info(key: str, status: os.stat_result, sha256: str | None) -> ObjectInfo:
        modified = datetime.fromtimestamp(status.st_mtime, tz=UTC)
        return ObjectInfo(key=key, size=status.st_size, modified=modified, sha256=sha256)

    def _disk(self, root: Path) -> str:
        """Name the disk for a person: its sticker, and where it is."""
        with contextlib.suppress(WrongDiskError):
            if label := read_marker(root).label:
                return f"the disk {label!r} at {root}"
        return f"the disk at {root}"

    def _full(self, root: Path, free: int, size: int) -> DiskFullError:
        return DiskFullError(
            f"{self._name}: {self._disk(root)} is full: {amount(free)} free, {amount(size)} needed and "
            f"{amount(self._reserve)} kept in reserve. Free some room or plug in another disk; nothing was lost."
        )

    def _not_found(self, key: str, root: Path) -> NotFoundError:
        self._binding.right_disk()
        return NotFoundError(f"{self._name}: there is no {key} on {self._disk(root)}.")

    @contextlib.contextmanager
    def _speaking_of(self, key: str, root: Path) -> Iterator[None]:
        """Turn what the system says into what a person can act on."""
        try:
            yield
        except BackendError:
            raise
        except OSError as error:
            if error.errno in files.NO_SPACE:
                raise DiskFullError(
                    f"{self._name}: no room on {self._disk(root)} for {key}, which does not "
                    "count as stored; free some room or plug in another disk."
                ) from error
            self._binding.right_disk()
            raise UnavailableError(
                f"{self._name}: {self._disk(root)} failed at {key}: "
                f"{_REASONS.get(error.errno or 0, error.strerror or str(error))}. "
                "Nothing that was stored is lost; check the disk and plug it in again."
            ) from error


class _SourceError(Exception):
    """Carries a failure of the source past the words for failures of the disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(files.CHUNK)
    except OSError as error:
        raise _SourceError(error) from error
