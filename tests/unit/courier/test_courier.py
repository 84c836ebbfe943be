from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.courier import Courier, CourierPolicy, Window
from ktpsync.errors import (
    AuthError,
    ConflictError,
    CorruptError,
    QuotaError,
    RejectedError,
    SpoolUnavailableError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.outbox import DeliveryState, RetryPolicy
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.packet import SealedPacket


class Centre(Backend):
    """A destination in memory that keeps what it is given and fails as it is told."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.checks = 0
        self.trouble: Callable[[SealedPacket], Exception | None] = lambda _packet: None
        self.down: Exception | None = None

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Keep the packet, unless there is trouble."""
        self.calls.append(packet.packet_id)
        error = self.down or self.trouble(packet)
        if error is not None:
            raise error
        with packet.open() as file:
            self.held[packet.packet_id] = file.read()
        return Receipt.of(
            packet,
            sha256=packet.sha256,
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def check(self) -> Health:
        """Say how it is."""
        self.checks += 1
        if self.down is not None:
            raise self.down
        return Health(summary="up")


class Ear:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def delivered(self, packet_id: str, destination: str) -> None:
        """Hear of a delivery."""
        self.heard.append(("delivered", packet_id, destination))

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """Hear of a refusal."""
        self.heard.append(("rejected", packet_id, destination, code, reason))

    def paused(self, destination: str, reason: str) -> None:
        """Hear of a stop."""
        self.heard.append(("paused", destination, reason))

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Hear of a status."""
        self.heard.append(("status", packet_id, status, str(previous)))


@pytest.fixture
def centre() -> Centre:
    """A destination that works."""
    return Centre()


@pytest.fixture
def ear() -> Ear:
    """An observer."""
    return Ear()


@pytest.fixture
def courier(station: Any, centre: Centre, ear: Ear) -> Courier:
    """A courier to the centre, one delivery at a time, on the test's clock."""
    return Courier(
        station.outbox,
        "central",
        centre,
        policy=CourierPolicy(concurrency=1, retry=RetryPolicy(give_up_ms=86_400_000)),
        clock=station.clock,
        random=random.Random(7),
        observers=[ear],
    )


def delivery(station: Any, packet_id: str) -> Any:
    """Return the delivery of a packet to the centre."""
    (found,) = [item for item in station.outbox.status(packet_id).deliveries if item.destination == "central"]
    return found


def test_everything_due_is_delivered_with_a_receipt(
    station: Any, courier: Courier, centre: Centre, ear: Ear
) -> None:
    """A drain empties the queue, oldest first, and tells the observers."""
    ids = [station.submit(b"%d" % number).packet.packet_id for number in range(5)]
    report = courier.drain()
    assert (5, 5, "empty") == (report.delivered, report.delivered_bytes, report.stopped)
    assert ids == centre.calls
    assert [b"0", b"1", b"2", b"3", b"4"] == [centre.held[packet_id] for packet_id in ids]
    assert {DeliveryState.DELIVERED} == {delivery(station, packet_id).state for packet_id in ids}
    assert [("delivered", packet_id, "central") for packet_id in ids] == ear.heard


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RejectedError("no"), "rejected"),
        (ConflictError("other bytes"), "conflict"),
        (QuotaError("used up"), "quota"),
        (UnsupportedError("cannot"), "unsupported"),
        (CorruptError("damaged there"), "corrupt"),
    ],
)
def test_invariant_07_permanent_refusals_wait_for_a_person(
    station: Any, courier: Courier, centre: Centre, error: Exception, code: str
) -> None:
    """A refusal for good is kept with its text, is not retried, and can be requeued with its history."""
    packet_id = station.submit().packet.packet_id
    centre.trouble = lambda _packet: error
    assert 1 == courier.drain().rejected
    station.clock.advance(10 * 86_400)
    assert 0 == courier.drain().rejected
    (view,) = station.outbox.rejected("central")
    assert (code, str(error)) == (view.code, view.reason)
    centre.trouble = lambda _packet: None
    station.outbox.requeue(packet_id, "central", who="siti", why="corrected at the centre")
    assert 1 == courier.drain().delivered
    events = [item.event for item in station.outbox.status(packet_id).history]
    assert ["submitted", "rejected", "requeued", "delivered"] == events


def test_invariant_05_an_outage_costs_no_attempts(station: Any, courier: Courier, centre: Centre) -> None:
    """Through half a day of outage no packet loses an attempt, and the destination is asked at most every few seconds."""
    ids = [station.submit().packet.packet_id for _ in range(20)]
    centre.down = UnavailableError("no route")
    hours = 0.0
    while hours < 12:
        report = courier.drain()
        assert "unreachable" == report.stopped
        assert report.retry_in is not None
        station.clock.advance(report.retry_in)
        hours += report.retry_in / 3600
    assert {(0, 0)} == {(item.attempts, item.failures) for item in (delivery(station, i) for i in ids)}
    assert len(centre.calls) <= 5
    assert centre.checks <= 12 * 3600 / 150 + 10
    centre.down = None
    station.clock.advance(300)
    assert 20 == courier.drain().delivered
    assert "closed" == station.outbox.destination("central").breaker


def test_breaker_is_shared_with_other_couriers(station: Any, courier: Courier, centre: Centre) -> None:
    """What one process found unreachable is not asked by another, and one probe at a time goes out."""
    for _ in range(10):
        station.submit()
    centre.down = UnavailableError("down")
    courier.drain()
    other = Courier(station.reopen(), "central", centre, clock=station.clock, random=random.Random(3))
    asked = len(centre.calls)
    assert "unreachable" == other.drain().stopped
    assert (asked, 0) == (len(centre.calls), centre.checks)


def test_one_of_eight_racing_processes_may_probe(station: Any, courier: Courier, centre: Centre) -> None:
    """However many find the probe due at one moment, one of them asks; when it dies, another one a minute later."""
    for _ in range(5):
        station.submit()
    centre.down = UnavailableError("down")
    courier.drain()
    station.clock.advance(60)
    outboxes = [station.reopen() for _ in range(8)]
    for _ in range(2):
        start = threading.Barrier(8)

        def race(outbox: Any, start: threading.Barrier = start) -> bool:
            start.wait(30)
            return bool(outbox.start_probe("central"))

        with ThreadPoolExecutor(8) as pool:
            assert 1 == sum(pool.map(race, outboxes))
        assert "probing" == station.outbox.destination("central").breaker
        station.clock.advance(60)


def test_invariant_06_retry_after_is_obeyed(station: Any, courier: Courier, centre: Centre) -> None:
    """After ``Retry-After`` nobody asks the destination before the time is over."""
    for _ in range(3):
        station.submit()
    centre.trouble = lambda _packet: ThrottledError("slow down", retry_after=120)
    report = courier.drain()
    assert ("throttled", 120.0, 1) == (report.stopped, report.retry_in, len(centre.calls))
    centre.trouble = lambda _packet: None
    station.clock.advance(119)
    assert "throttled" == courier.drain().stopped
    assert 1 == len(centre.calls)
    station.clock.advance(1)
    assert 3 == courier.drain().delivered


def test_invariant_06_retry_after_of_a_probe_is_obeyed(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A destination that answers a probe with ``Retry-After`` is not probed before the time is over."""
    for _ in range(5):
        station.submit()
    centre.down = UnavailableError("down")
    courier.drain()
    centre.down = ThrottledError("maintenance until noon", retry_after=3600)
    station.clock.advance(60)
    assert ("throttled", 3600.0, 1) == ((report := courier.drain()).stopped, report.retry_in, centre.checks)
    station.clock.advance(3599)
    assert ("throttled", 1) == (courier.drain().stopped, centre.checks)
    centre.down = None
    station.clock.advance(1)
    assert 5 == courier.drain().delivered


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_patience_without_an_end_is_a_destination_out_of_reach(
    station: Any, courier: Courier, centre: Centre, seconds: float
) -> None:
    """A ``Retry-After`` of hundreds of digits does not end the thread that delivers, which nobody would notice."""
    packet_id = station.submit().packet.packet_id
    centre.trouble = lambda _packet: ThrottledError("later", retry_after=seconds)
    assert "unreachable" == courier.drain().stopped
    assert "later" == station.outbox.destination("central").last_error
    centre.trouble = lambda _packet: None
    station.clock.advance(3600)
    courier.drain()
    assert DeliveryState.DELIVERED is delivery(station, packet_id).state


def test_a_clock_that_jumps_back_parks_nothing(station: Any, courier: Courier, centre: Centre) -> None:
    """Packets that wait, and a destination that asked for patience, go on after the clock fell back by years."""
    station.submit()
    station.submit()
    centre.trouble = lambda _packet: ValueError("bug")
    courier.drain()
    centre.trouble = lambda _packet: ThrottledError("later", retry_after=60)
    station.clock.advance(60)
    courier.drain()
    centre.trouble = lambda _packet: None
    station.clock.ms -= 20 * 365 * 86_400_000
    assert 2 == courier.drain().delivered


def test_a_clock_that_jumps_forward_gives_up_nothing(station: Any, courier: Courier, centre: Centre) -> None:
    """Years that pass between two failures do not make a packet too old to be tried again."""
    packet_id = station.submit().packet.packet_id
    centre.trouble = lambda _packet: ValueError("bug")
    courier.drain()
    station.clock.advance(20 * 365 * 86_400)
    courier.drain()
    assert (DeliveryState.PENDING, 2) == (
        delivery(station, packet_id).state,
        delivery(station, packet_id).failures,
    )


def test_a_poison_packet_backs_off_and_holds_up_nobody(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A packet that breaks the plugin waits ever longer, is given up by age, and the others go on."""
    poison = station.submit().packet.packet_id
    others = [station.submit().packet.packet_id for _ in range(3)]
    centre.trouble = lambda packet: ValueError("bug") if packet.packet_id == poison else None
    report = courier.drain()
    assert (3, 1) == (report.delivered, report.failed)
    assert set(others) == set(centre.held)
    tries = 1
    while delivery(station, poison).state is DeliveryState.PENDING:
        station.clock.advance(max(courier.drain().retry_in or 0, 1))
        tries += 1
        assert tries < 500
    assert "gave-up" == delivery(station, poison).code
    assert delivery(station, poison).failures > 20


def test_what_a_plugin_stumbles_over_is_kept_without_what_it_was_given(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """The reason stands in the database, and an error that nobody worded may repeat a password or a name."""
    packet_id = station.submit().packet.packet_id
    centre.trouble = lambda _packet: ValueError("https://office:hush@centre.example is no DEWI LESTARI")
    courier.drain()
    reason = delivery(station, packet_id).reason
    assert "ValueError: https://centre.example is no [capitals]" == reason


def test_a_packet_that_always_breaks_the_line_is_blamed_once_others_get_through(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A packet at which the connection always drops does not keep the destination closed for the others."""
    poison = station.submit().packet.packet_id
    others = [station.submit().packet.packet_id for _ in range(30)]
    centre.trouble = lambda packet: UnavailableError("reset") if packet.packet_id == poison else None
    for _ in range(50):
        station.clock.advance(courier.drain().retry_in or 10)
    assert set(others) == set(centre.held)
    assert delivery(station, poison).failures > 0


def test_refused_credentials_stop_the_destination_and_are_said_once(
    station: Any, courier: Courier, centre: Centre, ear: Ear
) -> None:
    """After a refusal of the credentials nothing is tried until a person resumes the destination."""
    for _ in range(4):
        station.submit()
    centre.trouble = lambda _packet: AuthError("token expired")
    assert "paused" == courier.drain().stopped
    station.clock.advance(86_400)
    assert "paused" == courier.drain().stopped
    assert [("paused", "central", "token expired")] == ear.heard
    assert 1 == len(centre.calls)
    centre.trouble = lambda _packet: None
    station.outbox.resume("central", who="budi")
    assert 4 == courier.drain().delivered


@pytest.mark.parametrize("changed", [{"sha256": "0" * 64}, {"size": 1}, {"packet_id": "another"}])
def test_a_receipt_for_something_else_is_not_taken(
    station: Any, courier: Courier, centre: Centre, changed: dict[str, object]
) -> None:
    """A receipt that names another digest, size or packet never counts as delivered."""
    packet_id = station.submit(b"abc").packet.packet_id
    centre.deliver = lambda packet: station.receipt(packet, **changed)  # type: ignore[method-assign]
    assert (0, 1) == ((report := courier.drain()).delivered, report.rejected)
    assert (DeliveryState.REJECTED, "corrupt") == (
        delivery(station, packet_id).state,
        delivery(station, packet_id).code,
    )


@pytest.mark.parametrize(
    "changed",
    [{"location": "a \ud800 that no database takes"}, {"details": {"number": object()}}, {"stored_at": None}],
)
def test_a_receipt_that_cannot_be_kept_keeps_no_others_back(
    station: Any, courier: Courier, centre: Centre, changed: dict[str, object]
) -> None:
    """A backend with a mistake costs its own packet's receipt, and not those of the same commit."""
    good, bad, other = (station.submit(b"%d" % number).packet.packet_id for number in range(3))
    centre.deliver = lambda packet: station.receipt(  # type: ignore[method-assign]
        packet, **(changed if packet.packet_id == bad else {})
    )
    assert (2, 1) == ((report := courier.drain()).delivered, report.rejected)
    states = {name: delivery(station, name).state for name in (good, bad, other)}
    assert [DeliveryState.DELIVERED, DeliveryState.REJECTED, DeliveryState.DELIVERED] == [*states.values()]


def test_numbers_of_persons_are_in_no_log_and_reach_no_observer(
    station: Any, courier: Courier, centre: Centre, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    """What a destination's own words name is masked before anybody is told."""
    packet_id = station.submit(b"abc").packet.packet_id
    refusal = RejectedError("3171234567890123 is\na known NIK")
    centre.trouble = lambda _packet: refusal
    with caplog.at_level("DEBUG"):
        courier.drain()
    assert [("rejected", packet_id, "central", "rejected", "[16 digits] is a known NIK")] == ear.heard
    assert "[16 digits]" in caplog.text
    assert "3171234567890123" not in caplog.text


def test_a_backend_that_wants_to_end_the_program_fails_one_delivery(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A thread that it ends would be waited for in vain."""
    packet_id = station.submit().packet.packet_id
    centre.trouble = lambda _packet: sys.exit("a mistake in a plugin")
    assert 1 == courier.drain().failed
    assert "SystemExit: a mistake in a plugin" == delivery(station, packet_id).reason


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_spool_whose_share_is_away_keeps_packets_waiting(
    station: Any, courier: Courier, *, mount_point: bool
) -> None:
    """Nothing is taken for lost, and nothing is recorded into the mount point."""
    packet_id = station.submit().packet.packet_id
    away = station.spool.rename(station.spool.with_name("away"))
    if mount_point:
        station.spool.mkdir()
    assert (1, 0) == ((report := courier.drain()).returned, report.rejected)
    for _ in range(8):  # into folders that were used before, and into new ones
        with pytest.raises(SpoolUnavailableError, match="Nothing was stored"):
            station.submit()
    assert mount_point == station.spool.exists()
    if mount_point:
        station.spool.rmdir()  # which is empty
    away.rename(station.spool)
    assert 1 == station.outbox.recall("central")
    courier.drain()
    assert DeliveryState.DELIVERED is delivery(station, packet_id).state


def test_a_packet_dropped_from_the_spool_on_its_way_waits_for_its_backup(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A delivery that fails while the bytes go to a backup whose disk is away keeps only that packet waiting."""
    packet = station.submit().packet

    def away(_packet_id: str, _sha256: str) -> Any:
        raise UnavailableError("the disk is in the drawer")

    def trouble(_packet: SealedPacket) -> Exception:
        station.outbox.spool.fetch = away
        station.outbox.spool.discard(packet.packet_id)
        return OSError("the file is gone")

    centre.trouble = trouble
    assert 1 == courier.drain().returned
    waiting = delivery(station, packet.packet_id)
    assert (DeliveryState.PENDING, "the disk is in the drawer") == (waiting.state, waiting.reason)


@pytest.mark.parametrize("damage", ["missing", "short", "changed"])
def test_damaged_bytes_are_set_aside_and_the_others_go_on(
    station: Any, courier: Courier, centre: Centre, damage: str
) -> None:
    """A packet damaged in the spool is rejected as damaged; the bytes stay as they are."""
    bad = station.submit(b"abcdef").packet
    good = station.submit(b"ghi").packet
    path = station.outbox.spool.path(bad.packet_id)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"abc" if damage == "short" else b"abcdeX")
    centre.trouble = lambda packet: RejectedError("digest") if packet == bad else None
    report = courier.drain()
    assert (1, 1) == (report.delivered, report.rejected)
    assert "damaged" == delivery(station, bad.packet_id).code
    assert {good.packet_id} == set(centre.held)


def test_invariant_10_urgent_packets_go_first(station: Any, courier: Courier, centre: Centre) -> None:
    """Urgent packets overtake a backlog."""
    usual = [station.submit().packet.packet_id for _ in range(5)]
    urgent = [station.submit(urgent=True).packet.packet_id for _ in range(2)]
    courier.drain()
    assert [*urgent, *usual] == centre.calls


def test_invariant_10_the_rate_is_kept(station: Any, centre: Centre) -> None:
    """With a rate of 1,000 bytes per second, 20,000 bytes take about 20 seconds, whatever the number of packets."""
    policy = CourierPolicy(concurrency=1, rate=1000)
    courier = Courier(station.outbox, "central", centre, policy=policy, clock=station.clock)
    for _ in range(10):
        station.submit(bytes(2000))
    start = station.clock.monotonic()
    assert 10 == courier.drain().delivered
    assert 19 <= station.clock.monotonic() - start <= 21


def test_invariant_10_outside_its_hours_nothing_is_sent(station: Any, centre: Centre) -> None:
    """A destination with hours waits for them, and settings made at run time hold over the configuration."""
    policy = CourierPolicy(concurrency=1, window=Window.parse("18:00-06:00", zone=UTC))
    courier = Courier(station.outbox, "central", centre, policy=policy, clock=station.clock)
    station.submit()
    station.clock.ms = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
    report = courier.drain()
    assert ("window", 6 * 3600.0, []) == (report.stopped, report.retry_in, centre.calls)
    station.outbox.set_settings("central", {"window": ""}, who="budi")
    assert 1 == courier.drain().delivered


def test_a_stop_gives_back_what_was_not_started(station: Any, centre: Centre) -> None:
    """A stopped courier finishes what is under way and keeps no lease on the rest."""
    courier = Courier(
        station.outbox, "central", centre, policy=CourierPolicy(concurrency=2), clock=station.clock
    )
    for _ in range(20):
        station.submit()
    stop = threading.Event()

    def stop_at_the_third(_packet: SealedPacket) -> None:
        if len(centre.calls) == 3:
            stop.set()

    centre.trouble = stop_at_the_third
    report = courier.drain(stop)
    assert "stopped" == report.stopped
    assert report.delivered < 20
    (summary,) = [item for item in station.outbox.summary() if item.state.name == "central"]
    assert (0, 20 - report.delivered) == (summary.leased, summary.pending)


def test_an_observer_that_fails_is_contained(station: Any, centre: Centre, ear: Ear) -> None:
    """The next observer hears of it although the first one raised."""

    class Broken(Ear):
        def delivered(self, packet_id: str, destination: str) -> None:
            raise RuntimeError(packet_id, destination)

    courier = Courier(station.outbox, "central", centre, clock=station.clock, observers=[Broken(), ear])
    station.submit()
    assert 1 == courier.drain().delivered
    assert 1 == len(ear.heard)


def test_leases_of_slow_deliveries_are_renewed(station: Any, centre: Centre) -> None:
    """A delivery that takes longer than its lease is not taken over by another courier."""
    policy = CourierPolicy(concurrency=1, lease=0.3)
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000)
    outbox = station.outbox
    station.submit()
    taken: list[int] = []

    def slow(_packet: SealedPacket) -> None:
        for _ in range(6):
            threading.Event().wait(0.15)
            station.clock.advance(0.15)
            taken.append(len(outbox.claim("central", 1, 60, owner="another")))

    centre.trouble = slow
    courier = Courier(outbox, "central", centre, policy=policy, clock=station.clock)
    assert (1, 0) == ((report := courier.drain()).delivered, report.lost)
    assert [0] * 6 == taken


def test_a_destination_that_is_silent_is_asked_how_it_is_before_the_next_packet(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """One packet's timeout is enough to find it out of reach: the others do not wait for theirs one after the other."""

    def silence(_packet: SealedPacket) -> Exception:
        station.clock.advance(120)
        centre.down = UnavailableError("no answer for 120 seconds")
        return centre.down

    for _ in range(10):
        station.submit()
    centre.trouble = silence
    report = courier.drain()
    assert ("unreachable", 1, 1) == (report.stopped, len(centre.calls), centre.checks)
    state = station.outbox.destination("central")
    assert ("open", "no answer for 120 seconds") == (state.breaker, state.last_error)


def test_an_answer_to_the_question_does_not_excuse_deliveries_that_get_none(
    station: Any, courier: Courier, centre: Centre
) -> None:
    """A destination that says it is well and takes nothing is out of reach after five packets, as before."""

    def silence(_packet: SealedPacket) -> Exception:
        station.clock.advance(120)
        return UnavailableError("no answer for 120 seconds")

    for _ in range(10):
        station.submit()
    centre.trouble = silence
    courier.drain()
    assert station.outbox.destination("central").breaker == "open"
    assert (5, 4) == (len(centre.calls), centre.checks)
