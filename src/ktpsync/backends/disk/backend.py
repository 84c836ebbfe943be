"""The disk backend."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import frozen

from ktpsync import files
from ktpsync.backends.disk._marker import MARKER_NAME, read_marker
from ktpsync.errors import (
    BackendError,
    ConflictError,
    CorruptError,
    DiskFullError,
    NotFoundError,
    UnavailableError,
    WrongDiskError,
)
from ktpsync.plugins import ByteSize, Health, ObjectInfo, StorageBackend, valid_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.plugins import BackendContext

_BOUND_NAME: Final = "disk-uuid"


@frozen(kw_only=True)
class DiskSettings:
    """Settings of a place on a disk.

    Args:
        path: The folder that was marked with ``ktpsync disk init``.
        uuid: The disk's id. Default: that of the first disk seen, from then on.
        reserve: Bytes that must stay free after each write.
    """

    path: Path
    uuid: str | None = None
    reserve: ByteSize = ByteSize(64 << 20)


class DiskBackend(StorageBackend):
    """Objects as files under a marked folder.

    Before each write the marker is read: an empty mount point or another disk is never written to.

    Args:
        settings: Where.
        context: The destination's name and state folder.
    """

    def __init__(self, settings: DiskSettings, context: BackendContext) -> None:
        self._root = settings.path
        self._reserve = settings.reserve
        self._name = context.name
        self._uuid = settings.uuid
        self._bound_file = None if context.state_folder is None else context.state_folder / _BOUND_NAME
        self._lock = threading.Lock()

    def check(self) -> Health:
        """See the base class."""
        self._right_disk()
        with self._speaking_of("check"):
            free = files.free_bytes(self._root)
            if not os.access(self._root, os.W_OK):
                raise UnavailableError(
                    f"{self._name}: the disk at {self._root} is read-only. Plug it in again."
                )
        if free <= self._reserve:
            raise self._full(free, 0)
        marker = read_marker(self._root)
        summary = f"Disk {marker.label or marker.uuid} at {self._root}, {free >> 20} MiB free."
        return Health(summary=summary, free=free, details={"uuid": marker.uuid})

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See the base class."""
        path = self._path(key)
        self._right_disk()
        with self._speaking_of(key):
            if path.exists():
                return self._same(key, path, size, sha256)
            free = files.free_bytes(self._root)
            if free - size < self._reserve:
                raise self._full(free, size)
            files.make_folder(path.parent)
            try:
                with files.atomic_writer(path, replace=False) as file:
                    self._copy(key, source, file, size=size, sha256=sha256)
            except FileExistsError:
                return self._same(key, path, size, sha256)
            return self._info(key, path, sha256)

    def open(self, key: str) -> BinaryIO:
        """See the base class."""
        path = self._path(key)
        with self._speaking_of(key):
            try:
                return path.open("rb")
            except FileNotFoundError:
                raise self._not_found(key) from None

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        path = self._path(key)
        with self._speaking_of(key):
            try:
                return self._info(key, path, None)
            except FileNotFoundError:
                raise self._not_found(key) from None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        self._right_disk()
        folder = self._root / prefix.rpartition("/")[0]
        for path in self._walk(folder):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix):
                with contextlib.suppress(NotFoundError):
                    yield self.stat(key)

    def delete(self, key: str) -> None:
        """See the base class."""
        path = self._path(key)
        self._right_disk()
        with self._speaking_of(key):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            files.fsync_folder(path.parent)

    def _walk(self, folder: Path) -> Iterator[Path]:
        with self._speaking_of("list"):
            try:
                entries = os.scandir(folder)
            except FileNotFoundError:
                return
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path))
                elif self._is_object(entry.name) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

    @staticmethod
    def _is_object(name: str) -> bool:
        return not name.startswith(".") and name != MARKER_NAME

    def _path(self, key: str) -> Path:
        if not valid_key(key):
            raise NotFoundError(
                f"{self._name}: {key!r} is not a key; keys are ASCII words with '/' between them."
            )
        return self._root / key

    def _right_disk(self) -> None:
        marker = read_marker(self._root)
        with self._lock:
            wanted = self._uuid or self._bound()
            if wanted is None and self._bound_file is not None:
                files.make_folder(self._bound_file.parent)
                files.write_atomic(self._bound_file, marker.uuid.encode("ascii"))
            self._uuid = wanted or marker.uuid
        if marker.uuid != self._uuid:
            raise WrongDiskError(
                f"{self._name}: the disk at {self._root} is {marker.label or marker.uuid}, "
                f"but {self._uuid} is expected. Plug in the right disk."
            )

    def _bound(self) -> str | None:
        if self._bound_file is None or not self._bound_file.exists():
            return None
        return self._bound_file.read_text(encoding="ascii").strip()

    def _copy(self, key: str, source: BinaryIO, file: BinaryIO, *, size: int, sha256: str) -> None:
        digest = hashlib.sha256()
        written = 0
        while block := source.read(files.CHUNK):
            digest.update(block)
            file.write(block)
            written += len(block)
        if written != size or digest.hexdigest() != sha256:
            raise CorruptError(
                f"{self._name}: the bytes given for {key} are not those with SHA-256 {sha256}; nothing was stored."
            )

    def _same(self, key: str, path: Path, size: int, sha256: str) -> ObjectInfo:
        with path.open("rb") as file:
            found, found_size = files.sha256_of(file)
        if (found, found_size) != (sha256, size):
            raise ConflictError(
                f"{self._name}: {path} holds other bytes (SHA-256 {found}, not {sha256}). It is left as it is; "
                "compare it with the backup."
            )
        return self._info(key, path, sha256)

    @staticmethod
    def _info(key: str, path: Path, sha256: str | None) -> ObjectInfo:
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, tz=UTC)
        return ObjectInfo(key=key, size=status.st_size, modified=modified, sha256=sha256)

    def _full(self, free: int, size: int) -> DiskFullError:
        return DiskFullError(
            f"{self._name}: the disk at {self._root} is full: {free} bytes free, {size} needed and {self._reserve} "
            "kept in reserve. Free some room or plug in another disk; nothing was lost."
        )

    def _not_found(self, key: str) -> NotFoundError:
        self._right_disk()
        return NotFoundError(f"{self._name}: there is no {key} on the disk at {self._root}.")

    @contextlib.contextmanager
    def _speaking_of(self, key: str) -> Iterator[None]:
        """Turn what the system says into what a person can act on."""
        try:
            yield
        except BackendError:
            raise
        except OSError as error:
            if error.errno in files.NO_SPACE:
                raise DiskFullError(
                    f"{self._name}: no room on the disk at {self._root} for {key}. Nothing was stored under that "
                    "name; free some room or plug in another disk."
                ) from error
            read_marker(self._root)
            reason = {errno.EROFS: "it became read-only", errno.EIO: "it does not read or write (I/O error)"}
            raise UnavailableError(
                f"{self._name}: the disk at {self._root} failed at {key}: "
                f"{reason.get(error.errno or 0, error.strerror or str(error))}. "
                "Nothing that was stored is lost; check the disk and plug it in again."
            ) from error
