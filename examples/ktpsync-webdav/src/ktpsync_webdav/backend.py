"""Packets and backups in a WebDAV folder (RFC 4918), such as a Nextcloud."""

import re
import xml.etree.ElementTree as ET
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

import urllib3
from attrs import field, frozen
from attrs.validators import gt

from ktpsync.plugins import Duration, FolderBackend, FolderEntry, Secret, digest_of, error_for_status


def _address(_settings, _attribute, url):
    if not re.fullmatch(r"https?://[^@?#\s]+", url):
        raise ValueError("expected the http(s) address of a folder, without user and password")


@frozen(kw_only=True)
class WebdavSettings:
    """Settings of a WebDAV folder.

    Args:
        url: Address of the folder, which must exist.
        user: User name.
        password: Password, best one for this app alone.
        timeout: Seconds to wait for the server, to connect and for each read.
    """

    url: str = field(validator=_address)
    user: str
    password: Secret
    timeout: Duration = field(default=Duration(60), validator=gt(0))


class WebdavBackend(FolderBackend):
    """Objects as files in folders."""

    line_errors = (OSError, urllib3.exceptions.HTTPError, ET.ParseError)

    def __init__(self, settings, context):
        super().__init__(context, settings.url)
        self._base = settings.url.rstrip("/") + "/"
        self._root = unquote(urlsplit(self._base).path)
        self._login = urllib3.make_headers(basic_auth=f"{settings.user}:{settings.password.reveal()}")
        self._pool = urllib3.PoolManager(timeout=settings.timeout, retries=False, maxsize=16)

    def look(self, path):
        return self._properties(path, depth=0)[0]

    def entries(self, folder):
        return self._properties(f"{folder}/" if folder else "", depth=1)

    def read(self, path, into):
        with self._ask("GET", path, preload_content=False) as answer:
            digest_of(answer, into)

    def write(self, path, source, size):
        self._ask("PUT", path, body=source, **{"Content-Length": str(size)})

    def rename(self, path, to):
        self._ask("MOVE", path, Destination=self._base + quote(to), Overwrite="F")

    def remove(self, path):
        self._ask("DELETE", path)

    def make_folder(self, path):
        self._ask("MKCOL", f"{path}/", also=405)  # 405: it is there already

    def close(self):
        self._pool.clear()

    def _ask(self, method, path, *, also=None, body=None, preload_content=True, **headers):
        url, headers = self._base + quote(path), {**self._login, **headers}
        answer = self._pool.request(
            method, url, body=body, headers=headers, redirect=False, preload_content=preload_content
        )
        if answer.status < 300 or answer.status == also:
            return answer
        answer.drain_conn()
        raise error_for_status(answer.status, f"{self.name}: {method} {url}", answer.headers)

    def _properties(self, path, *, depth):
        answer = self._ask("PROPFIND", path, Depth=str(depth))
        if answer.status != 207:
            raise OSError(f"the answer was {answer.status} and not one of WebDAV; perhaps a login page")
        document = ET.fromstring(answer.data)  # noqa: S314
        return [self._entry(response) for response in document.iterfind("{DAV:}response")]

    def _entry(self, response):
        path = unquote(urlsplit(response.findtext("{DAV:}href")).path).removeprefix(self._root).strip("/")
        if response.find(".//{DAV:}collection") is not None:
            return FolderEntry(path=path, is_folder=True)
        modified = parsedate_to_datetime(response.findtext(".//{DAV:}getlastmodified"))
        size = int(response.findtext(".//{DAV:}getcontentlength"))
        return FolderEntry(path=path, size=size, modified=modified)
