"""The service: couriers and tasks until it is told to stop, signs of life, and logs that stay small."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from ktpsync.courier import Courier, JsonFormatter, Service, Task
from ktpsync.errors import UnavailableError
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Backend, Health, Receipt
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.packet import SealedPacket


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], Path]:
    """SQLite alone: what is tested here does not depend on the store."""
    return lambda: tmp_path / "outbox.db"


class Shelf(Backend):
    """Takes everything and says when it has enough."""

    def __init__(self, enough: int) -> None:
        self.taken: list[str] = []
        self.full = threading.Event()
        self.enough = enough

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Take it."""
        self.taken.append(packet.packet_id)
        if len(self.taken) >= self.enough:
            self.full.set()
        return Receipt.of(
            packet,
            sha256=packet.sha256,
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def check(self) -> Health:
        """Always fine."""
        return Health(summary="fine")


def test_service_serves_all_destinations_and_tasks_until_stopped(station: Any, tmp_path: Path) -> None:
    """Packets submitted while it runs are delivered at once, tasks run, failing ones again, and it stops."""
    shelves = {name: Shelf(3) for name in ("central", "usb")}
    ran = threading.Semaphore(0)

    def task() -> None:
        ran.release()
        raise UnavailableError("the centre is away")

    service = Service(
        station.outbox,
        [Courier(station.outbox, name, shelf, clock=station.clock) for name, shelf in shelves.items()],
        tasks=[Task(name="statuses", every=0.01, run=task)],
        poll=60,
        health=tmp_path / "health.json",
        beat=0.01,
        clock=station.clock,
    )
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    ids = [station.submit().packet.packet_id for _ in range(3)]
    assert all(shelf.full.wait(30) for shelf in shelves.values())
    assert all(ran.acquire(timeout=30) for _ in range(3))
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert [sorted(ids)] * 2 == [sorted(shelf.taken) for shelf in shelves.values()]
    assert [0, 0] == [one.pending + one.leased for one in station.outbox.summary()]


def test_log_lines_are_json() -> None:
    """Each record becomes one line with its facts beside the message."""
    record = logging.LogRecord("ktpsync.courier", logging.INFO, "x", 1, "delivered %s", ("p",), None)
    record.facts = {"event": "delivered", "packet_id": "p"}
    record.created = 0.0
    assert {
        "at": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "ktpsync.courier",
        "message": "delivered p",
        "event": "delivered",
        "packet_id": "p",
    } == json.loads(JsonFormatter().format(record))


def test_systemd_is_told(monkeypatch: pytest.MonkeyPatch, station: Any, tmp_path: Path) -> None:
    """A service that systemd started says when it is ready, that it lives, and that it stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        stop = threading.Event()
        thread = threading.Thread(target=Service(station.outbox, [], beat=0.01).run, args=(stop,))
        thread.start()
        told = [systemd.recv(100), systemd.recv(100)]
        stop.set()
        while b"STOPPING=1" not in told:
            told.append(systemd.recv(100))
        thread.join(30)
    assert [b"READY=1", b"WATCHDOG=1\nSTATUS=starting"] == told[:2]


def test_the_watchdog_s_interval_is_kept(monkeypatch: pytest.MonkeyPatch, station: Any) -> None:
    """Systemd's own interval shortens the beat; one meant for another process does not."""
    assert 15 == Service(station.outbox, [])._beat
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    assert 2 == Service(station.outbox, [])._beat
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert 15 == Service(station.outbox, [])._beat
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert 15 == Service(station.outbox, [])._beat


def test_no_sign_of_life_while_a_courier_hangs(
    station: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A courier that was not seen at work for ten minutes: no health, said once; well again once it moves."""
    health = tmp_path / "health.json"
    courier = Courier(station.outbox, "central", Shelf(1), clock=station.clock)
    service = Service(station.outbox, [courier], health=health, clock=station.clock)
    courier.drain()
    service._sign_of_life()
    assert health.exists()
    health.unlink()
    station.clock.advance(700)
    service._sign_of_life()
    service._sign_of_life()
    assert not health.exists()
    assert ["the couriers of central hang; no sign of life is given"] == caplog.messages
    courier.drain()
    service._sign_of_life()
    assert health.exists()


def test_months_of_outage_leave_a_small_log(station: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The same trouble is said once a day; other trouble, and the same after a recovery, at once."""
    minutes = ["away"] * 1000 + ["token expired"] * 3 + [""] + ["token expired"] + ["away"] * 1500
    trouble = iter(minutes)
    stop = threading.Event()

    def task() -> None:
        station.clock.advance(60)
        sentence = next(trouble, None)
        if sentence is None:
            stop.set()
        elif sentence:
            raise UnavailableError(sentence)

    Service(station.outbox, [], clock=station.clock)._repeat(Task(name="statuses", every=0, run=task), stop)
    said = ["away", "token expired", "token expired", "away", "away"]
    assert [f"statuses: {sentence}" for sentence in said] == caplog.messages


def test_a_task_under_way_does_not_hold_up_the_stop(station: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A backup of hours is left behind when the service stops, and that is said."""
    begun, over = threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        over.wait(60)

    service = Service(station.outbox, [], tasks=[Task(name="backup-usb", every=1, run=task)], patience=0.01)
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    assert begun.wait(30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    over.set()
    assert any("ktpsync-backup-usb is left behind" in message for message in caplog.messages)


class SlowCentre:
    """A centre on a real socket that takes packets and answers only when the test lets it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.taken = threading.Semaphore(0)
        self.answer = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """One thread for each connection."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Answer requests."""
        with connection, connection.makefile("rb") as file:
            while line := file.readline():
                method, path, _ = line.decode().split(" ")
                headers: dict[str, str] = {}
                for header in iter(file.readline, b"\r\n"):
                    name, _, value = header.decode().partition(": ")
                    headers[name.lower()] = value.strip()
                file.read(int(headers.get("content-length", "0")))
                status, document = "200 OK", b"{}"
                if method == "PUT":
                    self.taken.release()
                    self.answer.wait(60)
                    status, document = "201 Created", self.receipt(path, headers)
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
                connection.sendall(head.encode() + document)

    def receipt(self, path: str, headers: dict[str, str]) -> bytes:
        """Return a receipt for what was announced."""
        digest = headers["content-digest"].removeprefix("sha-256=:").removesuffix(":")
        facts = {
            "packet_id": path.rpartition("/")[2],
            "sha256": base64.b64decode(digest).hex(),
            "size": int(headers["content-length"]),
            "stored_at": "2026-01-01T00:00:00Z",
        }
        return json.dumps(facts).encode()


@pytest.fixture
def slow_centre() -> Iterator[SlowCentre]:
    """The centre."""
    centre = SlowCentre()
    yield centre
    centre.answer.set()
    centre.listener.close()


def test_sigterm_finishes_what_is_under_way(slow_centre: SlowCentre, tmp_path: Path) -> None:
    """`ktpsync run` as a process: the upload under way gets its receipt, the rest is given back, exit code 0."""
    places = f'[destinations.central]\nbackend = "http"\nurl = "{slow_centre.url}"\nconcurrency = 1\n'
    identity = ktpsync.age.generate_identity("x25519")
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(identity.recipient)], places=places)
    with ktpsync.Office.open(config) as office:
        ids = [office.submit(make_enrollment(seed, size=4000)).packet_id for seed in range(3)]
    log_file = tmp_path / "ktpsync.log"
    process = subprocess.Popen(
        [sys.executable, "-m", "ktpsync", "run", "--json", "--log-file", log_file, "--config", config],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert slow_centre.taken.acquire(timeout=60)
    process.send_signal(signal.SIGTERM)
    threading.Timer(0.3, slow_centre.answer.set).start()
    out, _ = process.communicate(timeout=60)

    assert 0 == process.returncode
    events = [json.loads(line) for line in out.splitlines()]
    told = [line["event"] for line in events if line.get("event") in {"serving", "delivered", "stopped"}]
    assert ["serving", "delivered", "stopped"] == told
    assert out == log_file.read_text()
    with ktpsync.Office.open(config) as office:
        views = [office.status(packet_id).deliveries[0] for packet_id in ids]
        (line,) = office.summary()
    assert ["delivered", "pending", "pending"] == [view.state.value for view in views]
    assert [1, 0, 0] == [view.attempts for view in views]
    assert (1, 2, 0) == (line.delivered, line.pending, line.leased)


HANGS = """
import sys, threading
from pathlib import Path
from ktpsync.courier import Courier, CourierPolicy, Service
from ktpsync.outbox import Outbox
from ktpsync.plugins import Backend, Health

class Hangs(Backend):
    def deliver(self, packet):
        stop.set()
        threading.Event().wait()
    def check(self):
        return Health(summary="fine")

stop = threading.Event()
with Outbox.open(Path(sys.argv[1]), Path(sys.argv[2])) as outbox:
    courier = Courier(outbox, "central", Hangs(), policy=CourierPolicy(grace=0.2, lease=3000))
    Service(outbox, [courier]).run(stop)
"""


def test_an_upload_that_hangs_is_given_back_and_the_process_ends(tmp_path: Path) -> None:
    """After the time of grace nothing is leased, no attempt is lost, and no thread keeps the process alive."""
    database, spool = tmp_path / "outbox.db", tmp_path / "spool"
    with Outbox.open(database, spool, destinations=[DestinationSpec(name="central")]) as outbox:
        sealed = b"sealed"
        outbox.submit(sealed, packet_id=new_packet_id(), sha256=hashlib.sha256(sealed).hexdigest())
    subprocess.run([sys.executable, "-c", HANGS, database, spool], check=True, timeout=50)
    with Outbox.open(database, spool) as outbox:
        (line,) = outbox.summary()
        (view,) = outbox.deliveries()
    assert (1, 0, 0) == (line.pending, line.leased, view.attempts)


def test_the_unit_in_the_docs_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """The how-to's unit passes systemd's own check."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    page = Path(__file__).parents[3] / "docs" / "how-to" / "run-as-a-service.md"
    unit = re.search(r"```ini\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert unit is not None
    text = (
        unit[1].replace("/srv/ktpsync/venv/bin/ktpsync", sys.executable).replace("User=ktpsync", "User=root")
    )
    path = tmp_path / "ktpsync.service"
    path.write_text(text, encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    complaints = [line for line in checked.stderr.splitlines() if "ktpsync" in line]
    assert (0, []) == (checked.returncode, complaints)
