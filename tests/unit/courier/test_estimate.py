"""The estimate of when a backlog is gone, checked against what then happens, in simulated time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.courier import Courier, CourierPolicy, Speed, Window, estimate
from ktpsync.errors import AuthError, UnavailableError
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ktpsync.packet import SealedPacket

WIB = timezone(timedelta(hours=7))
NIGHT = Window.parse("18:00-06:30", zone=WIB)
DAY_MS = 86_400_000


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], Path]:
    """SQLite alone: what is tested here does not depend on the store."""
    return lambda: tmp_path / "outbox.db"


class Line(Backend):
    """A destination at the other end of a line of so many bytes per second."""

    def __init__(self, clock: Any, capacity: float) -> None:
        self.clock = clock
        self.capacity = capacity
        self.trouble: Iterator[Exception | None] = iter(())
        self.used: list[int] = []

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Take as long as the line needs, unless there is trouble."""
        if error := next(self.trouble, None):
            raise error
        with packet.open() as file:
            while block := file.read(4096):
                self.clock.sleep(len(block) / self.capacity)
        self.used.append(self.clock.now_ms())
        return Receipt.of(
            packet,
            sha256=packet.sha256,
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def check(self) -> Health:
        """Always there."""
        return Health(summary="there")


def told(station: Any, policy: CourierPolicy, speed: Speed) -> Any:
    """Return the estimate as ``status`` shows it."""
    (line, *_) = station.outbox.summary()
    return estimate(line.open_bytes, speed, policy, line.state, station.clock.now_ms())


def drain_all(station: Any, courier: Courier) -> None:
    """Drain until nothing is left, as the service does, the clock moving along."""
    while (report := courier.drain()).retry_in is not None:
        station.clock.advance(report.retry_in)


@pytest.mark.parametrize(
    ("capacity", "rate", "window"),
    [
        (1e9, 16_384, NIGHT),  # the limit decides
        (16_000, None, NIGHT),  # the line decides: 128 kb/s
        (16_000, 64_000, NIGHT),  # a limit above what the line takes
        (16_000, 4_000, None),
        (1e9, 500, Window.parse("12:00-12:30", zone=WIB)),  # half an hour a day
    ],
)
def test_the_estimate_comes_true(
    station: Any, capacity: float, rate: float | None, window: Window | None
) -> None:
    """After a first few packets, what is told is within 5 % of what then happens, nights and limits counted in."""
    policy = CourierPolicy(concurrency=1, rate=rate, window=window)
    line = Line(station.clock, capacity)
    courier = Courier(station.outbox, "central", line, policy=policy, clock=station.clock)
    size = 20_000 if rate == 500 else 400_000
    station.clock.ms = round(datetime(2026, 3, 2, 12, 5, tzinfo=WIB).timestamp() * 1000)
    for _ in range(3):
        station.submit(random.Random(1).randbytes(size))
    drain_all(station, courier)
    for _ in range(40):
        station.submit(random.Random(1).randbytes(size))
    start_ms = station.clock.now_ms()
    promised = told(station, policy, courier.speed).gone_at_ms - start_ms
    halfway = None
    while (report := courier.drain()).retry_in is not None:
        if halfway is None and len(line.used) > 20:
            halfway = told(station, policy, courier.speed).gone_at_ms - start_ms
        station.clock.advance(report.retry_in)
    taken = line.used[-1] - start_ms
    assert taken == pytest.approx(promised, rel=0.05)
    if halfway is not None:
        assert taken == pytest.approx(halfway, rel=0.05)
    if window is not None:
        each_ms = size / min(rate or capacity, capacity) * 1000
        assert {0} == {window.opens_in_ms(round(ms - each_ms + 1000)) for ms in line.used}


def test_a_limit_alone_is_enough_for_an_estimate(station: Any) -> None:
    """Before anything was sent, the configured rate tells; with neither nothing is claimed."""
    station.submit(bytes(16_384 * 60))
    limited = told(station, CourierPolicy(rate=16_384), Speed())
    assert (60.0, station.clock.now_ms() + 60_000, 16_384 * 86_400) == (
        limited.seconds,
        limited.gone_at_ms,
        limited.per_day,
    )
    unknown = told(station, CourierPolicy(), Speed())
    assert (None, None, None) == (unknown.seconds, unknown.gone_at_ms, unknown.per_day)


def test_a_raised_limit_changes_the_estimate_at_once(station: Any) -> None:
    """A line that was held back by its limit is not taken for a slow one when the limit is raised."""
    station.submit(bytes(320_000))
    held_back = Speed(sent=160_000, seconds=10, rate=16_000)
    slow = Speed(sent=40_000, seconds=10, rate=16_000)
    assert 10.0 == told(station, CourierPolicy(rate=32_000), held_back).seconds
    assert 80.0 == told(station, CourierPolicy(rate=32_000), slow).seconds
    assert 20.0 == told(station, CourierPolicy(), held_back).seconds
    station.outbox.set_settings("central", {"rate": "8000"}, who="budi")
    assert 40.0 == told(station, CourierPolicy(rate=32_000), held_back).seconds


def test_nothing_is_promised_while_a_destination_is_stopped_or_out_of_reach(station: Any) -> None:
    """How long sending takes is told, when it ends is not; patience that was asked for is counted in."""
    policy = CourierPolicy(concurrency=1, rate=1000)
    line = Line(station.clock, 1e9)
    courier = Courier(station.outbox, "central", line, policy=policy, clock=station.clock)
    for _ in range(5):
        station.submit(bytes(1000))
    line.trouble = iter([UnavailableError("no route")] * 5)
    courier.drain()
    away = told(station, policy, courier.speed)
    assert (5.0, None) == (away.seconds, away.gone_at_ms)
    station.clock.advance(60)
    line.trouble = iter([AuthError("expired")])
    courier.drain()
    stopped = told(station, policy, courier.speed)
    assert (5.0, None) == (stopped.seconds, stopped.gone_at_ms)


@pytest.mark.parametrize(
    ("window", "now", "opens", "closes"),
    [
        ("18:00-06:30", (12, 0), 6 * 3600, None),
        ("18:00-06:30", (18, 0), 0, 12.5 * 3600),
        ("18:00-06:30", (6, 29), 0, 60),
        ("18:00-06:30", (6, 30), 11.5 * 3600, None),
        ("08:00-16:00", (16, 0), 16 * 3600, None),
        ("08:00-16:00", (8, 0), 0, 8 * 3600),
        ("00:00-00:00", (3, 0), 0, None),
        ("22:00-00:00", (23, 0), 0, 3600),
        ("00:00-05:00", (23, 0), 3600, None),
    ],
)
def test_hours_open_and_close_on_time(
    window: str, now: tuple[int, int], opens: float, closes: float | None
) -> None:
    """In the office's own zone, over midnight too; equal ends mean always."""
    hours = Window.parse(window, zone=WIB)
    now_ms = round(datetime(2026, 3, 2, *now, tzinfo=WIB).timestamp() * 1000)
    assert opens * 1000 == hours.opens_in_ms(now_ms)
    assert (None if closes is None else closes * 1000) == hours.closes_in_ms(now_ms)
