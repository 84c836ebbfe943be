"""Requests to the centre: connections, TLS, proxy, credentials; every failure as what to do next."""

from __future__ import annotations

import logging
import ssl
import threading
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import urllib3
from attrs import evolve
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ktpsync.backends._timed import TimedAnswer
from ktpsync.backends.http._answer import whole
from ktpsync.backends.http._credentials import FetchedToken, FixedToken
from ktpsync.backends.http._failures import Peer, failure_of, refuse
from ktpsync.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import BinaryIO

    from urllib3 import BaseHTTPResponse

    from ktpsync.backends.http._answer import Answer
    from ktpsync.backends.http._settings import HttpSettings
    from ktpsync.plugins import BackendContext

_CONNECTIONS: Final = 16
"""Idle connections kept to one host; no delivery waits for one."""

_BLOCK: Final = 64 << 10
"""Bytes read from a packet's file and given to the socket at a time; below what malloc maps and unmaps each time."""

QUESTION_SECONDS: Final = 30.0
"""A question with a short answer, such as how the centre is, is waited for so long, also on a thin line."""

_UNAUTHORIZED: Final = 401
_LOG: Final = logging.getLogger("ktpsync.http")

_UNCHECKED: Final = (
    "%s: danger_accept_any_certificate is set. Whoever answers at %s is trusted, and may take the token and swallow "
    "packets. Remove the setting; use ca_file for a centre with an authority of its own."
)


class Line:
    """The way to one centre. Connections are made when the first request needs one.

    Args:
        settings: Where, and with which credentials.
        context: The destination's name and the clock.
    """

    def __init__(self, settings: HttpSettings, context: BackendContext) -> None:
        self._settings = settings
        self._clock = context.clock
        self._base = settings.url.rstrip("/")
        secrets = [] if settings.token is None else [settings.token.reveal()]
        if settings.oauth is not None:
            secrets.append(settings.oauth.client_secret.reveal())
        self.peer = Peer(name=context.name, host=urlsplit(settings.url).netloc, secrets=tuple(secrets))
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._credentials: FixedToken | FetchedToken = FixedToken(settings)
        if settings.oauth is not None:
            token_url = settings.oauth.token_url
            token_host = evolve(self.peer, host=urlsplit(token_url).netloc)
            self._credentials = FetchedToken(
                settings.oauth,
                partial(self._post, token_host, token_url),
                peer=token_host,
                clock=context.clock,
            )

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Callable[[], BinaryIO] | bytes | None = None,
        accepted: Collection[int] = (200, 201),
        patience: float | None = None,
    ) -> Answer:
        """Send one request and return its answer. A fetched token that is refused is fetched anew, once.

        Args:
            method: The method.
            path: What follows the configured address.
            headers: Headers beside the credentials.
            body: Bytes, or what opens a file that is sent from where it stands to its end, and closed.
            accepted: The statuses to return; others are raised.
            patience: Seconds to wait for the answer, where that is less than ``read_timeout``.

        Raises:
            BackendError: There is no answer, or another one.
        """
        response, peer = self._exchange(method, path, headers=headers, body=body, patience=patience)
        answer = whole(response, peer)
        if answer.status not in accepted:
            refuse(peer, answer, self._clock)
        return answer

    def stream(self, path: str, *, headers: Mapping[str, str], accepted: Collection[int]) -> BaseHTTPResponse:
        """Ask for something large and return the answer with its body still on the line; the caller closes it.

        Args:
            path: What follows the configured address.
            headers: Headers beside the credentials.
            accepted: The statuses to return; others are raised.

        Raises:
            BackendError: There is no answer, or another one.
        """
        response, peer = self._exchange("GET", path, headers=headers, body=None)
        if response.status not in accepted:
            refuse(peer, whole(response, peer), self._clock)
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                # clear() alone leaves them to the garbage collector, which an error's traceback can hold off.
                for key in pool.pools.keys():  # noqa: SIM118 - no mapping: it cannot be iterated over
                    pool.pools[key].close()
                pool.clear()

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Callable[[], BinaryIO] | bytes | None,
        patience: float | None = None,
    ) -> tuple[BaseHTTPResponse, Peer]:
        token = self._credentials.current()
        response, peer = self._send(method, path, headers=headers, body=body, token=token, patience=patience)
        if response.status == _UNAUTHORIZED and self._credentials.replace(token):
            response.close()
            token = self._credentials.current()
            response, peer = self._send(
                method, path, headers=headers, body=body, token=token, patience=patience
            )
        return response, peer

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Callable[[], BinaryIO] | bytes | None,
        token: str | None,
        patience: float | None,
    ) -> tuple[BaseHTTPResponse, Peer]:
        peer = self.peer
        sent = {"Accept": "application/json, application/problem+json", "Accept-Encoding": "gzip", **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
            if self._settings.oauth is not None:
                peer = evolve(peer, secrets=(token, *peer.secrets))
        if body is None or isinstance(body, bytes):
            return self._ask(peer, method, self._base + path, sent, body, patience=patience), peer
        with body() as file:
            return self._ask(peer, method, self._base + path, sent, file, patience=patience), peer

    def _post(self, peer: Peer, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return whole(self._ask(peer, "POST", url, headers, body), peer)

    def _ask(
        self,
        peer: Peer,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None,
        *,
        patience: float | None = None,
    ) -> BaseHTTPResponse:
        pool = self._pool(url)
        try:
            return pool.urlopen(
                method,
                url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                timeout=self._timeout(patience),
            )
        except HTTPError as error:
            raise failure_of(peer, error) from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        origin = url[: url.find("/", 8)]
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._new_pool(_proxy_for(url))
                self._pools[origin].pool_classes_by_scheme = _POOLS
            return self._pools[origin]

    def _timeout(self, patience: float | None) -> urllib3.Timeout:
        read: float = self._settings.read_timeout
        read = read if patience is None else min(read, patience)
        return urllib3.Timeout(connect=self._settings.connect_timeout, read=read)

    def _new_pool(self, proxy: str) -> urllib3.PoolManager:
        settings = self._settings
        tls = _tls_context(settings, self.peer.name)
        if settings.danger_accept_any_certificate:
            _LOG.warning(_UNCHECKED, self.peer.name, self.peer.host)
        if not proxy:
            return urllib3.PoolManager(maxsize=_CONNECTIONS, retries=False, ssl_context=tls, blocksize=_BLOCK)
        parts = urlsplit(proxy)
        given = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            given = urllib3.make_headers(proxy_basic_auth=pair)
        try:
            return urllib3.ProxyManager(
                parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
                proxy_headers=given,
                maxsize=_CONNECTIONS,
                retries=False,
                ssl_context=tls,
                blocksize=_BLOCK,
            )
        except HTTPError as error:
            raise failure_of(self.peer, error) from error


class _Connection(HTTPConnection):
    response_class = TimedAnswer


class _TLSConnection(HTTPSConnection):
    response_class = TimedAnswer


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


def _proxy_for(url: str) -> str:
    """Return the proxy that the environment (or the system) names for an address; empty for none."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _tls_context(settings: HttpSettings, name: str) -> ssl.SSLContext:
    ca_file = None if settings.ca_file is None else str(settings.ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AuthError(
            f"{name}: the ca_file {ca_file} cannot be used: {_why(error)}. Correct the setting."
        ) from error
    if settings.client_certificate is not None:
        password = settings.client_key_password
        try:
            context.load_cert_chain(
                settings.client_certificate,
                settings.client_key,
                # Without one, OpenSSL would ask the terminal for the password of a key that has one.
                password=lambda: "" if password is None else password.reveal(),
            )
        except (OSError, ssl.SSLError, ValueError) as error:
            raise AuthError(
                f"{name}: the client_certificate {settings.client_certificate} cannot be used: {_why(error)}. It is a "
                "PEM file with the certificate and its key, or the key is in client_key and may need "
                "client_key_password. Correct the setting."
            ) from error
    if settings.danger_accept_any_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "it is no PEM file of this kind"
    return (
        error.strerror or "it cannot be read" if isinstance(error, OSError) else "its password is not right"
    )
