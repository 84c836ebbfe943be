"""Packets come in: in one piece or resumed, stored durably before the answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response

from ktpsync.central._body import parts, read_json
from ktpsync.central._problem import (
    COMPLETED_UPLOAD,
    DAMAGED,
    INCONSISTENT_LENGTH,
    MISMATCHING_OFFSET,
    OTHER_BYTES,
    Problem,
)
from ktpsync.central._store import FAILED
from ktpsync.errors import PacketError
from ktpsync.packet import parse_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ktpsync.central._gate import Gate
    from ktpsync.central._settings import CentralSettings
    from ktpsync.central._store import CentralStore, Held
    from ktpsync.central._uploads import Upload, Uploads

RECONCILE_PAGE: Final = 10_000
"""Packets asked about in one request, at most."""

_RECONCILE_BYTES: Final = 4 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT_DIGEST: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*(?:,|$)")
_INTEGER: Final = re.compile(r"[0-9]{1,15}")


class Packets:
    """The requests about packets.

    Args:
        settings: The limits.
        gate: Who asks.
        store: What is held.
        uploads: What is on its way.
        stored: Called when something new is stored.
    """

    def __init__(
        self,
        settings: CentralSettings,
        gate: Gate,
        store: CentralStore,
        uploads: Uploads,
        stored: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._store = store
        self._uploads = uploads
        self._stored = stored

    async def put(self, request: Request) -> Response:
        """Store a packet."""
        office = self._gate.office(request)
        packet_id = _packet_id(request)
        sha256 = _content_digest(request)
        key = request.headers.get("Idempotency-Key")
        if key is not None and key.strip('"') != packet_id:
            raise Problem(400, "The Idempotency-Key is not the packet id.")
        resumable = _to_the_end(request)
        size = self._length(request)
        upload = self._uploads.begin(office, packet_id, sha256, size)
        return await self._pour(request, upload, keep=resumable)

    async def get(self, request: Request) -> Response:
        """Tell what is held of a packet: the receipt and the status."""
        held = await self._asked_for(request)
        return JSONResponse({**held.receipt(), "status": held.status})

    async def sealed(self, request: Request) -> Response:
        """Give a packet back, for an office whose own copies are damaged."""
        held = await self._asked_for(request)
        return FileResponse(
            self._store.path(held.packet_id, held.sha256),
            media_type="application/octet-stream",
            headers={"Content-Digest": _digest(held.sha256)},
        )

    async def offset(self, request: Request) -> Response:
        """Tell how much of a packet came so far; an upload under way ends by it."""
        office = self._gate.office(request)
        packet_id = _packet_id(request)
        held = await self._held_at_last(office, packet_id)
        if held is not None:
            return self._position(held.sha256, held.size, held.size, complete=True)
        upload = self._uploads.interrupted(office, packet_id)
        if upload is None:
            return self._position(None, 0, 0, complete=False)
        self._uploads.leave(upload, keep=True)
        return self._position(upload.sha256, upload.size, upload.offset, complete=False)

    async def append(self, request: Request) -> Response:
        """Go on with an interrupted upload, to its end."""
        office = self._gate.office(request)
        packet_id = _packet_id(request)
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/partial-upload":
            raise Problem(
                415,
                "Send application/partial-upload.",
                headers={"Accept-Patch": "application/partial-upload"},
            )
        if not _to_the_end(request):
            raise Problem(400, "Send all the rest in one request, with Upload-Complete: ?1.")
        offset = _integer(request, "Upload-Offset")
        if offset is None:
            raise Problem(400, "Give Upload-Offset.")
        length = self._length(request)
        if await self._held_at_last(office, packet_id) is not None:
            raise Problem(409, "The packet is stored whole.", problem_type=COMPLETED_UPLOAD)
        expected = self._uploads.offset(office, packet_id)
        # Only who goes on at the right byte takes over: a request that was delayed ends no newer one.
        upload = self._uploads.interrupted(office, packet_id) if offset == expected else None
        if upload is None:
            raise Problem(
                409,
                f"The upload goes on at byte {expected}.",
                problem_type=MISMATCHING_OFFSET,
                headers={"Upload-Offset": str(expected)},
            )
        if offset + length != upload.size:
            self._uploads.leave(upload, keep=True)
            raise Problem(400, f"The whole has {upload.size} bytes.", problem_type=INCONSISTENT_LENGTH)
        return await self._pour(request, upload, keep=True)

    async def cancel(self, request: Request) -> Response:
        """Forget what came of a packet that is not whole."""
        office = self._gate.office(request)
        self._uploads.cancel(office, _packet_id(request))
        return Response(status_code=204)

    async def reconcile(self, request: Request) -> Response:
        """Tell which of these packets are held."""
        office = self._gate.office(request)
        question = await read_json(request, limit=_RECONCILE_BYTES)
        try:
            asked = [(parse_packet_id(line["packet_id"]), line["sha256"]) for line in question["packets"]]
            fits = isinstance(question["packets"], list) and all(
                _SHA256.fullmatch(sha256) for _, sha256 in asked
            )
        except (KeyError, TypeError, AttributeError, PacketError):
            asked, fits = [], False
        if not fits:
            raise Problem(400, 'Expected {"packets": [{"packet_id": "...", "sha256": "..."}]}.')
        if len(asked) > RECONCILE_PAGE:
            raise Problem(413, f"Ask about {RECONCILE_PAGE} packets at a time, at most.")
        holdings = await run_in_threadpool(self._holdings, office, asked)
        return JSONResponse({"holdings": holdings})

    async def _pour(self, request: Request, upload: Upload, *, keep: bool) -> Response:
        """Take the body and answer with the receipt; what came of a broken one is kept for later."""
        try:
            async for part in parts(request, patience=self._settings.patience):
                upload.append(part)
            held, new = await self._uploads.settle(upload, self._settle)
            keep = False
        except Problem as problem:
            keep = keep and problem.status in {408, 409}
            raise
        finally:
            self._uploads.leave(upload, keep=keep)
        self._uploads.drop(upload.office, upload.packet_id)
        if held.office != upload.office or held.sha256 != upload.sha256:
            raise Problem(422, "Other bytes are held under this packet id.", problem_type=OTHER_BYTES)
        self._stored()
        receipt = self._gate.faults.distort(held.receipt())
        headers = {"Upload-Complete": "?1", "Location": str(receipt["location"])}
        return JSONResponse(receipt, status_code=201 if new else 200, headers=headers)

    def _settle(self, upload: Upload) -> tuple[Held, bool]:
        if upload.offset != upload.size:
            raise Problem(400, "Fewer bytes came than were announced.", problem_type=INCONSISTENT_LENGTH)
        if not hmac.compare_digest(upload.digest(), upload.sha256):
            raise Problem(
                400, "The body does not have its Content-Digest; send it again.", problem_type=DAMAGED
            )
        known = self._store.find(upload.packet_id)
        if known is not None:
            same = (known.office, known.sha256) == (upload.office, upload.sha256)
            return self._store.take_up(known) if same else known, False
        return self._store.add(upload.packet_id, upload.office, upload.sha256, upload.size, upload.path)

    async def _asked_for(self, request: Request) -> Held:
        """Return the packet that is asked for, if this office has it here."""
        office = self._gate.office(request)
        held = await self._held(office, _packet_id(request))
        if held is None:
            raise Problem(404, "There is no such packet.")
        return held

    async def _held(self, office: str, packet_id: str) -> Held | None:
        held = await run_in_threadpool(self._store.find, packet_id)
        return held if held is not None and held.office == office else None

    async def _held_at_last(self, office: str, packet_id: str) -> Held | None:
        """Return a packet, or ``None`` when it is neither held nor about to be, or failed: then it may come again."""
        while True:
            held = await self._held(office, packet_id)
            if held is not None and held.status == FAILED:
                return None
            if held is not None or not await self._uploads.settled(office, packet_id):
                return held

    def _holdings(self, office: str, asked: list[tuple[str, str]]) -> list[dict[str, object]]:
        found = self._store.find_all(office, [packet_id for packet_id, _ in asked])
        return [_holding(packet_id, sha256, found.get(packet_id)) for packet_id, sha256 in asked]

    def _length(self, request: Request) -> int:
        length = _integer(request, "Content-Length")
        if length is None:
            raise Problem(411, "Give Content-Length.")
        if length > self._settings.largest_packet:
            raise Problem(
                413,
                f"A packet has {self._settings.largest_packet} bytes at most.",
                headers={"Upload-Limit": self._limit()},
            )
        if request.headers.get("Upload-Length", str(length)) != str(length) and request.method == "PUT":
            raise Problem(400, "Upload-Length and Content-Length differ.", problem_type=INCONSISTENT_LENGTH)
        return length

    def _limit(self) -> str:
        return f"max-size={self._settings.largest_packet}, max-age={int(self._settings.upload_age)}"

    def _position(self, sha256: str | None, size: int, offset: int, *, complete: bool) -> Response:
        headers = {
            "Upload-Offset": str(offset),
            "Upload-Complete": f"?{complete:d}",
            "Upload-Limit": self._limit(),
            "Cache-Control": "no-store",
        }
        if sha256 is not None:
            headers |= {"Upload-Length": str(size), "Repr-Digest": _digest(sha256)}
        return Response(status_code=204, headers=headers)


def _holding(packet_id: str, sha256: str, held: Held | None) -> dict[str, object]:
    if held is None:
        return {"packet_id": packet_id, "state": "missing"}
    if held.sha256 != sha256:
        return {"packet_id": packet_id, "state": "conflict"}
    return {"packet_id": packet_id, "state": "held", "receipt": held.receipt()}


def _packet_id(request: Request) -> str:
    try:
        return parse_packet_id(request.path_params["packet_id"])
    except PacketError:
        raise Problem(400, "This is not a packet id: a UUIDv7 in lower case.") from None


def _digest(sha256: str) -> str:
    """Return a digest as RFC 9530 writes it."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


def _content_digest(request: Request) -> str:
    match = _CONTENT_DIGEST.search(request.headers.get("Content-Digest", ""))
    try:
        return base64.b64decode(match[1] if match else "!", validate=True).hex()
    except binascii.Error:
        raise Problem(400, "Give Content-Digest with sha-256 (RFC 9530).") from None


def _to_the_end(request: Request) -> bool:
    """Return whether ``Upload-Complete`` is given; only bodies that go to the end are taken."""
    value = request.headers.get("Upload-Complete")
    if value is not None and value.strip() != "?1":
        raise Problem(400, "Send all in one request, with Upload-Complete: ?1.")
    return value is not None


def _integer(request: Request, name: str) -> int | None:
    value = request.headers.get(name)
    if value is None:
        return None
    if not _INTEGER.fullmatch(value):
        raise Problem(400, f"{name} is not a number of bytes.")
    return int(value)
