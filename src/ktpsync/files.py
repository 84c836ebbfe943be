"""The only module that knows fsync, rename, locks, free space and the page cache.

A file written here is either there whole and durable, or not there at all: temporary name, fsync,
rename, fsync of the folder. Until the rename, what was there before stays as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import os
import platform
import re
import secrets
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from ktpsync.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
"""Bytes read or written at a time where a file is streamed."""

TEMPORARY_SUFFIX = ".part"
"""Ending of files that are not yet whole. Whoever finds an old one may delete it."""

_PARALLEL_SYNCS = 8
"""How many files are synced at a time; a journal commits them together."""

_STEADY = 8 << 20
"""Bytes that are given to the medium at a time where much is written."""

_DIRECT_BLOCK = 4096
"""What goes past the page cache goes in whole blocks; no common disk has larger ones."""

_RENAME_LOCK = ".ktpsync-rename.lock"

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NOT_KNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_renameat2 = getattr(_libc, "renameat2", None)
"""Linux renames without replacing on ext4, exFAT, FAT, NTFS and others; Python has no function for it."""

_TELLS_SINCE = (5, 8)
_TELLING = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010})
"""What ``statfs`` calls ext2, ext3 and ext4; XFS; Btrfs; F2FS."""

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The ``errno`` values that mean: no room for this write."""


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable.

    Windows has no such call and journals names by itself; there it does nothing.

    Raises:
        OSError: The folder cannot be opened or synced.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(file: BinaryIO) -> None:
    """Flush a file object and make its bytes durable on the medium.

    Raises:
        OSError: The medium did not take the bytes.
    """
    file.flush()
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - exists on POSIX only

        # On macOS fsync stops at the drive's own cache; only F_FULLFSYNC goes through it.
        fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
    else:
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_writer(path: Path, *, mode: int = 0o666, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a file that appears under ``path`` whole and durable when the block ends well.

    When the block raises, the temporary file is removed and ``path`` is as it was before.

    Args:
        path: The final name. Its folder must exist.
        mode: Permission bits of the new file, before the umask, where the file system has them.
        replace: Whether an existing file may be replaced.

    Raises:
        FileExistsError: ``path`` exists and ``replace`` is false.
        OSError: The medium did not take the bytes; nothing changed. Or, after the rename, it did not take the
            new name: the whole file can be seen, but nobody knows for how long; write it again.
    """
    temporary = _temporary(path)
    file = _create(temporary, mode)
    try:
        with file:
            yield file
            fsync_file(file)
        if replace:
            temporary.replace(path)
        else:
            _rename_new(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def _temporary(path: Path) -> Path:
    """Return a new name beside a final one, by which :func:`remove_leftovers` knows it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


def _create(temporary: Path, mode: int) -> BinaryIO:
    """Open a file that nobody has yet."""
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    return os.fdopen(descriptor, "r+b")


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename without replacing, also where two writers race."""
    if sys.platform == "win32":
        temporary.rename(path)
    elif not (_renamed_by_kernel(temporary, path) or _renamed_by_link(temporary, path)):
        # Some file systems and kernels know neither: a lock keeps two writers apart, and the name never stands for
        # anything but a whole file.
        with locked(path.parent / _RENAME_LOCK):
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            temporary.replace(path)


def _renamed_by_kernel(temporary: Path, path: Path) -> bool:
    """Rename in one step that refuses an existing name; tell if the system cannot."""
    if _renameat2 is None:
        return False
    if _renameat2(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_KNOWN:
        return False
    raise OSError(number, os.strerror(number), str(temporary), None, str(path))


def _renamed_by_link(temporary: Path, path: Path) -> bool:
    """Give a second name, which refuses an existing one, and take the first away; tell if there are no links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if not temporary.exists():
            raise
        return False
    temporary.unlink()
    return True


def write_atomic(
    path: Path,
    data: bytes | memoryview,
    *,
    mode: int = 0o666,
    replace: bool = True,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Write a whole file so that it is there durably, or not at all.

    Args:
        path: The final name. Its folder must exist.
        data: All of its bytes.
        mode: Permission bits of the new file, before the umask.
        replace: Whether an existing file may be replaced.
        meanwhile: Called while the medium writes. When it raises, nothing changes.

    Raises:
        FileExistsError: ``path`` exists and ``replace`` is false.
        OSError: The medium did not take the bytes; nothing changed.
    """
    with atomic_writer(path, mode=mode, replace=replace) as file:
        file.write(data)
        if meanwhile is not None:
            begin_writing_out(file)
            meanwhile()


def write_many_atomic(files: Mapping[Path, bytes], *, mode: int = 0o666) -> None:
    """Write several new whole files and make all of them durable.

    Much faster than one after the other: the file system joins syncs that are asked for together,
    and each folder is synced once.

    When it raises, some of the files may be there, each of them whole: what has its name may be in somebody else's
    use already, so nothing is taken back.

    Args:
        files: The final names, whose folders must exist, and all of their bytes.
        mode: Permission bits of the new files, before the umask.

    Raises:
        FileExistsError: One of the names is taken; that file was left as it is.
        OSError: The medium did not take all the bytes or names.
    """
    temporary = {path: _temporary(path) for path in files}

    def write(path: Path) -> None:
        with _create(temporary[path], mode) as file:
            file.write(files[path])
            fsync_file(file)

    try:
        with ThreadPoolExecutor(max_workers=_PARALLEL_SYNCS) as pool:
            list(pool.map(write, files))
            for path in files:
                _rename_new(temporary[path], path)
            list(pool.map(fsync_folder, {path.parent for path in files}))
    except BaseException:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink()
        raise


def write_for_now(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a whole file that a :class:`FileSystemSync` makes durable later; the medium begins at once.

    Only where a crash before that costs nothing: it may leave a file that is not whole. An existing one is replaced.

    Args:
        path: The name, whose folder is made if missing.
        data: All of its bytes.
        mode: Permission bits of the file, before the umask.

    Raises:
        OSError: The medium did not take the bytes.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(path, flags, mode)
    except FileNotFoundError:
        path.parent.mkdir(mode=mode | 0o100, exist_ok=True)
        descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        begin_writing_out(file)


def can_sync_file_system(folder: Path) -> bool:
    """Return whether a :class:`FileSystemSync` of a folder's file system tells of every write that failed.

    Linux tells since 5.8, on file systems that write to a disk themselves: what is laid over another one, or is served by
    a process, as NTFS and exFAT often are, keeps such errors to itself.
    """
    if _libc is None or _kernel_version() < _TELLS_SINCE:
        return False
    answer = ctypes.create_string_buffer(512)
    if _libc.statfs(os.fsencode(folder), answer) != 0:
        return False
    return ctypes.c_long.from_buffer(answer).value in _TELLING


def _kernel_version() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return tuple(map(int, found.groups())) if found else ()


class FileSystemSync:
    """Makes all that is written to a file system from now on durable, as one ``fsync`` for each file would.

    To be made before the first write. Linux tells each open file once of a write that failed, and one that is opened
    later nothing of what somebody else was told before: https://www.kernel.org/doc/html/latest/core-api/errseq.html.

    Args:
        folder: A folder on the file system, for which :func:`can_sync_file_system` is true.

    Raises:
        OSError: The folder cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def finish(self) -> None:
        """Wait until all is durable, and close it.

        Raises:
            OSError: The medium did not take all of what was written since it was made, whoever wrote it.
        """
        assert _libc is not None  # can_sync_file_system() says so
        try:
            if _libc.syncfs(self._descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(self._folder))
        finally:
            self.close()

    def close(self) -> None:
        """Close it; nothing is promised of what was written."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class MemoryFile(io.RawIOBase):
    """A file object over memory, without a copy of it.

    Args:
        view: The memory; nobody may change it while the file is open.
        sha256: SHA-256 of it in hexadecimal, if it was just computed: whoever takes the file need not do it again.
    """

    def __init__(self, view: memoryview, sha256: str | None = None) -> None:
        self.view = view
        self.sha256 = sha256
        self._position = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read at any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self.view)}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the place."""
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer from the place on."""
        target = memoryview(buffer).cast("B")
        chunk = self.view[self._position : self._position + len(target)]
        target[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)


def write_steadily(file: BinaryIO, data: memoryview) -> None:
    """Write much data into a new file, past the page cache where the system can.

    Nobody reads a backup right after it was written: in the page cache it would only push out what is needed, and
    copying it there takes longer than a quick disk needs to write it. Elsewhere the medium is told to begin at once,
    not only when the file is synced.

    Args:
        file: A file on a disk, at its start.
        data: What to write; past the page cache only where its memory begins at a page.

    Raises:
        OSError: The medium did not take the bytes.
    """
    file.flush()
    descriptor = file.fileno()
    written = _write_direct(descriptor, data[: len(data) - len(data) % _DIRECT_BLOCK])
    while written < len(data):
        count = os.write(descriptor, data[written : written + _STEADY])
        _forget(file, written, count)
        written += count


def _write_direct(descriptor: int, data: memoryview) -> int:
    """Write past the page cache; return how many bytes went, none where file system or memory do not allow it."""
    if not hasattr(os, "O_DIRECT"):
        return 0
    import fcntl  # noqa: PLC0415 - exists on POSIX only

    written = 0
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, before | os.O_DIRECT)
        while written < len(data):
            written += os.write(descriptor, data[written : written + _STEADY])
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, before)
    return written


def begin_writing_out(file: BinaryIO) -> None:
    """Ask the kernel to send a file's bytes to the medium now, and do not wait.

    What is computed until the sync then costs no time of its own. Where the system has no such call it does
    nothing but flush.

    Raises:
        OSError: The bytes were not taken.
    """
    file.flush()
    drop_page_cache(file)


def drop_page_cache(file: BinaryIO) -> None:
    """Ask the kernel to forget its cached pages of a file, so that reading goes to the medium.

    Pages that are not written yet stay, and their writing begins. Where the system has no such call it does nothing.
    """
    _forget(file, 0, 0)


def _forget(file: BinaryIO, start: int, size: int) -> None:
    # The kernel starts to write what it is told to forget and is not written yet. A size of 0 goes to the end.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_DONTNEED)


def remove_leftovers(folder: Path, *, older_than: float, now: float) -> None:
    """Remove what writers that died left in a folder. Best effort; what cannot be removed stays.

    Args:
        folder: Where.
        older_than: Seconds since the last change; younger ones may still be written.
        now: The time, in seconds since the epoch.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if not (entry.name.startswith(".") and entry.name.endswith(TEMPORARY_SUFFIX)):
                    continue
                status = entry.stat(follow_symlinks=False)
                # Without a journal a power cut in the middle of a rename can leave one file under both names, with
                # one link: freeing it under the old name would free it under the new one.
                final = entry.name[1:].rsplit(".", 2)[0]
                halfway = status.st_nlink == 1 and os.path.lexists(os.path.join(folder, final))  # noqa: PTH118 - quick
                if status.st_mtime < now - older_than and not halfway:
                    os.unlink(entry.path)  # noqa: PTH108 - quick


def adopt(temporary: Path, path: Path) -> None:
    """Give a file that was written whole under another name its final name, durably.

    Args:
        temporary: The file, on the same file system.
        path: The final name, whose folder must exist. An existing file is replaced.

    Raises:
        OSError: The medium did not take the bytes; the file has its final name or still its old one.
    """
    with temporary.open("r+b") as file:
        fsync_file(file)
    temporary.replace(path)
    fsync_folder(path.parent)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create a folder and its missing parents, durably. An existing one is left as it is.

    Raises:
        OSError: The folder cannot be made.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            new.mkdir(mode=mode)
        fsync_folder(new.parent)


def create_private(path: Path) -> None:
    """Create an empty file that only its owner can read, unless there is one; a program that opens it keeps the mode.

    Where it cannot be created, that program says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def sha256_of(file: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 in hexadecimal and the size in bytes of the rest of a file object."""
    digest = hashlib.sha256()
    size = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks readinto
        digest.update(view[:count])
        size += count
    return digest.hexdigest(), size


def free_bytes(folder: Path) -> int:
    """Return the bytes that an ordinary user can still write on the file system of a folder.

    Raises:
        OSError: The folder is not there.
    """
    return shutil.disk_usage(folder).free


def size_bytes(folder: Path) -> int:
    """Return the size in bytes of the file system that a folder is on.

    Raises:
        OSError: The folder is not there.
    """
    return shutil.disk_usage(folder).total


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock among processes; the system frees it when the holder dies.

    Args:
        path: The lock file. It is created and stays.
        wait: Whether to wait for another holder, for as long as it takes.

    Raises:
        TimeoutError: Another process holds it, and it was not to be waited for.
    """
    if sys.platform == "win32":
        import filelock  # noqa: PLC0415 - needed on Windows only

        with filelock.FileLock(path, timeout=-1 if wait else 0):
            yield
    else:
        lock = UseLock(path, alone=True, wait=wait)
        try:
            yield
        finally:
            lock.release()


def is_read_only(folder: Path) -> bool:
    """Return whether a folder is on a file system that can only be read, such as one that the system took for failing."""
    try:
        return sys.platform != "win32" and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


class UseLock:
    """A lock file that many hold together, or one alone. The system frees it when its holders die.

    On Windows, where a file in use cannot be renamed anyway, it does nothing; nor where nothing can be written and it is not there.

    Args:
        path: The lock file. It is created and stays.
        alone: Whether to hold it alone.
        wait: Whether to wait for those who hold it otherwise.

    Raises:
        TimeoutError: Others hold it otherwise, and they were not to be waited for.
    """

    def __init__(self, path: Path, *, alone: bool = False, wait: bool = True) -> None:
        self._descriptor = -1
        self._alone = alone
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415 - exists on POSIX only

        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if alone or error.errno != errno.EROFS:
                raise
            if not path.exists():
                return
            self._descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(
                self._descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
            )
        except BlockingIOError:
            os.close(self._descriptor)
            self._descriptor = -1
            raise TimeoutError(path) from None

    def release(self) -> None:
        """Let it go."""
        if self._descriptor < 0 or sys.platform == "win32":
            return
        if self._alone:
            import fcntl  # noqa: PLC0415 - exists on POSIX only

            # A forked child has the descriptor too, and closing it here would leave the lock to the child.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._descriptor = -1


@contextlib.contextmanager
def open_private(path: Path) -> Iterator[BinaryIO]:
    """Open a file of secrets for reading, if its POSIX permission bits keep everybody but its owner out.

    On Windows the folder's access list decides, which these bits do not show; there every file is opened.

    Raises:
        KeyFileError: Other users can read it.
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        if sys.platform != "win32" and os.fstat(file.fileno()).st_mode & 0o077:
            raise KeyFileError(
                f"{path} can be read by other users of this machine; run `chmod 600 {shlex.quote(str(path))}`."
            )
        yield file
