"""Couriers against a centre on real sockets that fails in every way; the effect is exactly once."""

from __future__ import annotations

import email.utils
import hashlib
import json
import random
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.backends.http._settings import HttpSettings
from ktpsync.backends.http.backend import HttpBackend
from ktpsync.courier import Courier, CourierPolicy
from ktpsync.plugins import BackendContext, Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 4000


class FaultyCentre:
    """A server that stores packets for good and then plays the faults it was given, one per request."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.stores = 0
        self.received: list[str] = []
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
            status, _, after = value.partition(",")
            retry = f"Retry-After: {self.moment(after)}\r\n" if after else ""
            answer = (
                f"HTTP/1.1 {status} Busy\r\n{retry}Date: {self.moment('+0')}\r\nContent-Length: 0\r\n\r\n"
            )
            connection.sendall(answer.encode())
            return
        method, packet_id = head.split(b" ")[0].decode(), path.removeprefix("/v1/packets/").partition("/")[0]
        if method == "PUT":
            self.received.append(packet_id)
            if packet_id not in self.stored:
                self.stored[packet_id] = body
                self.stores += 1
        if fault == "lost":
            return
        connection.sendall(
            self.said(method, path, packet_id, fault)[: int(value) if fault == "slow" else None]
        )
        if fault == "slow":
            # The beginning of an answer, and then nothing: the client's own timeout has to end it.
            connection.recv(1)

    def moment(self, text: str) -> str:
        """Return seconds as they are, or ``+seconds`` as the other form, a date (RFC 9110)."""
        if not text.startswith("+"):
            return text
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text))
        return email.utils.format_datetime(moment, usegmt=True)

    def said(self, method: str, path: str, packet_id: str, fault: str) -> bytes:
        """Return the whole answer to a request that was understood."""
        status = "200 OK"
        document: dict[str, object] = {"status": "well"}
        if path != "/v1/health":
            held = self.stored.get(packet_id)
            if held is None or method == "HEAD":
                return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            status = "201 Created"
            document = {
                "packet_id": packet_id,
                "sha256": "0" * 64 if fault == "wrong" else hashlib.sha256(held).hexdigest(),
                "size": len(held),
                "stored_at": "2026-01-01T00:00:00Z",
            }
        text = json.dumps(document).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        return head.encode() + text


def received(connection: socket.socket, most: int) -> bytes:
    """Return what came in; a client that hangs up ends the request."""
    data = connection.recv(most)
    if not data:
        raise ConnectionResetError
    return data


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], Path]:
    """SQLite alone: what is tested here does not depend on the store."""
    return lambda: tmp_path / "outbox.db"


@pytest.fixture
def centre() -> Iterator[FaultyCentre]:
    """The server."""
    centre = FaultyCentre()
    yield centre
    centre.close()


@pytest.fixture
def courier(station: Any, centre: FaultyCentre) -> Iterator[Courier]:
    """A courier to the centre over the real client, one delivery at a time."""
    settings = HttpSettings(
        url=f"http://127.0.0.1:{centre.listener.getsockname()[1]}/", read_timeout=Duration(0.3)
    )
    client = HttpBackend(settings, BackendContext(name="central", clock=station.clock))
    yield Courier(
        station.outbox,
        "central",
        client,
        policy=CourierPolicy(concurrency=1),
        clock=station.clock,
        random=random.Random(5),
    )

    client.close()


@pytest.fixture
def deliver_all(station: Any, courier: Courier) -> Callable[[], None]:
    """Returns a function that drains until nothing is open, the test's clock moving along."""

    def deliver() -> None:
        for _ in range(200):
            report = courier.drain()
            if report.retry_in is None:
                return
            station.clock.advance(report.retry_in + 0.001)
        pytest.fail("not delivered")

    return deliver


@pytest.mark.parametrize(
    "faults",
    [
        *([f"cut:{upto}"] for upto in (0, 1, 2, 63, 64, 999, 1000, 1001, 2048, SIZE - 1, SIZE)),
        [f"cut:{upto}" for upto in range(0, SIZE, 400)],
        ["lost"],
        ["lost"] * 12,
        ["busy:503"] * 6,
        ["busy:429"] * 3,
        ["busy:503,30", "busy:429,7", "lost", "busy:503"],
        ["busy:429,+90", "busy:503,+5"],
        ["busy:500", "busy:502", "busy:504"],
        *([f"slow:{upto}"] for upto in (0, 12, 40)),
        ["lost", "slow:20", "cut:17", "busy:503,1"] * 2,
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


@pytest.mark.parametrize("fault", ["busy:429,120", "busy:503,120", "busy:429,+120", "busy:503,+120"])
def test_retry_after_is_kept_to_the_second_in_both_forms(
    station: Any, centre: FaultyCentre, courier: Courier, fault: str
) -> None:
    """Seconds or a date: nobody asks before the time is over, and the clock of the station plays no part in it."""
    for _ in range(3):
        station.submit(bytes(SIZE))
    station.clock.ms -= 10 * 365 * 86_400_000  # a dead battery: the date is compared with the centre's own
    centre.faults = [fault]
    report = courier.drain()
    assert ("throttled", 120.0) == (report.stopped, report.retry_in)
    station.clock.advance(119.9)
    assert ("throttled", []) == (courier.drain().stopped, centre.received)
    station.clock.advance(0.1)
    assert (3, 3) == (courier.drain().delivered, len(centre.received))


def test_a_centre_that_processes_twice_is_told_the_same_packet(
    station: Any, centre: FaultyCentre, deliver_all: Callable[[], None]
) -> None:
    """Each answer is lost three times: the packet travels four times under one id, with the same bytes."""
    packet_id = station.submit(bytes(SIZE)).packet.packet_id
    centre.faults = ["lost"] * 3
    deliver_all()
    assert {packet_id} == set(centre.received)
    assert (1, bytes(SIZE)) == (centre.stores, centre.stored[packet_id])
    (view, _usb) = station.outbox.status(packet_id).deliveries
    assert hashlib.sha256(bytes(SIZE)).hexdigest() == view.receipt.sha256
    assert 0 == view.failures
