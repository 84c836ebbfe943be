"""Storage on a server that keeps files in folders: all but the seven things that only its client can do."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
import threading
import uuid
from abc import abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, cast

from attrs import evolve, field, frozen

from ktpsync.clock import utc_from_ms
from ktpsync.errors import (
    AuthError,
    BackendError,
    ConflictError,
    CorruptError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.plain import anonymous
from ktpsync.plugins._backend import Capability
from ktpsync.plugins._digest import BLOCK, digest_of
from ktpsync.plugins._status import AGAIN
from ktpsync.plugins._storage import ObjectInfo, StorageBackend, valid_key
from ktpsync.plugins._values import Health

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from ktpsync.plugins._backend import BackendContext

_SPOOLED: Final = 8 * BLOCK
"""Bytes of an object that are kept in memory; more go into a temporary file."""

_UPLOADS: Final = ".ktpsync-uploads"
"""Folder that uploads are written in. Servers stumble when a file disappears from a folder that they just list."""

_LEFTOVER: Final = timedelta(days=1)
"""After so long nobody is still writing an upload."""


@frozen(kw_only=True)
class FolderEntry:
    """A file or a folder on the server.

    Args:
        path: Where, from the backend's own folder, without a slash at either end; ``""`` is that folder itself.
        is_folder: Whether it is a folder.
        size: Bytes of a file.
        modified: When a file was stored (aware, UTC).

    Raises:
        ValueError: ``modified`` has no time zone.
    """

    path: str
    is_folder: bool = False
    size: int = 0
    modified: datetime | None = field(default=None)

    @modified.validator
    def _has_a_zone(self, _: object, modified: datetime | None) -> None:
        if modified is not None and modified.utcoffset() is None:
            raise ValueError(
                f"FolderEntry: modified of {self.path or 'the folder'} needs a time zone, such as datetime.now(UTC) has."
            )


class FolderBackend(StorageBackend):
    """Storage in a folder on a server: WebDAV, SFTP, FTP, SMB. Write seven small methods; the rest is here.

    An object is uploaded into the folder ``.ktpsync-uploads``, read back, compared, and then renamed. Uploads that
    were left behind when a writer died are removed a day later.

    The seven methods get paths like those of :class:`FolderEntry`. For what is not there they raise
    :class:`ktpsync.errors.NotFoundError` or :class:`FileNotFoundError`; where the server says what else is wrong,
    another :class:`ktpsync.errors.BackendError`. Everything in ``line_errors`` they let pass: it becomes
    :class:`ktpsync.errors.UnavailableError`. Several threads call them at once, but only one at a time makes
    folders or renames.

    Args:
        context: What ktpsync gives to every backend.
        place: What to call the folder in messages, such as its address without user and password.
    """

    line_errors: ClassVar[tuple[type[Exception], ...]] = (OSError, EOFError)
    """What the client raises when the line, or what answers, is out of order."""

    def __init__(self, context: BackendContext, place: str) -> None:
        self.name = context.name
        self.place = place
        self._clock = context.clock
        self._lock = threading.Lock()
        self._folders: set[str] = set()
        self._tidied = False

    # --- what a backend writes itself ---

    @abstractmethod
    def look(self, path: str) -> FolderEntry:
        """Return what is at a path.

        Raises:
            NotFoundError: Nothing is there.
        """

    @abstractmethod
    def entries(self, folder: str) -> Iterator[FolderEntry]:
        """Yield what is directly in a folder; the folder itself may be among it.

        Raises:
            NotFoundError: There is no such folder.
        """

    @abstractmethod
    def read(self, path: str, into: BinaryIO) -> None:
        """Write the bytes of a file into ``into``, in blocks.

        Raises:
            NotFoundError: There is no such file.
        """

    @abstractmethod
    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Store all bytes of ``source`` under a path whose folder exists, and return when they are durable."""

    @abstractmethod
    def rename(self, path: str, to: str) -> None:
        """Give a file its name. Where the server can refuse to replace what is at ``to``, ask it to refuse."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file. It may raise :class:`ktpsync.errors.NotFoundError` where there is none."""

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Make a folder in one that exists. That it is there already is no error."""

    def read_part(self, path: str, into: BinaryIO, start: int, size: int) -> None:  # noqa: ARG002 - the interface
        """Write ``size`` bytes of a file from ``start`` on into ``into``. Optional: claim :attr:`Capability.PARTS` with it.

        It is asked only for bytes that are there: ``size`` is one at least, and ``start + size`` is within the file.

        Raises:
            NotFoundError: There is no such file.
        """
        raise UnsupportedError(
            f"{self.name}: {type(self).__name__} claims to read parts of files, and has no read_part."
        )

    # --- what comes of it ---

    def check(self) -> Health:
        """Look whether the folder is there and lets folders be made in it; see :meth:`Backend.check`."""
        self._make_and_see(_UPLOADS)  # which looks for the folder itself first
        return Health(summary=f"{self.name}: {self.place} answers.")

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See :meth:`StorageBackend.put`."""
        self._valid(key)
        wanted = (size, sha256)
        with _copy() as body:
            if digest_of(source, body) != wanted:
                raise CorruptError(
                    f"{self.name}: the bytes given for {key} are not those with SHA-256 {sha256}; nothing was sent."
                )
            if not self._held(key) and self._store(key, body, wanted):
                return evolve(self.stat(key), sha256=sha256)
        try:
            if self._digest(key) != wanted:
                raise ConflictError(f"{self.name}: {key} holds other bytes. They are left as they are.")
            return evolve(self.stat(key), sha256=sha256)
        except NotFoundError as error:
            raise UnavailableError(
                f"{self.name}: somebody removed {key} while it was compared. {AGAIN}"
            ) from error

    def open(self, key: str) -> BinaryIO:
        """See :meth:`StorageBackend.open`; all bytes are read before it returns."""
        self.stat(key)
        copy = _copy()
        try:
            with self.asking("read", key):
                self.read(key, copy)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        """See :meth:`StorageBackend.open_part`; all bytes are read before it returns."""
        if Capability.PARTS not in self.capabilities:
            return super().open_part(key, start, size)
        there = min(size, self.stat(key).size - start)
        part = io.BytesIO()
        if there > 0:
            with self.asking("read", key):
                self.read_part(key, part, start, there)
            if part.tell() != there:
                raise UnavailableError(
                    f"{self.name}: {self.place} gave {part.tell()} bytes of {key} where {there} were asked for. {AGAIN}"
                )
        part.seek(0)
        return part

    def stat(self, key: str) -> ObjectInfo:
        """See :meth:`StorageBackend.stat`."""
        self._valid(key)
        found = self._held(key)
        if found is None:
            self._there()  # an object is not missing where its whole place is away
            raise NotFoundError(f"{self.name}: there is no {key} in {self.place}.")
        return self._info(found)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See :meth:`StorageBackend.list`; what is in one folder is held in memory."""
        self._there()
        top = prefix.rpartition("/")[0]
        folders = [top] if not top or valid_key(top) else []
        while folders:
            folder = folders.pop()
            for entry in self._listed(folder):
                if not valid_key(entry.path) or entry.path == folder:
                    continue
                if entry.is_folder:
                    if f"{entry.path}/".startswith(prefix[: len(entry.path) + 1]):
                        folders.append(entry.path)
                elif entry.path.startswith(prefix):
                    yield self._info(entry)

    def delete(self, key: str) -> None:
        """See :meth:`StorageBackend.delete`."""
        with contextlib.suppress(NotFoundError):
            self.stat(key)  # a folder is no object
            with self.asking("remove", key):
                self.remove(key)

    @contextlib.contextmanager
    def asking(self, what: str, path: str) -> Iterator[None]:
        """Turn what the client raises into ktpsync's errors; for a method of your own that asks the server.

        Args:
            what: What is done, for the message.
            path: To what.

        Raises:
            NotFoundError: :class:`FileNotFoundError` was raised.
            UnavailableError: One of ``line_errors`` was raised.
        """
        try:
            yield
        except BackendError:
            raise
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.name}: there is no {path or 'folder'} in {self.place}.") from error
        except self.line_errors as error:
            raise UnavailableError(
                f"{self.name}: {self.place} cannot {what} {path or 'the folder'}: {type(error).__name__}: {anonymous(str(error)).rstrip('.')}. "
                f"{AGAIN}"
            ) from error

    def _valid(self, key: str) -> None:
        if not valid_key(key):
            raise NotFoundError(f"{self.name}: {key!r} is not a key.")

    def _held(self, key: str) -> FolderEntry | None:
        try:
            with self.asking("look at", key):
                found = self.look(key)
        except NotFoundError:
            return None
        return None if found.is_folder else found

    def _there(self) -> None:
        try:
            with self.asking("look at", ""):
                found = self.look("")
        except NotFoundError:
            found = None
        if found is None:
            raise UnavailableError(
                f"{self.name}: there is no folder {self.place}. Make it once, or correct the settings."
            )
        if not found.is_folder:
            raise UnavailableError(
                f"{self.name}: {self.place} is a file, not a folder. Correct the settings, or give folders is_folder=True."
            )

    def _info(self, entry: FolderEntry) -> ObjectInfo:
        if entry.modified is None:
            raise UnavailableError(f"{self.name}: {self.place} does not say when {entry.path} was stored.")
        return ObjectInfo(key=entry.path, size=entry.size, modified=entry.modified)

    def _listed(self, folder: str) -> tuple[FolderEntry, ...]:
        try:
            with self.asking("list", folder):
                return tuple(self.entries(folder))
        except NotFoundError:
            self._there()
        # An entry that disappears while its folder is listed must not look like a folder without entries.
        with contextlib.suppress(NotFoundError), self.asking("look at", folder):
            if self.look(folder).is_folder:
                raise UnavailableError(
                    f"{self.name}: {folder or 'the folder'} in {self.place} changed while it was listed. {AGAIN}"
                )
        return ()

    def _digest(self, path: str) -> tuple[int, str]:
        digesting = _Digesting()
        with self.asking("read", path):
            self.read(path, cast("BinaryIO", digesting))
        return digesting.size, digesting.digest.hexdigest()

    def _store(self, key: str, body: BinaryIO, wanted: tuple[int, str]) -> bool:
        """Store what is not there; return whether it was this time."""
        upload, named = f"{_UPLOADS}/{uuid.uuid4().hex}", False
        with self._lock:
            self._make_folders(_UPLOADS)
            self._tidy()
        try:
            body.seek(0)
            with self.asking("write", key):
                self.write(upload, body, wanted[0])
            if self._digest(upload) != wanted:
                raise CorruptError(f"{self.name}: {self.place} damaged {key}; what it stored was removed.")
            # Two who change one folder at one time are refused by some servers; others replace what is there.
            with self._lock:
                named = self._named(upload, key)
        except BackendError as error:
            self._folders.clear()  # somebody may have removed them
            if not isinstance(error, NotFoundError):
                raise
            for folder in filter(None, (_UPLOADS, key.rpartition("/")[0])):
                self._make_and_see(folder)
            raise UnavailableError(
                f"{self.name}: {self.place} lost a folder while {key} was stored. {AGAIN}"
            ) from error
        finally:
            if not named:
                with contextlib.suppress(BackendError), self.asking("remove", upload):
                    self.remove(upload)
        return named

    def _named(self, upload: str, key: str) -> bool:
        if self._held(key):
            return False
        folder = key.rpartition("/")[0]
        remembered = folder in self._folders
        try:
            self._make_folders(folder)
            with self.asking("rename", key):
                self.rename(upload, key)
        except BackendError:
            if self._held(key):
                return False
            if not remembered:
                raise
            self._folders.clear()  # somebody may have removed them
            return self._named(upload, key)
        return True

    def _make_folders(self, folder: str) -> None:
        if not folder or folder in self._folders:
            return
        if above := folder.rpartition("/")[0]:
            self._make_folders(above)
        else:
            self._there()  # nothing is made in a wrong place
        with self.asking("make", folder):
            self.make_folder(folder)
        self._folders.add(folder)

    def _make_and_see(self, folder: str) -> None:
        """Make a folder and look for it: to some servers one that may not be made is the same as one that is there."""
        with self._lock:
            self._folders.discard(folder)
            self._make_folders(folder)
        try:
            with self.asking("look at", folder):
                if self.look(folder).is_folder:
                    return
        except NotFoundError:
            self._folders.discard(folder)
        raise AuthError(
            f"{self.name}: {self.place} does not let the folder {folder} be made. Give the user the right to write "
            "there, or correct the address."
        )

    def _tidy(self) -> None:
        """Once: remove uploads that somebody left behind."""
        if self._tidied:
            return
        self._tidied = True
        oldest = utc_from_ms(self._clock.now_ms()) - _LEFTOVER
        with contextlib.suppress(BackendError):
            for entry in self._listed(_UPLOADS):
                if not entry.is_folder and entry.modified is not None and entry.modified < oldest:
                    with self.asking("remove", entry.path):
                        self.remove(entry.path)


def _copy() -> BinaryIO:
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(_SPOOLED))


class _Digesting(io.RawIOBase):
    """A file that keeps only size and digest of what is written into it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        with memoryview(data) as view:
            self.digest.update(view)
            self.size += view.nbytes
            return view.nbytes
