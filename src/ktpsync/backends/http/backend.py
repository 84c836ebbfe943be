"""The HTTP backend: a client of the interface in ``docs/reference/central-api.md``."""

from __future__ import annotations

import gzip
import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, TypeVar
from urllib.parse import quote

from ktpsync.backends.http._documents import holdings_of, receipt_of, status_page_of
from ktpsync.backends.http._failures import document_of, is_web_page, not_understood, portal
from ktpsync.backends.http._line import QUESTION_SECONDS, Line
from ktpsync.backends.http._reader import reader
from ktpsync.backends.http._settings import HttpSettings, OAuthSettings
from ktpsync.backends.http._upload import Uploader
from ktpsync.errors import NotFoundError
from ktpsync.plugins import Capability, CentralBackend, Health, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ktpsync.backends.http._answer import Answer
    from ktpsync.packet import SealedPacket
    from ktpsync.plugins import BackendContext, Holding, Receipt

__all__ = ["HttpBackend", "HttpSettings", "OAuthSettings"]

T = TypeVar("T")

RECONCILE_PAGE: Final = 10_000
"""Packets asked about in one request, at most."""

_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404


class HttpBackend(CentralBackend):
    """The central service.

    Args:
        settings: Where, and with which credentials.
        context: The destination's name and the clock.
    """

    capabilities: ClassVar[frozenset[Capability]] = CentralBackend.capabilities | {Capability.RESUMABLE}

    def __init__(self, settings: HttpSettings, context: BackendContext) -> None:
        self._unchecked = settings.danger_accept_any_certificate
        self._line = Line(settings, context)
        self._uploader = Uploader(self._line, ask_first_from=settings.ask_first_from)
        self._last_page: tuple[str, str] | None = None

    def deliver(self, packet: SealedPacket) -> Receipt:
        """See the base class."""
        return self._understood(self._uploader.upload(packet), receipt_of)

    def check(self) -> Health:
        """See the base class."""
        peer = self._line.peer
        document = document_of(
            peer, self._line.request("GET", "/v1/health", headers={}, patience=QUESTION_SECONDS)
        )
        warning = "UNSAFE, danger_accept_any_certificate is set: " if self._unchecked else ""
        said = peer.reason(str(document.get("status", "well")))
        return Health(summary=f"{warning}The centre at {peer.host} answers: {said}.")

    def statuses(self, cursor: str | None) -> StatusPage:
        """See the base class."""
        query = "" if cursor is None else f"?after={quote(cursor, safe='')}"
        last = self._last_page
        headers = {"If-None-Match": last[1]} if last is not None and last[0] == cursor else {}
        answer = self._line.request(
            "GET", f"/v1/statuses{query}", headers=headers, accepted=(200, _NOT_MODIFIED)
        )
        if answer.status == _NOT_MODIFIED and cursor is not None:
            return StatusPage(changes=(), cursor=cursor, more=False)
        page = self._understood(answer, status_page_of)
        tag = answer.headers.get("ETag")
        # Only an empty page is asked for again with the same cursor.
        self._last_page = (page.cursor, tag) if tag and not page.changes and not page.more else None
        return page

    def reconcile(self, packets: Iterable[SealedPacket]) -> Iterator[Holding]:
        """See the base class."""
        remaining = iter(packets)
        while page := list(itertools.islice(remaining, RECONCILE_PAGE)):
            question = {
                "packets": [{"packet_id": packet.packet_id, "sha256": packet.sha256} for packet in page]
            }
            answer = self._line.request(
                "POST",
                "/v1/packets/reconcile",
                headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
                body=gzip.compress(json.dumps(question).encode("ascii"), compresslevel=6, mtime=0),
            )
            yield from self._understood(answer, partial(holdings_of, [packet.packet_id for packet in page]))

    def fetch(self, packet_id: str) -> BinaryIO:
        """See the base class."""
        peer = self._line.peer
        answer = self._line.stream(
            f"/v1/packets/{packet_id}/sealed",
            headers={"Accept": "application/octet-stream", "Accept-Encoding": "identity"},
            accepted=(200, _NOT_FOUND),
        )
        if answer.status == _NOT_FOUND:
            answer.close()
            raise NotFoundError(f"{peer.name}: the centre does not hold packet {packet_id}.")
        if is_web_page(answer):
            answer.close()
            raise portal(peer)
        return reader(answer, peer, packet_id)

    def close(self) -> None:
        """See the base class."""
        self._line.close()

    def _understood(self, answer: Answer, read: Callable[[Mapping[str, object]], T]) -> T:
        """Return what an answer's JSON object says."""
        document = document_of(self._line.peer, answer)
        try:
            return read(document)
        except (KeyError, TypeError, ValueError):
            raise not_understood(self._line.peer) from None
