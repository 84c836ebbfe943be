"""Reading what a request carries, with limits of size and patience."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect

from ktpsync.central._problem import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

UNREAD: Final = "ktpsync_unread"
"""Key of what arrived before the connection broke, in a request's state."""

_PATIENCE: Final = 60.0
_GZIP: Final = 16 + zlib.MAX_WBITS


async def parts(request: Request, *, patience: float = _PATIENCE) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Args:
        request: The request.
        patience: Seconds to wait for more.

    Raises:
        Problem: The client went away or sends nothing any more.
    """
    stream = request.stream()
    try:
        async with asyncio.timeout(patience) as limit:
            async for part in stream:
                if part:
                    yield part
                limit.reschedule(asyncio.get_running_loop().time() + patience)
    except ClientDisconnect:
        if unread := getattr(request.state, UNREAD, b""):
            yield unread
        raise Problem(408, "The connection broke off.") from None
    except TimeoutError:
        raise Problem(
            408, f"Nothing more came for {patience:g} seconds.", headers={"Connection": "close"}
        ) from None


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return a small body, taken out of ``Content-Encoding: gzip`` if need be.

    Raises:
        Problem: It has more bytes than ``limit``, or is encoded in another way.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"gzip", "identity"}:
        raise Problem(415, "Send it plain or with gzip.", headers={"Accept-Encoding": "gzip"})
    body = bytearray()
    async for part in parts(request):
        body += part
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body) if encoding == "identity" else _unpacked(bytes(body), limit)


async def read_json(request: Request, *, limit: int) -> Any:
    """Return what a JSON body says.

    Raises:
        Problem: It is no JSON or too large.
    """
    body = await read_body(request, limit=limit)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON in UTF-8.") from None


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, limit + 1)
    except zlib.error:
        raise Problem(400, "The body is not gzip.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not unpacking.eof:
        raise Problem(400, "The gzip body is cut short.")
    return plain


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body has {limit} bytes at most.")
