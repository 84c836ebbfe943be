"""A packet that the centre gives back, as a file: read as it comes over the line, and checked at its end."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from typing import TYPE_CHECKING, Final

from urllib3.exceptions import HTTPError

from ktpsync.backends.http._failures import failure_of
from ktpsync.errors import CorruptError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from ktpsync.backends.http._failures import Peer

_BUFFER: Final = 64 << 10
_SHA256: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class _Raw(io.RawIOBase):
    def __init__(self, answer: BaseHTTPResponse, peer: Peer, packet_id: str) -> None:
        self._answer = answer
        self._peer = peer
        self._packet_id = packet_id
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        try:
            data = self._answer.read(len(buffer))
        except HTTPError as error:
            raise failure_of(self._peer, error) from error
        self._digest.update(data)
        if not data:
            self._check()
        buffer[: len(data)] = data
        return len(data)

    def _check(self) -> None:
        announced = _SHA256.search(self._answer.headers.get("Content-Digest", ""))
        if announced is not None and base64.b64decode(announced[1]) != self._digest.digest():
            raise CorruptError(
                f"{self._peer.name}: packet {self._packet_id} came damaged from {self._peer.host}: its bytes do not "
                "have the announced digest. Nothing was mended with it; try again."
            )

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()


def reader(answer: BaseHTTPResponse, peer: Peer, packet_id: str) -> io.BufferedReader:
    """Return a file object over the body of an answer. Closing it gives the connection back, or ends it.

    Args:
        answer: Whose body was not read yet.
        peer: Who answered.
        packet_id: Which packet it is, for messages.
    """
    return io.BufferedReader(_Raw(answer, peer, packet_id), _BUFFER)
