"""Couriers against a centre on real sockets that fails in every way; the effect is exactly once."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from ktpsync.courier import Courier, CourierPolicy
from ktpsync.errors import BackendError, ConflictError, ThrottledError, UnavailableError
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.packet import SealedPacket

SIZE = 4000


class FaultyCentre:
    """A server that stores packets for good and then plays the faults it was given, one per request."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.stores = 0
        self.faults: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def close(self) -> None:
        """Stop."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def serve(self) -> None:
        """One connection after the other."""
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self.answer(connection)
                except OSError:
                    continue

    def answer(self, connection: socket.socket) -> None:
        """Read one request, as far as the fault lets it, and answer it."""
        fault, _, value = (self.faults.pop(0) if self.faults else "").partition(":")
        data = b""
        while b"\r\n\r\n" not in data:
            data += received(connection, 1000)
        head, _, body = data.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        upto = int(value) if fault == "cut" else length
        while len(body) < upto:
            body += received(connection, min(1000, upto - len(body)))
        if fault == "cut":
            return
        if fault == "busy":
            after = f"Retry-After: {value}\r\n" if value else ""
            connection.sendall(f"HTTP/1.1 503 Busy\r\n{after}Content-Length: 0\r\n\r\n".encode())
            return
        packet_id = path.strip("/")
        if packet_id != "health" and packet_id not in self.stored:
            self.stored[packet_id] = body
            self.stores += 1
        held = self.stored.get(packet_id, b"")
        if fault == "lost":
            return
        digest = "0" * 64 if fault == "wrong" else hashlib.sha256(held).hexdigest()
        text = json.dumps({"sha256": digest, "size": len(held)}).encode()
        answer = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
        if fault == "slow":
            # The beginning of an answer, and then nothing: the client's own timeout has to end it.
            connection.sendall(answer[: int(value)])
            connection.recv(1)
            return
        connection.sendall(answer)


def received(connection: socket.socket, most: int) -> bytes:
    """Return what came in; a client that hangs up ends the request."""
    data = connection.recv(most)
    if not data:
        raise ConnectionResetError
    return data


class Client(Backend):
    """The least that a backend over HTTP does."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pool = urllib3.PoolManager(
            retries=False, timeout=0.3, headers={"Connection": "close"}, block=False
        )

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Send one request."""
        try:
            answer = self.pool.request(method, f"{self.url}/{path}", body=body)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(type(error).__name__) from error
        if answer.status == 503:
            after = answer.headers.get("Retry-After")
            raise ThrottledError("busy", retry_after=float(after) if after else None)
        if answer.status != 201:
            raise BackendError(str(answer.status))
        found: dict[str, Any] = json.loads(answer.data)
        return found

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Put it."""
        with packet.open() as file:
            told = self.ask("PUT", packet.packet_id, file.read())
        if told["sha256"] == hashlib.sha256(b"").hexdigest():
            raise ConflictError("empty")
        return Receipt(
            packet_id=packet.packet_id,
            sha256=told["sha256"],
            size=told["size"],
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def check(self) -> Health:
        """Ask for its health."""
        self.ask("GET", "health")
        return Health(summary="up")

    def close(self) -> None:
        """Close the pool."""
        self.pool.clear()


@pytest.fixture
def centre() -> Iterator[FaultyCentre]:
    """The server."""
    centre = FaultyCentre()
    yield centre
    centre.close()


@pytest.fixture
def deliver_all(station: Any, centre: FaultyCentre) -> Iterator[Callable[[], None]]:
    """Returns a function that drains until nothing is open, the test's clock moving along."""
    client = Client(centre.listener.getsockname()[1])
    courier = Courier(
        station.outbox,
        "central",
        client,
        policy=CourierPolicy(concurrency=1),
        clock=station.clock,
        random=random.Random(5),
    )

    def deliver() -> None:
        for _ in range(200):
            report = courier.drain()
            if report.retry_in is None:
                return
            station.clock.advance(report.retry_in + 0.001)
        pytest.fail("not delivered")

    yield deliver
    client.close()


@pytest.mark.parametrize(
    "faults",
    [
        *([f"cut:{upto}"] for upto in (0, 1, 2, 63, 64, 999, 1000, 1001, 2048, SIZE - 1, SIZE)),
        [f"cut:{upto}" for upto in range(0, SIZE, 400)],
        ["lost"],
        ["lost"] * 12,
        ["busy"] * 6,
        ["busy:30", "busy:7", "lost", "busy"],
        *([f"slow:{upto}"] for upto in (0, 12, 40)),
        ["lost", "slow:20", "cut:17", "busy:1"] * 3,
    ],
    ids=lambda faults: "+".join(faults)[:40],
)
def test_effect_is_exactly_once(
    station: Any, centre: FaultyCentre, deliver_all: Callable[[], None], faults: list[str]
) -> None:
    """Whatever breaks, each packet ends up at the centre once, whole, with a receipt."""
    sent = {}
    for _ in range(3):
        data = random.Random(len(sent)).randbytes(SIZE)
        sent[station.submit(data).packet.packet_id] = data
    centre.faults = list(faults)
    deliver_all()
    assert (sent, 3) == (centre.stored, centre.stores)
    (central, _usb) = station.outbox.summary()
    assert (3, 0, 0, 0) == (central.delivered, central.pending, central.leased, central.rejected)
    assert [] == centre.faults


def test_a_wrong_receipt_waits_for_a_person_and_is_settled_by_asking_again(
    station: Any, centre: FaultyCentre, deliver_all: Callable[[], None]
) -> None:
    """A receipt with another digest is not taken; requeued, the packet gets its true one without a second store."""
    packet_id = station.submit(bytes(SIZE)).packet.packet_id
    centre.faults = ["wrong"]
    deliver_all()
    assert ["corrupt"] == [view.code for view in station.outbox.rejected("central")]
    station.outbox.requeue(packet_id, "central", who="siti", why="asked the centre")
    deliver_all()
    assert (1, []) == (centre.stores, list(station.outbox.rejected("central")))
