"""Packets and backups in a WebDAV folder (RFC 4918), such as a Nextcloud."""

import secrets
import tempfile
import threading
import xml.etree.ElementTree as ET
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

import urllib3
from attrs import frozen

from ktpsync import errors
from ktpsync.plugins import Duration, Health, ObjectInfo, Secret, StorageBackend, digest_of, valid_key

SPOOLED = 8 << 20  # bytes of an object that are kept in memory; more go into a temporary file


@frozen(kw_only=True)
class WebdavSettings:
    """Settings of a WebDAV folder.

    Args:
        url: Address of the folder, which must exist.
        user: User name.
        password: Password, best one for this app alone.
        timeout: Seconds to wait for the server.
    """

    url: str
    user: str
    password: Secret
    timeout: Duration = Duration(60)


class WebdavBackend(StorageBackend):
    """Objects as files: written beside their place under a dotted name, read back, then moved."""

    def __init__(self, settings, context):
        self._name = context.name
        self._base = settings.url.rstrip("/") + "/"
        self._login = urllib3.make_headers(basic_auth=f"{settings.user}:{settings.password.reveal()}")
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(timeout=settings.timeout, retries=False, maxsize=16)

    def check(self):
        list(self._properties("", depth=0))
        return Health(summary=f"{self._name}: the folder {self._base} answers.")

    def put(self, key, source, *, size, sha256):
        if not valid_key(key):
            raise errors.NotFoundError(f"{self._name}: {key!r} is not a key.")
        wanted = (size, sha256)
        with tempfile.SpooledTemporaryFile(SPOOLED) as body:
            if digest_of(source, body) != wanted:
                raise errors.CorruptError(
                    f"{self._name}: these are not the bytes of {key}; nothing was sent."
                )
            if not self.exists(key) and self._store(key, body, wanted):
                return self.stat(key, sha256)
        with self.open(key) as stored:
            if digest_of(stored) != wanted:
                raise errors.ConflictError(
                    f"{self._name}: {key} holds other bytes. They are left as they are."
                )
        return self.stat(key, sha256)

    def open(self, key):
        self.stat(key)
        copy = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - given to the caller
        self._ask("GET", key, into=copy)
        copy.seek(0)
        return copy

    def stat(self, key, sha256=None):
        if valid_key(key):
            for _, is_folder, properties in self._properties(key, depth=0):
                if not is_folder:
                    return described(key, properties, sha256)
        raise errors.NotFoundError(f"{self._name}: there is no object {key!r}.")

    def list(self, prefix=""):
        folder = prefix.rpartition("/")[0]
        yield from (info for info in self._walk(folder) if info.key.startswith(prefix))

    def delete(self, key):
        self._ask("DELETE", key if valid_key(key) else ".none", also=(404,))

    def close(self):
        self._pool.clear()

    def _store(self, key, body, wanted):
        folders = key.split("/")[:-1]
        for depth in range(len(folders)):
            with self._lock:  # servers answer 423 to two who make one folder at one time
                self._ask("MKCOL", "/".join(folders[: depth + 1]), also=(405,))  # 405: it is there already
        part = "/".join([*folders, f".{secrets.token_hex(8)}"])
        try:
            body.seek(0)
            self._ask("PUT", part, body=body, **{"Content-Length": str(wanted[0])})
            with tempfile.TemporaryFile() as copy:
                if self._ask("GET", part, into=copy) != wanted:
                    raise errors.CorruptError(f"{self._name}: the server damaged {key}; it was removed.")
            to = {"Destination": self._base + quote(key), "Overwrite": "F"}
            with self._lock:
                return self._ask("MOVE", part, also=(412,), **to).status != 412
        finally:
            self._ask("DELETE", part, also=(404,))

    def _walk(self, folder):
        for key, is_folder, properties in self._properties(folder, depth=1):
            if key != folder and valid_key(key):
                yield from self._walk(key) if is_folder else [described(key, properties)]

    def _properties(self, path, *, depth):
        answer = self._ask("PROPFIND", path, also=(404,) if path else (), Depth=str(depth))
        root = unquote(urlsplit(self._base).path)
        for found in ET.fromstring(answer.data) if answer.status == 207 else ():  # noqa: S314
            key = unquote(urlsplit(found.findtext("{DAV:}href")).path).removeprefix(root).strip("/")
            yield key, found.find(".//{DAV:}collection") is not None, found

    def _ask(self, method, path, *, also=(), body=None, into=None, **headers):
        """Return an answer, or what `digest_of` says of one that goes into a file."""
        url, headers = self._base + quote(path), {**self._login, **headers}
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, preload_content=not into)
            if answer.status < 300 or answer.status in also:
                return digest_of(answer, into) if into else answer
        except urllib3.exceptions.HTTPError as error:
            raise errors.UnavailableError(f"{self._name}: {url} cannot be reached: {error}") from error
        told = f"{self._name}: {method} {url} was answered with {answer.status} {answer.reason}."
        if answer.status in (401, 403):
            raise errors.AuthError(f"{told} Check user and password.")
        raise errors.UnavailableError(f"{told} Check the server, its folder and its free space.")


def described(key, properties, sha256=None):
    modified = parsedate_to_datetime(properties.findtext(".//{DAV:}getlastmodified"))
    size = int(properties.findtext(".//{DAV:}getcontentlength"))
    return ObjectInfo(key=key, size=size, modified=modified, sha256=sha256)
