"""Outages of days, and clocks that jump by years: the pure functions, then the real wiring in simulated time."""

from __future__ import annotations

import io
import random
import statistics
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.courier import Courier, CourierPolicy, Pace, TokenBucket, Window
from ktpsync.courier._pace import after_success as pace_after_success
from ktpsync.courier._pace import after_trouble
from ktpsync.courier._rate import metered
from ktpsync.errors import ThrottledError, UnavailableError
from ktpsync.outbox import DeliveryState, RetryPolicy, backoff_ms, failing_for_ms
from ktpsync.outbox._breaker import (
    Breaker,
    BreakerPolicy,
    after_failure,
    after_success,
    probe_due,
    probing,
)
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.packet import SealedPacket

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400
YEARS = [-20 * YEAR, -YEAR, YEAR, 20 * YEAR]


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], Path]:
    """SQLite alone: what is tested here does not depend on the store."""
    return lambda: tmp_path / "outbox.db"


class Centre(Backend):
    """A destination that is away until a moment of the test's clock, and fails as it is told."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.back_at = 0.0
        self.trouble: Callable[[SealedPacket], Exception | None] = lambda _packet: None
        self.delivered: dict[str, float] = {}
        self.tries = 0
        self.probes: list[float] = []

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Take it, if it is there and nothing is wrong."""
        self.tries += 1
        self.answer()
        if error := self.trouble(packet):
            raise error
        self.delivered[packet.packet_id] = self.clock.monotonic()
        return Receipt.of(
            packet,
            sha256=packet.sha256,
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def check(self) -> Health:
        """Answer, if it is there."""
        self.probes.append(self.clock.monotonic())
        self.answer()
        return Health(summary="up")

    def answer(self) -> None:
        """Be there or not."""
        if self.clock.monotonic() < self.back_at:
            raise UnavailableError("no route to host")


@pytest.fixture
def centre(station: Any) -> Centre:
    """A centre."""
    return Centre(station.clock)


def new_courier(station: Any, centre: Backend, seed: int = 7, **options: Any) -> Courier:
    """Return a courier on the test's clock."""
    policy = CourierPolicy(**({"concurrency": 1} | options))
    return Courier(
        station.outbox, "central", centre, policy=policy, clock=station.clock, random=random.Random(seed)
    )


def serve(station: Any, courier: Courier, seconds: float) -> None:
    """Drain as the service does, for so long of the test's time."""
    until = station.clock.monotonic() + seconds
    while station.clock.monotonic() < until:
        wait = courier.drain().retry_in
        if wait is None:
            return
        station.clock.advance(max(wait, 0.001))


# --- the pure functions ---


def test_backoff_is_full_jitter_with_a_cap() -> None:
    """Each wait is anything from nothing to 5 s doubled per failure, an hour at most, also after a million failures."""
    policy, chance = RetryPolicy(), random.Random(3)
    for failures, ceiling in (
        (1, 5_000),
        (2, 10_000),
        (5, 80_000),
        (10, 2_560_000),
        (11, 3_600_000),
        (10**6, 3_600_000),
    ):
        waits = [backoff_ms(policy, failures, chance) for _ in range(2000)]
        assert 0 <= min(waits) < ceiling * 0.01
        assert ceiling * 0.99 < max(waits) < ceiling
        assert statistics.mean(waits) == pytest.approx(ceiling / 2, rel=0.05)


@pytest.mark.parametrize("since", [-20 * YEAR, -1, 0, 60, HOUR, 2 * HOUR, 3 * HOUR, 20 * YEAR])
def test_a_packet_ages_by_its_own_failures_only(since: int) -> None:
    """From one failure to the next at most two hours are counted, and never less than nothing."""
    now = 1_700_000_000_000
    aged = failing_for_ms(RetryPolicy(), 1000, now - since * 1000, now)
    assert 1000 + min(max(since, 0), 2 * HOUR) * 1000 == aged
    assert 1000 == failing_for_ms(RetryPolicy(), 1000, None, now)


def test_the_breaker_s_way_through_an_outage() -> None:
    """Five failures open it, waits double from 30 s to 5 min with jitter, a probe's success and one more close it."""
    policy, chance, now = BreakerPolicy(), random.Random(1), 1_000_000
    breaker = Breaker()
    for _ in range(4):
        breaker = after_failure(breaker, policy, now, chance)
    assert ("closed", 4) == (breaker.state, breaker.run)
    assert 0 == after_success(breaker, policy).run
    waits = []
    breaker = after_failure(breaker, policy, now, chance)
    for _ in range(6):
        waits.append(breaker.until_ms - now)
        assert "open" == breaker.state
        assert not probe_due(breaker, policy, breaker.until_ms - 1)
        assert probe_due(breaker, policy, breaker.until_ms)
        breaker = after_failure(probing(breaker, policy, now), policy, now, chance)
    for wait, whole in zip(waits, (30_000, 60_000, 120_000, 240_000, 300_000, 300_000), strict=True):
        assert whole / 2 <= wait < whole
    answered = after_success(probing(breaker, policy, now), policy)
    assert ("half-open", False) == (answered.state, probe_due(answered, policy, now + 10**9))
    assert "closed" == after_success(answered, policy).state
    assert "open" == after_failure(answered, policy, now, chance).state


@pytest.mark.parametrize("years", YEARS)
def test_a_breaker_opened_by_another_clock_is_probed(years: int) -> None:
    """Whichever way the clock has jumped since, the next probe is due within five minutes."""
    policy, now = BreakerPolicy(), 1_700_000_000_000
    breaker = Breaker(state="open", opened=9, until_ms=now + 200_000)
    assert probe_due(breaker, policy, now + years * 1000)


def test_514_offices_do_not_come_back_at_one_moment() -> None:
    """Their first probes after the centre's return spread over five minutes; half are back within two and a half."""
    policy = BreakerPolicy()
    back_ms = 10 * HOUR * 1000
    found = []
    for office in range(514):
        chance, now = random.Random(office), 0
        breaker = Breaker(run=4)
        breaker = after_failure(breaker, policy, now, chance)
        while now < back_ms:
            now = breaker.until_ms
            breaker = after_failure(probing(breaker, policy, now), policy, now, chance)
        found.append((now - back_ms) / 1000)
    assert max(found) < 300
    assert statistics.median(found) < 150
    busiest = max(sum(second <= moment < second + 10 for moment in found) for second in range(300))
    assert busiest < 514 * 0.12


def test_pace_doubles_then_adds_and_halves_after_trouble() -> None:
    """1, 2, 4, 8 within as many rounds of successes; above what went wrong last, one more per round."""
    pace, rounds = Pace(), [1]
    for _ in range(3):
        for _ in range(pace.limit):
            pace = pace_after_success(pace, 16)
        rounds.append(pace.limit)
    assert [1, 2, 4, 8] == rounds
    pace = after_trouble(pace)
    assert 4 == pace.limit
    for _ in range(4):
        pace = pace_after_success(pace, 16)
    assert 5 == pace.limit
    assert 1 == after_trouble(Pace(limit=1)).limit
    assert 3 == pace_after_success(Pace(limit=9), 3).limit


# --- the real wiring ---


@pytest.mark.slow
def test_invariant_05_72_hours_of_outage(station: Any, centre: Centre) -> None:
    """No packet loses an attempt, the centre is asked some thousand times in all, and minutes after its return all is sent."""
    centre.back_at = 72 * HOUR
    ids = [station.submit().packet.packet_id for _ in range(50)]
    courier = new_courier(station, centre)
    serve(station, courier, 71.9 * HOUR)
    views = [station.outbox.status(packet_id).deliveries[0] for packet_id in ids]
    assert {(0, 0, DeliveryState.PENDING)} == {(view.attempts, view.failures, view.state) for view in views}
    assert 5 == centre.tries
    assert 72 * HOUR / 300 < len(centre.probes) < 72 * HOUR / 150 + 10
    serve(station, courier, HOUR)
    assert set(ids) == set(centre.delivered)
    assert max(centre.delivered.values()) - 72 * HOUR < 301
    events = [item.event for item in station.outbox.audit.entries() if item.destination == "central"]
    outage = [event for event in events if event.startswith("destination-")]
    assert ["destination-registered", "destination-unreachable", "destination-reachable"] == outage


def test_concurrency_ramps_up_after_an_outage(station: Any, centre: Centre) -> None:
    """One packet goes first, alone; then as many at a time as went well, up to the limit."""
    lock, at_work, seen = threading.Lock(), 0, []
    taken = centre.deliver

    def deliver(packet: SealedPacket) -> Receipt:
        nonlocal at_work
        with lock:
            at_work += 1
            seen.append(at_work)
        if centre.clock.monotonic() >= centre.back_at:
            threading.Event().wait(0.02)
        try:
            return taken(packet)
        finally:
            with lock:
                at_work -= 1

    centre.deliver = deliver  # type: ignore[method-assign]
    courier = new_courier(station, centre, concurrency=8)
    for _ in range(40):
        station.submit()
    courier.drain()
    assert 8 == max(seen)
    for _ in range(60):
        station.submit()
    centre.back_at = HOUR
    serve(station, courier, HOUR + 400)
    after = seen[-60:]
    assert 100 == len(centre.delivered)
    assert [1, 1] == after[:2]
    assert all(count <= min(number + 1, 8) for number, count in enumerate(after))
    assert max(after) > 4


@pytest.mark.slow
def test_a_packet_is_given_up_by_age_and_never_by_count(station: Any, centre: Centre) -> None:
    """After 14 days of failures of its own a person must look; days of outage in between do not count."""
    poison = station.submit().packet.packet_id
    centre.trouble = lambda _packet: ValueError("bug in a plugin")
    courier = new_courier(station, centre)
    serve(station, courier, 10 * DAY)
    centre.back_at = station.clock.monotonic() + 5 * DAY
    serve(station, courier, 5 * DAY)
    (view, _usb) = station.outbox.status(poison).deliveries
    failures = view.failures
    assert (DeliveryState.PENDING, True) == (view.state, failures > 300)
    back = station.clock.monotonic()
    serve(station, courier, 3.9 * DAY)
    assert DeliveryState.PENDING is station.outbox.status(poison).deliveries[0].state
    serve(station, courier, DAY)
    (view, _usb) = station.outbox.status(poison).deliveries
    assert (DeliveryState.REJECTED, "gave-up") == (view.state, view.code)
    assert view.failures > failures + 50
    assert "14 days" in str(view.reason)
    assert station.clock.monotonic() - back < 5 * DAY


@pytest.mark.parametrize("years", YEARS)
@pytest.mark.parametrize(
    "waiting", ["backoff", "breaker", "throttled", "leased", "probing", "submitted", "given back"]
)
def test_clock_jumps_park_nothing_and_expire_nothing_wrongly(
    station: Any, centre: Centre, waiting: str, years: int
) -> None:
    """Whatever is being waited for, after a jump by years all is delivered within the usual waits, once."""
    packet_id = station.submit().packet.packet_id
    courier = new_courier(station, centre)
    if waiting == "backoff":
        centre.trouble = lambda _packet: ValueError("bug")
        serve(station, courier, 60)
    elif waiting == "breaker":
        centre.back_at = 600
        serve(station, courier, 500)
    elif waiting == "throttled":
        centre.trouble = lambda _packet: ThrottledError("later", retry_after=1800)
        courier.drain()
    elif waiting == "leased":
        station.outbox.claim("central", 1, 120, owner="of a process that died")
    elif waiting == "probing":
        centre.back_at = 100
        serve(station, courier, 90)
        station.clock.advance(400)
        assert station.outbox.start_probe("central")  # by a process that dies now
    elif waiting == "given back":
        (lease,) = station.outbox.claim("central", 1, 120)
        station.outbox.release(lease)
    station.clock.ms += years * 1000
    centre.trouble = lambda _packet: None
    centre.back_at = 0
    serve(station, courier, 2 * HOUR + 1)
    assert [packet_id] == list(centre.delivered)
    assert DeliveryState.DELIVERED is station.outbox.status(packet_id).deliveries[0].state


def test_a_packet_parked_by_a_jump_comes_back_although_another_one_keeps_the_courier_busy(
    station: Any, centre: Centre
) -> None:
    """A packet that fails again and again does not hide one that seems to be leased for a year."""
    parked = station.submit().packet.packet_id
    station.outbox.claim("central", 1, 120, owner="of a process that died")
    station.clock.ms -= YEAR * 1000
    poison = station.submit().packet.packet_id
    centre.trouble = lambda packet: ValueError("bug") if packet.packet_id == poison else None
    serve(station, new_courier(station, centre), HOUR)
    assert [parked] == list(centre.delivered)


def test_a_lone_failure_is_not_tried_again_at_once(station: Any, centre: Centre) -> None:
    """Five tries in a millisecond would take a blip for an outage; they are seconds apart, and cost no attempt."""
    packet_id = station.submit().packet.packet_id
    centre.back_at = 1000.0
    courier = new_courier(station, centre)
    first = courier.drain()
    assert (1, "empty") == (centre.tries, first.stopped)
    assert 0 < (first.retry_in or 0) <= 5
    centre.back_at = 0
    station.clock.advance(first.retry_in or 0)
    assert 1 == courier.drain().delivered
    assert 1 == station.outbox.status(packet_id).deliveries[0].attempts


@pytest.mark.parametrize("years", YEARS)
def test_a_clock_that_jumps_during_a_delivery_does_no_harm(station: Any, centre: Centre, years: int) -> None:
    """A lease that a jump ends early, or seems to prolong for years, neither loses a result nor doubles an effect."""
    ids = [station.submit().packet.packet_id for _ in range(3)]

    def jump(_packet: SealedPacket) -> None:
        if centre.tries == 2:
            station.clock.ms += years * 1000

    centre.trouble = jump
    courier = new_courier(station, centre)
    serve(station, courier, HOUR)
    assert set(ids) == set(centre.delivered)
    assert {0} == {station.outbox.status(packet_id).deliveries[0].failures for packet_id in ids}
    assert 3 == station.outbox.destination("central").delivered


def test_a_database_that_is_away_leaves_no_threads_behind(
    station: Any, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drain fails while the database is away, for months perhaps; afterwards all is delivered, once."""
    courier = new_courier(station, centre, concurrency=4)
    ids = [station.submit().packet.packet_id for _ in range(5)]
    courier.drain()
    ids += [station.submit().packet.packet_id for _ in range(20)]

    def away(*_: object) -> None:
        raise OSError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(station.outbox, "apply", away)
        for _ in range(3):
            with pytest.raises(OSError, match="away"):
                courier.drain()
            station.clock.advance(200)
    left = [thread for thread in threading.enumerate() if thread.name.startswith("ktpsync-central")]
    deadline = time.monotonic() + 30
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [] == [thread for thread in left if thread.is_alive()]
    assert 20 == courier.drain().delivered
    assert set(ids) == set(centre.delivered)


def test_hours_go_by_the_present_clock(station: Any, centre: Centre) -> None:
    """A destination with hours opens when the clock says so, however it got there; it never waits for the old day."""
    window = Window.parse("18:00-06:00", zone=UTC)
    courier = new_courier(station, centre, window=window)
    station.submit()
    station.clock.ms = round(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
    assert "window" == courier.drain().stopped
    station.clock.ms = round(datetime(2001, 1, 1, 19, tzinfo=UTC).timestamp() * 1000)
    assert 1 == courier.drain().delivered


def test_an_urgent_packet_goes_next_while_a_backlog_is_being_sent(station: Any, centre: Centre) -> None:
    """It does not wait for what was recorded before it, only for what is on the line."""
    for _ in range(5):
        station.submit()
    urgent: list[str] = []

    def record(_packet: SealedPacket) -> None:
        if centre.tries == 2:
            urgent.append(station.submit(urgent=True).packet.packet_id)

    centre.trouble = record
    assert 6 == new_courier(station, centre).drain().delivered
    assert urgent[0] == list(centre.delivered)[2]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_rate_is_kept_over_all_deliveries_at_a_time(
    station: Any, centre: Centre, concurrency: int
) -> None:
    """However many uploads share the line, together they take no more than its rate."""

    def read(packet: SealedPacket) -> None:
        with packet.open() as file:
            file.read()

    centre.trouble = read
    for _ in range(12):
        station.submit(bytes(2000))
    courier = new_courier(station, centre, concurrency=concurrency, rate=1000)
    assert 12 == courier.drain().delivered
    assert station.clock.monotonic() >= 23


def test_a_rate_set_while_a_packet_is_on_its_way_holds_for_the_rest_of_it(
    station: Any, centre: Centre
) -> None:
    """Someone needs the line now: an upload of minutes does not go on at full speed."""
    station.submit(bytes(40_000))

    def send(packet: SealedPacket) -> None:
        with packet.open() as file:
            file.read(20_000)
            station.outbox.set_settings("central", {"rate": "1000"}, who="budi")
            station.clock.advance(0.3)
            while bucket.rate is None:
                threading.Event().wait(0.01)  # the courier looks again after a third of the lease
            before = station.clock.monotonic()
            file.read()
            assert 19 <= station.clock.monotonic() - before

    centre.trouble = send
    courier = new_courier(station, centre, lease=3)
    bucket = courier._gate._bucket
    assert 1 == courier.drain().delivered


def test_what_is_read_again_is_not_counted_again(station: Any) -> None:
    """A client that hashes a packet first, or goes on behind what has arrived, pays for what it sends alone."""
    bucket = TokenBucket(station.clock, rate=1000)
    with metered(lambda: io.BytesIO(bytes(10_000)), bucket)() as file:
        assert bytes(10_000) == file.read()
        file.seek(0)
        buffer = bytearray(600)
        assert 600 == file.readinto(buffer)  # type: ignore[attr-defined]
        file.seek(0)
        assert 10_000 == len(file.read())
    assert 9 <= station.clock.monotonic() <= 10.1
    with metered(lambda: io.BytesIO(bytes(10_000)), bucket)() as file:
        file.seek(8000)
        file.read()
    assert 11 <= station.clock.monotonic() <= 12.1


@pytest.mark.parametrize("ask", [False, True], ids=["goes on", "looks at the size and starts anew"])
def test_a_rate_that_is_set_later_counts_what_is_still_to_send(station: Any, *, ask: bool) -> None:
    """What passed before there was a limit is not counted, also where it is read once more."""
    bucket = TokenBucket(station.clock)
    before = station.clock.monotonic()
    with metered(lambda: io.BytesIO(bytes(10_000)), bucket)() as file:
        assert 4000 == len(file.read(4000))
        assert 4000 == file.tell()
        if ask:
            assert 10_000 == file.seek(0, io.SEEK_END)
            assert 0 == file.seek(0)
        assert before == station.clock.monotonic()
        bucket.rate = 1000
        assert (10_000 if ask else 6000) == len(file.read())
    assert 5 <= station.clock.monotonic() - before <= 6.1
