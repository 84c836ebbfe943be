"""The feed of registration statuses, and whether the centre is well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ktpsync.central._problem import Problem
from ktpsync.clock import utc_from_ms, utc_text

if TYPE_CHECKING:
    from starlette.requests import Request

    from ktpsync.central._gate import Gate
    from ktpsync.central._store import CentralStore

STATUS_PAGE: Final = 1_000
"""Changes in one answer, at most."""

_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Feed:
    """The requests about statuses.

    Args:
        gate: Who asks.
        store: What is held.
    """

    def __init__(self, gate: Gate, store: CentralStore) -> None:
        self._gate = gate
        self._store = store

    async def health(self, request: Request) -> Response:
        """Tell whether packets are taken."""
        self._gate.office(request)
        return JSONResponse({"status": "taking packets"})

    async def statuses(self, request: Request) -> Response:
        """Tell what changed after a cursor, oldest first."""
        office = self._gate.office(request)
        after = _number(request, "after", "0")
        limit = _number(request, "limit", str(STATUS_PAGE))
        if not 1 <= limit <= STATUS_PAGE:
            raise Problem(400, f"Give 'limit' from 1 to {STATUS_PAGE}.")
        changes = await run_in_threadpool(self._store.changes, office, after, limit)
        cursor = changes[-1].seq if changes else after
        # Changes are only ever added, so a page is told by where it begins, its limit and where it ends.
        tag = f'W/"{after}-{limit}-{cursor}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in _tags(request):
            return Response(status_code=304, headers=headers)
        lines = [
            {
                "packet_id": change.packet_id,
                "status": change.status,
                "changed_at": utc_text(utc_from_ms(change.at_ms)),
                "note": change.note,
            }
            for change in changes
        ]
        document = {"changes": lines, "cursor": str(cursor), "more": len(changes) == limit}
        return JSONResponse(document, headers=headers)


def _tags(request: Request) -> list[str]:
    return [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]


def _number(request: Request, name: str, default: str) -> int:
    value = request.query_params.get(name, default)
    if not _NUMBER.fullmatch(value):
        raise Problem(400, "Give 'after' as it was given to you, and 'limit' as a number.")
    return int(value)
