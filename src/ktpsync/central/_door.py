"""The sandbox's back door, open only when asked for: faults, the inventory, and the person who adjudicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, fields
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ktpsync.central._body import read_json
from ktpsync.central._faults import Faults
from ktpsync.central._problem import Problem
from ktpsync.central._processing import DUPLICATE, UNIQUE

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ktpsync.central._gate import Gate
    from ktpsync.central._store import CentralStore, Held

_JSON_BYTES = 65_536


class Door:
    """The requests under ``/sandbox/``.

    Args:
        gate: Where trouble is played.
        store: What is held.
    """

    def __init__(self, gate: Gate, store: CentralStore) -> None:
        self._gate = gate
        self._store = store

    async def faults(self, request: Request) -> Response:
        """Play trouble, or stop playing it."""
        known = sorted(attribute.name for attribute in fields(Faults) if attribute.name[0] != "_")
        wanted = await read_json(request, limit=_JSON_BYTES)
        if not isinstance(wanted, dict) or not wanted.keys() <= set(known):
            raise Problem(400, f"Known faults: {', '.join(known)}.")
        self._gate.faults = evolve(self._gate.faults, **_checked(wanted))
        return JSONResponse({name: getattr(self._gate.faults, name) for name in known})

    async def inventory(self, _request: Request) -> Response:
        """Tell every packet, with the digest of the bytes on the disk and its effects."""
        lines = await run_in_threadpool(lambda: [_line(*entry) for entry in self._store.inventory()])
        return JSONResponse({"packets": lines})

    async def adjudications(self, _request: Request) -> Response:
        """Tell which packets wait for a person's judgement, oldest first."""
        cases = await run_in_threadpool(self._store.waiting)
        return JSONResponse({"packets": [{"packet_id": held.packet_id} for held in cases]})

    async def adjudicate(self, request: Request) -> Response:
        """Judge one packet: ``unique`` or ``duplicate``."""
        wanted = await read_json(request, limit=_JSON_BYTES)
        decision = wanted.get("decision") if isinstance(wanted, dict) else None
        if decision not in ("unique", "duplicate"):
            raise Problem(400, 'Expected {"decision": "unique"} or {"decision": "duplicate"}.')
        status = UNIQUE if decision == "unique" else DUPLICATE
        packet_id = request.path_params["packet_id"]
        if not await run_in_threadpool(self._store.judge, packet_id, status):
            raise Problem(404, "No packet of this id waits for a judgement.")
        return JSONResponse({"packet_id": packet_id, "status": status})


def _checked(wanted: dict[str, Any]) -> dict[str, Any]:
    for name, value in wanted.items():
        if name == "outage":
            fits = isinstance(value, bool)
        elif value is None:
            fits = name == "retry_after"
        else:
            smallest = 400 if name == "fail_status" else 0
            fits = type(value) is int and smallest <= value <= (599 if name == "fail_status" else 1_000_000)
        if not fits:
            raise Problem(400, f"This is no value for {name!r}.")
    return wanted


def _line(held: Held, digest: str) -> dict[str, object]:
    return {"packet_id": held.packet_id, "sha256": digest, "effects": held.effects, "status": held.status}
