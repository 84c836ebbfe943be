"""The HTTP backend: a client of the interface in ``docs/reference/central-api.md``."""

from __future__ import annotations

import base64
import itertools
import json
import ssl
import threading
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import urllib3
from attrs import field, frozen

from ktpsync.backends.http._failures import (
    DamagedInTransitError,
    document_of,
    not_understood,
    refuse,
    translated,
)
from ktpsync.errors import ConfigError, CorruptError
from ktpsync.files import sha256_of
from ktpsync.plugins import (
    CentralBackend,
    Duration,
    Health,
    Holding,
    HoldingState,
    Receipt,
    Secret,
    StatusChange,
    StatusPage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from attrs import Attribute
    from urllib3 import BaseHTTPResponse

    from ktpsync.packet import SealedPacket
    from ktpsync.plugins import BackendContext

RECONCILE_PAGE: Final = 10_000
"""Packets asked about in one request, at most."""

_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _address(_settings: object, _attribute: Attribute[str], url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("expected an address such as https://central.example/")
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
        raise ValueError("expected https: the token would travel in clear")


@frozen(kw_only=True)
class HttpSettings:
    """Settings of the central service.

    Args:
        url: Its address; ``https``, or ``http`` on this machine itself.
        token: Bearer token (RFC 6750).
        ca_file: PEM file of the certificate authorities to trust instead of the system's.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for an answer, or for the line to take more bytes.
    """

    url: str = field(validator=_address)
    token: Secret | None = None
    ca_file: Path | None = None
    connect_timeout: Duration = Duration(10)
    read_timeout: Duration = Duration(120)


class HttpBackend(CentralBackend):
    """The central service.

    Args:
        settings: Where, and with which token.
        context: The destination's name and the clock.
    """

    def __init__(self, settings: HttpSettings, context: BackendContext) -> None:
        self._settings = settings
        self._name = context.name
        self._clock = context.clock
        self._base = settings.url.rstrip("/")
        self._host = urlsplit(settings.url).netloc
        self._lock = threading.Lock()
        self._made: urllib3.PoolManager | None = None

    @property
    def _pool(self) -> urllib3.PoolManager:
        with self._lock:
            if self._made is None:
                self._made = self._new_pool()
            return self._made

    def _new_pool(self) -> urllib3.PoolManager:
        settings = self._settings
        ca_file = None if settings.ca_file is None else str(settings.ca_file)
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self._name}: the ca_file {ca_file} cannot be used: {error}.") from error
        timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        parts = urlsplit(self._base)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
            return urllib3.ProxyManager(proxy, maxsize=16, timeout=timeout, retries=False, ssl_context=tls)
        return urllib3.PoolManager(maxsize=16, timeout=timeout, retries=False, ssl_context=tls)

    def deliver(self, packet: SealedPacket) -> Receipt:
        """See the base class."""
        digest = base64.b64encode(bytes.fromhex(packet.sha256)).decode("ascii")
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(packet.size),
            "Content-Digest": f"sha-256=:{digest}:",
            "Idempotency-Key": f'"{packet.packet_id}"',
        }
        try:
            with packet.open() as body:
                answer = self._request("PUT", f"/v1/packets/{packet.packet_id}", headers=headers, body=body)
        except DamagedInTransitError:
            with packet.open() as body:
                digest_here, _ = sha256_of(body)
            if digest_here == packet.sha256:
                raise
            raise CorruptError(
                f"{self._name}: the bytes of packet {packet.packet_id} are damaged here (SHA-256 {digest_here}); the "
                "centre refused them. Fetch a good copy from the backup."
            ) from None
        return self._receipt(document_of(self._name, self._host, answer))

    def check(self) -> Health:
        """See the base class."""
        document = document_of(self._name, self._host, self._request("GET", "/v1/health"))
        return Health(summary=f"The centre at {self._host} answers: {document.get('status', 'well')}.")

    def statuses(self, cursor: str | None) -> StatusPage:
        """See the base class."""
        query = "" if cursor is None else f"?after={quote(cursor, safe='')}"
        document = document_of(self._name, self._host, self._request("GET", f"/v1/statuses{query}"))
        try:
            return StatusPage(
                changes=tuple(_change(line) for line in _objects(document["changes"])),
                cursor=str(document["cursor"]),
                more=bool(document["more"]),
            )
        except (KeyError, TypeError, ValueError):
            raise not_understood(self._name, self._host) from None

    def reconcile(self, packets: Iterable[SealedPacket]) -> Iterator[Holding]:
        """See the base class."""
        remaining = iter(packets)
        while page := list(itertools.islice(remaining, RECONCILE_PAGE)):
            question = {
                "packets": [{"packet_id": packet.packet_id, "sha256": packet.sha256} for packet in page]
            }
            answer = self._request(
                "POST",
                "/v1/packets/reconcile",
                headers={"Content-Type": "application/json"},
                body=json.dumps(question).encode("ascii"),
            )
            document = document_of(self._name, self._host, answer)
            try:
                found = {
                    holding.packet_id: holding
                    for holding in map(self._holding, _objects(document["holdings"]))
                }
                answers = [found[packet.packet_id] for packet in page]
            except (KeyError, TypeError, ValueError):
                raise not_understood(self._name, self._host) from None
            yield from answers

    def close(self) -> None:
        """See the base class."""
        with self._lock:
            if self._made is not None:
                self._made.clear()

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
    ) -> BaseHTTPResponse:
        sent = {"Accept": "application/json, application/problem+json", **(headers or {})}
        if self._settings.token is not None:
            sent["Authorization"] = f"Bearer {self._settings.token.reveal()}"
        with translated(self._name, self._host):
            answer = self._pool.request(method, self._base + path, body=body, headers=sent, redirect=False)
        if answer.status not in (200, 201):
            refuse(self._name, self._host, answer, self._clock)
        return answer

    def _holding(self, line: Mapping[str, object]) -> Holding:
        receipt = line.get("receipt")
        return Holding(
            packet_id=str(line["packet_id"]),
            state=HoldingState(line["state"]),
            receipt=None if receipt is None else self._receipt(_object(receipt)),
        )

    def _receipt(self, document: Mapping[str, object]) -> Receipt:
        try:
            return Receipt(
                packet_id=str(document["packet_id"]),
                sha256=str(document["sha256"]),
                size=int(str(document["size"])),
                stored_at=_moment(document["stored_at"]),
                location=str(document.get("location", "")),
            )
        except (KeyError, ValueError):
            raise not_understood(self._name, self._host) from None


def _change(line: Mapping[str, object]) -> StatusChange:
    return StatusChange(
        packet_id=str(line["packet_id"]),
        status=str(line["status"]),
        changed_at=_moment(line["changed_at"]),
        note=str(line.get("note", "")),
    )


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _objects(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return [_object(item) for item in value]


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value
