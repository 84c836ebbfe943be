"""A new destination or backup gets the packets that are there already, in parts, while others go on recording."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from ktpsync.outbox import Submission, _destinations
from ktpsync.packet import new_packet_id


def fill(station: Any, count: int) -> set[str]:
    """Record packets."""
    digest = hashlib.sha256(b"sealed").hexdigest()
    batch = [Submission(sealed=b"sealed", packet_id=new_packet_id(), sha256=digest) for _ in range(count)]
    station.outbox.submit_many(batch)
    return {item.packet_id for item in batch}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of three packets."""
    monkeypatch.setattr(_destinations, "_PART", 3)


@pytest.mark.usefixtures("small_parts")
def test_every_packet_is_given_once(station: Any) -> None:
    """Whatever the number of parts; and again nothing happens."""
    ids = fill(station, 10)
    for _ in range(2):
        station.outbox.register_copy_target("r")

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@pytest.mark.usefixtures("small_parts")
def test_what_is_recorded_meanwhile_is_given_too(station: Any) -> None:
    """Packets that come between two parts are not left out."""
    ids = fill(station, 60)
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            ids.update(fill(station, 1))

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        station.outbox.register_copy_target("r")
    finally:
        stop.set()
        recorder.join()

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_beginning_is_finished_by_the_next(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two parts the destination is not active yet, and is filled again."""
    ids = fill(station, 10)
    database = station.outbox._destinations._database
    writes = iter(range(3))
    write = database.write

    def die() -> Any:
        if next(writes, None) is None:
            raise KeyboardInterrupt
        return write()

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", die)
        if database.kind == "sqlite":
            with pytest.raises(KeyboardInterrupt):
                station.outbox.register_copy_target("r")
    ids |= fill(station, 2)
    station.outbox.register_copy_target("r")

    assert sorted(ids) == sorted(packet.packet_id for packet in station.outbox.uncopied("r"))
