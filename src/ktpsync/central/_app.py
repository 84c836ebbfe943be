"""The interface of the centre: ``docs/reference/central-api.md`` describes it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, fields
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from ktpsync.central._faults import Faults
from ktpsync.central._problem import DAMAGED, OTHER_BYTES, Problem, answer_problem
from ktpsync.central._processing import Processing
from ktpsync.central._store import CentralStore, Held
from ktpsync.clock import utc_from_ms, utc_text
from ktpsync.errors import PacketError
from ktpsync.packet import parse_packet_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from ktpsync.central._settings import CentralSettings

RECONCILE_PAGE: Final = 10_000
STATUS_PAGE: Final = 1_000

_CONTENT_DIGEST: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*(?:,|$)")


def create_app(settings: CentralSettings) -> Starlette:
    """Return the sandbox centre as an ASGI application.

    Args:
        settings: Its folder, keys, offices and stations.
    """
    store = CentralStore(settings.folder)
    processing = Processing(settings, store)
    centre = _Centre(settings, store, processing)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        processing.start()
        yield
        await run_in_threadpool(processing.stop)
        store.close()

    routes = [
        Route("/v1/health", centre.health, methods=["GET"]),
        Route("/v1/packets/reconcile", centre.reconcile, methods=["POST"]),
        Route("/v1/packets/{packet_id}", centre.put_packet, methods=["PUT"]),
        Route("/v1/packets/{packet_id}", centre.get_packet, methods=["GET"]),
        Route("/v1/statuses", centre.statuses, methods=["GET"]),
    ]
    if settings.faults:
        routes += [
            Route("/sandbox/faults", centre.set_faults, methods=["POST"]),
            Route("/sandbox/inventory", centre.inventory, methods=["GET"]),
        ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={Problem: answer_problem})


class _Centre:
    def __init__(self, settings: CentralSettings, store: CentralStore, processing: Processing) -> None:
        self._settings = settings
        self._store = store
        self._processing = processing
        self._faults = Faults()

    async def health(self, request: Request) -> Response:
        """``GET /v1/health``."""
        self._office(request)
        return JSONResponse({"status": "taking packets"})

    async def put_packet(self, request: Request) -> Response:
        """``PUT /v1/packets/{packet_id}``: durable before 201; the same again is 200 with the same receipt."""
        office = self._office(request)
        packet_id = _packet_id(request)
        announced = _content_digest(request)
        key = request.headers.get("Idempotency-Key")
        if key is not None and key.strip('"') != packet_id:
            raise Problem(400, "The Idempotency-Key is not the packet id.")
        sealed = await self._body(request)
        digest = hashlib.sha256(sealed).digest()
        if not hmac.compare_digest(digest, announced):
            raise Problem(
                400, "The body does not have its Content-Digest; send it again.", problem_type=DAMAGED
            )
        known = await run_in_threadpool(self._store.find, packet_id)
        if known is None:
            held, stored = await run_in_threadpool(self._store.add, packet_id, office, digest.hex(), sealed)
        else:
            held, stored = known, False
        if held.office != office:
            raise Problem(403, "This packet id belongs to another office.")
        if held.sha256 != digest.hex():
            raise Problem(422, "Other bytes are held under this packet id.", problem_type=OTHER_BYTES)
        self._processing.wake()
        return JSONResponse(self._faults.distort(held.receipt()), status_code=201 if stored else 200)

    async def get_packet(self, request: Request) -> Response:
        """``GET /v1/packets/{packet_id}``: receipt and status."""
        office = self._office(request)
        held = await run_in_threadpool(self._store.find, _packet_id(request))
        if held is None or held.office != office:
            raise Problem(404, "There is no such packet.")
        return JSONResponse({**held.receipt(), "status": held.status})

    async def reconcile(self, request: Request) -> Response:
        """``POST /v1/packets/reconcile``: which of these packets are held?"""
        office = self._office(request)
        try:
            question = await request.json()
            asked = [(str(line["packet_id"]), str(line["sha256"])) for line in question["packets"]]
        except (ValueError, KeyError, TypeError):
            raise Problem(400, 'Expected {"packets": [{"packet_id": ..., "sha256": ...}]}.') from None
        if len(asked) > RECONCILE_PAGE:
            raise Problem(413, f"Ask about {RECONCILE_PAGE} packets at a time, at most.")
        holdings = await run_in_threadpool(lambda: [self._holding(office, *line) for line in asked])
        return JSONResponse({"holdings": holdings})

    async def statuses(self, request: Request) -> Response:
        """``GET /v1/statuses?after=cursor``: what changed, oldest first."""
        office = self._office(request)
        try:
            after = int(request.query_params.get("after", "0"))
            limit = min(int(request.query_params.get("limit", STATUS_PAGE)), STATUS_PAGE)
        except ValueError:
            raise Problem(400, "Give 'after' as it was given to you, and 'limit' as a number.") from None
        if after < 0 or limit < 1:
            raise Problem(400, "Give 'after' as it was given to you, and 'limit' from 1.")
        changes = await run_in_threadpool(self._store.changes, office, after, limit)
        return JSONResponse(
            {
                "changes": [
                    {
                        "packet_id": change.packet_id,
                        "status": change.status,
                        "changed_at": utc_text(utc_from_ms(change.at_ms)),
                        "note": change.note,
                    }
                    for change in changes
                ],
                "cursor": str(changes[-1].seq if changes else after),
                "more": len(changes) == limit,
            }
        )

    async def set_faults(self, request: Request) -> Response:
        """``POST /sandbox/faults``: play trouble, or stop playing it."""
        known = {attribute.name for attribute in fields(Faults) if not attribute.name.startswith("_")}
        try:
            wanted: dict[str, Any] = dict(await request.json())
        except (ValueError, TypeError):
            wanted = {"?": None}
        if not wanted.keys() <= known:
            raise Problem(400, f"Known faults: {', '.join(sorted(known))}.")
        self._faults = evolve(self._faults, **wanted)
        return JSONResponse({name: getattr(self._faults, name) for name in sorted(known)})

    async def inventory(self, _request: Request) -> Response:
        """``GET /sandbox/inventory``: every packet, with the digest of the bytes on the disk and its effects."""
        lines = await run_in_threadpool(lambda: [_inventory_line(*line) for line in self._store.inventory()])
        return JSONResponse({"packets": lines})

    def _holding(self, office: str, packet_id: str, sha256: str) -> dict[str, object]:
        held = self._store.find(packet_id)
        if held is None or held.office != office:
            return {"packet_id": packet_id, "state": "missing"}
        if held.sha256 != sha256:
            return {"packet_id": packet_id, "state": "conflict"}
        return {"packet_id": packet_id, "state": "held", "receipt": held.receipt()}

    def _office(self, request: Request) -> str:
        self._faults.strike()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for token, office in self._settings.tokens.items():
                if hmac.compare_digest(token.encode(), given.encode()):
                    return office
        raise Problem(401, "The bearer token is not known.", headers={"WWW-Authenticate": "Bearer"})

    async def _body(self, request: Request) -> bytes:
        largest = self._settings.largest_packet
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > largest:
                raise Problem(413, f"A packet has {largest} bytes at most.")
        return bytes(body)


def _packet_id(request: Request) -> str:
    try:
        return parse_packet_id(request.path_params["packet_id"])
    except PacketError:
        raise Problem(400, "This is not a packet id: a UUIDv7 in lower case.") from None


def _content_digest(request: Request) -> bytes:
    match = _CONTENT_DIGEST.search(request.headers.get("Content-Digest", ""))
    try:
        return base64.b64decode(match[1] if match else "!", validate=True)
    except binascii.Error:
        raise Problem(400, "Give Content-Digest with sha-256 (RFC 9530).") from None


def _inventory_line(held: Held, digest: str) -> dict[str, object]:
    return {"packet_id": held.packet_id, "sha256": digest, "effects": held.effects, "status": held.status}
