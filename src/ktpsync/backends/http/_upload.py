"""One packet over a line that may break: what arrived is never sent again."""

from __future__ import annotations

import base64
import io
import re
import threading
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync.backends.http._failures import (
    BrokenOffError,
    DamagedInTransitError,
    NoAnswerError,
    not_understood,
)
from ktpsync.backends.http._line import QUESTION_SECONDS
from ktpsync.errors import ConflictError, CorruptError, RejectedError, UnavailableError
from ktpsync.files import sha256_of
from ktpsync.units import amount

if TYPE_CHECKING:
    from typing import BinaryIO

    from ktpsync.backends.http._answer import Answer
    from ktpsync.backends.http._line import Line
    from ktpsync.packet import SealedPacket

_STUCK: Final = 4
"""So many breaks in a row that brought nothing over are borne: a connection that had gone stale, a request that was
still on its way when the next one came."""

_SILENCE: Final = 3
"""An answer that did not come in time counts as so many breaks: each one takes minutes."""

_BREAKS: Final = 200
"""So many breaks end a delivery even if each brought something over; the next one goes on from there."""

_REMEMBERED: Final = 10_000
_NO_CONTENT: Final = 204
_MAX_SIZE: Final = re.compile(r"(?:^|[,\s])max-size=([0-9]{1,15})\b")


@frozen(kw_only=True)
class _Position:
    """How far a packet is at the centre.

    Args:
        offset: Bytes that arrived.
        complete: Whether it is stored whole.
    """

    offset: int = 0
    complete: bool = False


class Uploader:
    """Brings packets over.

    Args:
        line: The way to the centre.
        ask_first_from: Size from which the centre is asked first how far a packet is.
    """

    def __init__(self, line: Line, *, ask_first_from: int) -> None:
        self._line = line
        self._ask_first_from = ask_first_from
        self._lock = threading.Lock()
        self._broken: dict[str, None] = {}

    def upload(self, packet: SealedPacket) -> Answer:
        """Bring a packet over and return the answer that has its receipt.

        Raises:
            BackendError: It did not arrive whole; what did is not sent again next time.
        """
        ask_first = packet.size >= self._ask_first_from or packet.packet_id in self._broken
        try:
            answer = self._upload(packet, ask_first=ask_first)
        except UnavailableError:
            with self._lock:
                if len(self._broken) >= _REMEMBERED:
                    self._broken.clear()
                self._broken[packet.packet_id] = None
            raise
        if packet.packet_id in self._broken:
            with self._lock:
                self._broken.pop(packet.packet_id, None)
        return answer

    def _upload(self, packet: SealedPacket, *, ask_first: bool) -> Answer:
        position = None if ask_first else _Position()
        broken: BrokenOffError | None = None
        furthest = stuck = 0
        for _ in range(_BREAKS):
            if position is None:
                try:
                    position = self._ask(packet)
                except BrokenOffError as error:
                    stuck += _weight(error)
                    if stuck > _STUCK:
                        raise
                    continue
                if position.complete or position.offset > furthest:
                    furthest, stuck = position.offset, 0
                if broken is not None and stuck > _STUCK:
                    raise broken
            try:
                return self._send(packet, position)
            except BrokenOffError as error:
                # Whether it brought something over, or why not, the next question tells.
                broken, position = error, None
                stuck += _weight(error)
        raise UnavailableError(
            f"{self._line.peer.name}: the line broke {_BREAKS} times over packet {packet.packet_id}, of which "
            f"{amount(furthest)} arrived. It goes on from there by itself."
        )

    def _send(self, packet: SealedPacket, position: _Position) -> Answer:
        path = f"/v1/packets/{packet.packet_id}"
        if position.complete:
            return self._line.request("GET", path, headers={})
        rest = packet.size - position.offset
        headers = {"Content-Length": str(rest), "Upload-Complete": "?1"}
        if position.offset:
            method, path = "PATCH", f"{path}/upload"
            headers |= {
                "Content-Type": "application/partial-upload",
                "Upload-Offset": str(position.offset),
            }
        else:
            method = "PUT"
            headers |= {
                "Content-Type": "application/octet-stream",
                "Content-Digest": _digest(packet.sha256),
                "Idempotency-Key": f'"{packet.packet_id}"',
            }
        try:
            return self._line.request(
                method, path, headers=headers, body=lambda: self._opened(packet, position.offset)
            )
        except DamagedInTransitError:
            with packet.open() as body:
                digest_here, _ = sha256_of(body)
            if digest_here == packet.sha256:
                raise
            raise CorruptError(
                f"{self._line.peer.name}: the bytes of packet {packet.packet_id} are damaged here (SHA-256 "
                f"{digest_here}); the centre refused them. Fetch a good copy from the backup."
            ) from None

    def _ask(self, packet: SealedPacket) -> _Position:
        """Ask how much of a packet arrived. A centre that does not know the question has nothing of it."""
        answer = self._line.request(
            "HEAD",
            f"/v1/packets/{packet.packet_id}/upload",
            headers={},
            accepted=(200, _NO_CONTENT, 404, 405, 501),
            patience=QUESTION_SECONDS,
        )
        if answer.status not in {200, _NO_CONTENT}:
            return _Position()
        limit = _MAX_SIZE.search(answer.headers.get("Upload-Limit", ""))
        if limit is not None and int(limit[1]) < packet.size:
            raise RejectedError(
                f"{self._line.peer.name}: packet {packet.packet_id} has {amount(packet.size)} and is larger than the "
                f"centre takes ({amount(int(limit[1]))}). Ask the centre."
            )
        complete = answer.headers.get("Upload-Complete", "?0").strip() == "?1"
        theirs = answer.headers.get("Repr-Digest")
        ours = theirs is None or _digest(packet.sha256) in theirs
        if complete and not ours:
            raise ConflictError(
                f"{self._line.peer.name}: the centre holds other bytes under packet id {packet.packet_id}. Ask the "
                "centre."
            )
        try:
            offset = int(answer.headers.get("Upload-Offset", "0"))
        except ValueError:
            raise not_understood(self._line.peer) from None
        if not ours or not 0 <= offset <= packet.size:
            return _Position()
        return _Position(offset=offset, complete=complete)

    def _opened(self, packet: SealedPacket, offset: int) -> BinaryIO:
        file = packet.open()
        size = file.seek(0, io.SEEK_END)
        if size != packet.size:
            file.close()
            raise CorruptError(
                f"{self._line.peer.name}: packet {packet.packet_id} has {size} bytes here instead of {packet.size}. "
                "Fetch a good copy from the backup."
            )
        file.seek(offset)
        return file


def _weight(error: BrokenOffError) -> int:
    return _SILENCE if isinstance(error, NoAnswerError) else 1


def _digest(sha256: str) -> str:
    """Return a digest as RFC 9530 writes it."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"
