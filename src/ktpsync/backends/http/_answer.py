"""What came back for a request, read to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from urllib3.exceptions import HTTPError

from ktpsync.backends.http._failures import failure_of
from ktpsync.errors import UnavailableError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from ktpsync.backends.http._failures import Peer

_LARGEST: Final = 64 << 20
"""Bytes of a body that is no packet, at most; ten thousand receipts have some three million."""


@frozen(kw_only=True)
class Answer:
    """An answer.

    Args:
        status: Its status.
        headers: Its headers; any case finds them.
        data: Its body.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


def whole(response: BaseHTTPResponse, peer: Peer) -> Answer:
    """Read an answer to its end, and give the connection back.

    Raises:
        UnavailableError: It has no end, so whoever answers is not the centre; or the line broke.
    """
    try:
        data = response.read(_LARGEST + 1)
    except HTTPError as error:
        raise failure_of(peer, error) from error
    if len(data) > _LARGEST:
        response.close()
        raise UnavailableError(
            f"{peer.name}: {peer.host} answered more than {_LARGEST >> 20} MiB where a few lines were asked for, so it is "
            "not the centre that answers. It is tried again by itself."
        )
    return Answer(status=response.status, headers=response.headers, data=data)
