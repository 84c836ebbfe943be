"""The sandbox centre as an ASGI application: which request goes where."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Route

from ktpsync.central._access import Access
from ktpsync.central._door import Door
from ktpsync.central._feed import Feed
from ktpsync.central._gate import Gate
from ktpsync.central._operations import by_path
from ktpsync.central._packets import Packets
from ktpsync.central._problem import Problem, answer_problem
from ktpsync.central._processing import Processing
from ktpsync.central._store import CentralStore
from ktpsync.central._uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from ktpsync.central._settings import CentralSettings

_COMPRESSED_FROM = 1000
"""Bytes of an answer from which gzip pays."""


def create_app(settings: CentralSettings) -> Starlette:
    """Return the sandbox centre as an ASGI application.

    Args:
        settings: Its folder, keys, offices and stations.
    """
    access = Access(settings)
    uploads = Uploads(settings)
    # After what may refuse the settings: nobody would close it.
    store = CentralStore(settings.folder)
    processing = Processing(settings, store)
    gate = Gate(access)
    packets = Packets(settings, gate, store, uploads, processing.wake)
    feed = Feed(gate, store)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        processing.start()
        try:
            yield
        finally:
            await run_in_threadpool(processing.stop)
            store.close()

    rooms = {"access": access, "door": Door(gate, store), "feed": feed, "packets": packets}
    routes = [
        Route(
            path,
            _Methods(
                {operation.method: getattr(rooms[operation.room], operation.name) for operation in operations}
            ),
        )
        for path, operations in by_path(sandbox=settings.faults).items()
    ]
    handlers = dict.fromkeys((Problem, HTTPException, OSError, Exception), answer_problem)
    middleware = [Middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=middleware)


class _Methods:
    """All methods of one path, so that a wrong one is told the right ones and no other path is tried.

    Args:
        endpoints: Method to what answers it.
    """

    def __init__(self, endpoints: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints.setdefault("HEAD", endpoints["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self._endpoints))})
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
