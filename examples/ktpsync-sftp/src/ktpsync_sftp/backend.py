"""Packets and backups on an SFTP server."""

import stat as modes
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen
from attrs.validators import gt

from ktpsync.plugins import Capability, Duration, FolderBackend, FolderEntry, Secret
from ktpsync_sftp.connection import Connections


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
    timeout: Duration = field(default=Duration(30), validator=gt(0))


class SftpBackend(FolderBackend):
    """Objects as files in folders."""

    capabilities = frozenset({Capability.PARTS})

    def __init__(self, settings, context):
        super().__init__(context, f"{settings.folder} on {settings.host}")
        self._folder = settings.folder.rstrip("/") or "/."
        self._connections = Connections(settings, context.name)
        self._session = self._connections.session

    def look(self, path):
        with self._session() as session:
            return entry(path, session.stat(self._full(path)))

    def entries(self, folder):
        with self._session() as session:
            found = session.listdir_attr(self._full(folder))
        return [entry(f"{folder}/{one.filename}".lstrip("/"), one) for one in found]

    def read(self, path, into):
        with self._session() as session:
            session.getfo(self._full(path), into, max_concurrent_prefetch_requests=64)

    def read_part(self, path, into, start, size):
        with self._session() as session, session.open(self._full(path), "rb") as file:
            file.seek(start)
            into.write(file.read(size))

    def write(self, path, source, size):
        with self._session() as session:
            session.putfo(source, self._full(path), size, confirm=False)

    def rename(self, path, to):
        with self._session() as session:
            session.rename(self._full(path), self._full(to))

    def remove(self, path):
        with self._session() as session:
            session.remove(self._full(path))

    def make_folder(self, path):
        with self._session() as session:
            try:
                session.mkdir(self._full(path))
            except OSError:
                session.stat(self._full(path))  # it is there already

    def close(self):
        self._connections.close()

    def _full(self, path):
        return f"{self._folder}/{path}".rstrip("/")


def entry(path, found):
    """Return what the server says of a file or folder; its times are whole seconds."""
    modified = datetime.fromtimestamp(found.st_mtime, tz=UTC)
    is_folder = modes.S_ISDIR(found.st_mode)
    return FolderEntry(path=path, is_folder=is_folder, size=found.st_size, modified=modified)
