"""Packets and backups on an SFTP server."""

import contextlib
import io
import secrets
import stat as modes
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from ktpsync.errors import ConflictError, CorruptError, NotFoundError, UnavailableError
from ktpsync.plugins import (
    Capability,
    Duration,
    Health,
    ObjectInfo,
    Secret,
    StorageBackend,
    digest_of,
    valid_key,
)
from ktpsync_sftp.connection import Connections

SPOOLED = 8 << 20
"""Bytes of an object that are kept in memory; more go into a temporary file."""


def _host_key(_settings, _attribute, text):
    if len(text.split()) not in (2, 3) or not text.startswith(("ssh-", "ecdsa-")):
        raise ValueError("expected a line such as: ssh-ed25519 AAAA... (ssh-keyscan prints it)")


@frozen(kw_only=True)
class SftpSettings:
    """Settings of a folder on an SFTP server.

    Args:
        host: Name or address of the server.
        host_key: The server's public key, as `ssh-keyscan` prints it without the host's name.
        user: User name.
        password: Password, where no key is used.
        key_file: Private key, in OpenSSH's format.
        folder: Folder on the server, which must exist.
        port: Port of the server.
        timeout: Seconds to wait for the server.
    """

    host: str
    host_key: str = field(validator=_host_key)
    user: str
    password: Secret | None = None
    key_file: Path | None = None
    folder: str = "."
    port: int = 22
    timeout: Duration = Duration(30)


class SftpBackend(StorageBackend):
    """Objects as files: written beside their place under a dotted name, read back, then renamed."""

    capabilities = frozenset({Capability.PARTS})

    def __init__(self, settings, context):
        self._name = context.name
        self._folder = settings.folder.rstrip("/") or "/."
        self._connections = Connections(settings, context.name)
        self._renaming = threading.Lock()

    def check(self):
        with self._connections.session() as session:
            try:
                found = session.stat(self._folder)
            except FileNotFoundError:
                found = None
        if found is None or not modes.S_ISDIR(found.st_mode):
            raise UnavailableError(
                f"{self._name}: there is no folder {self._folder} on the server. Make it once."
            )
        return Health(summary=f"{self._name}: the folder {self._folder} is there.")

    def put(self, key, source, *, size, sha256):
        path, wanted = self._path(key), (size, sha256)
        with tempfile.SpooledTemporaryFile(SPOOLED) as body:
            if digest_of(source, body) != wanted:
                raise CorruptError(f"{self._name}: these are not the bytes of {key}; nothing was sent.")
            if not self.exists(key) and self._store(path, body, wanted):
                return self.stat(key, sha256)
        with self.open(key) as existing:
            if digest_of(existing) != wanted:
                raise ConflictError(f"{self._name}: {key} holds other bytes. They are left as they are.")
        return self.stat(key, sha256)

    def open(self, key):
        return RemoteFile(self._connections, self._path(key), self._not_found(key))

    def open_part(self, key, start, size):
        return RemoteFile(self._connections, self._path(key), self._not_found(key), start, size)

    def stat(self, key, sha256=None):
        path = self._path(key)
        with self._connections.session() as session:
            try:
                found = session.stat(path)
            except FileNotFoundError:
                raise self._not_found(key) from None
        if not modes.S_ISREG(found.st_mode):
            raise self._not_found(key)
        return described(key, found, sha256)

    def list(self, prefix=""):
        yield from (info for info in self._walk(prefix.rpartition("/")[0]) if info.key.startswith(prefix))

    def delete(self, key):
        path = self._path(key)
        with self._connections.session() as session, contextlib.suppress(FileNotFoundError):
            session.remove(path)

    def close(self):
        self._connections.close()

    def _path(self, key):
        if not valid_key(key):
            raise NotFoundError(f"{self._name}: {key!r} is not a key.")
        return f"{self._folder}/{key}"

    def _not_found(self, key):
        return NotFoundError(f"{self._name}: there is no {key} on the server.")

    def _store(self, path, body, wanted):
        """Store what is not there yet; return whether it was this time."""
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name[:200]}.{secrets.token_hex(4)}"
        with self._connections.session() as session:
            self._make_folders(session, folder)
            try:
                body.seek(0)
                session.putfo(body, part, confirm=False)
                with RemoteFile(self._connections, part, self._not_found(part)) as stored:
                    if digest_of(stored) != wanted:
                        raise CorruptError(f"{self._name}: the server damaged {path}; it was removed.")
                return self._rename(session, part, path)
            finally:
                with contextlib.suppress(OSError):
                    session.remove(part)

    def _rename(self, session, part, path):
        """Give a file its name unless the name is taken.

        OpenSSH refuses to rename over a file. Other servers do it, so look first; the lock keeps threads of
        this process apart.
        """
        with self._renaming:
            if _exists(session, path):
                return False
            try:
                session.rename(part, path)
            except OSError:
                if _exists(session, path):
                    return False
                raise
        return True

    def _make_folders(self, session, folder):
        below = folder.removeprefix(self._folder).strip("/")
        made = self._folder
        for name in below.split("/") if below else ():
            made = f"{made}/{name}"
            try:
                session.mkdir(made)
            except OSError:
                if not _exists(session, made):
                    raise

    def _walk(self, folder):
        with self._connections.session() as session:
            try:
                entries = session.listdir_attr(f"{self._folder}/{folder}".rstrip("/"))
            except FileNotFoundError:
                entries = []
        if not entries and not folder:
            self.check()  # an empty listing must not hide that the folder itself is away
        for entry in entries:
            key = f"{folder}/{entry.filename}".lstrip("/")
            if not valid_key(key):
                continue
            if modes.S_ISDIR(entry.st_mode):
                yield from self._walk(key)
            elif modes.S_ISREG(entry.st_mode):
                yield described(key, entry)


class RemoteFile(io.RawIOBase):
    """A file on the server, or a part of it; what breaks while it is read is told as ktpsync's errors.

    Args:
        connections: The connections.
        path: Which file.
        not_found: What to raise where there is none.
        start: The first byte.
        size: How many; `None` for all that follow.
    """

    def __init__(self, connections, path, not_found, start=0, size=None):
        self._connections = connections
        self._left = size
        with connections.session() as session:
            try:
                self._file = session.open(path, "rb")
            except FileNotFoundError:
                raise not_found from None
            if size is None:
                self._file.prefetch(max_concurrent_requests=64)
            else:
                self._file.seek(start)

    def readable(self):
        return True

    def readinto(self, buffer):
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        with self._connections.session():
            data = self._file.read(wanted)
        buffer[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
        return len(data)

    def close(self):
        if not self.closed:
            with contextlib.suppress(Exception):
                self._file.close()
        super().close()


def _exists(session, path):
    try:
        session.stat(path)
    except FileNotFoundError:
        return False
    return True


def described(key, found, sha256=None):
    """Return what the server says of a file; its times are whole seconds."""
    modified = datetime.fromtimestamp(found.st_mtime, tz=UTC)
    return ObjectInfo(key=key, size=found.st_size, modified=modified, sha256=sha256)
