from __future__ import annotations

import json
import logging
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ktpsync.courier import Courier, JsonFormatter, Service, Task
from ktpsync.errors import UnavailableError
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from ktpsync.packet import SealedPacket


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
        return Receipt(
            packet_id=packet.packet_id,
            sha256=packet.sha256,
            size=packet.size,
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
    assert [b"READY=1", b"WATCHDOG=1"] == told[:2]
