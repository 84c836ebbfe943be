"""What a centre says of packets: its feed of statuses, and what each change sets going."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.courier import Courier, CourierPolicy, poll_statuses, reconcile
from ktpsync.errors import AuthError, ThrottledError, UnavailableError, WrongStateError
from ktpsync.outbox import DeliveryState
from ktpsync.plugins import CentralBackend, Health, Holding, HoldingState, Receipt, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ktpsync.packet import SealedPacket

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], Path]:
    """SQLite alone: what is tested here does not depend on the store."""
    return lambda: tmp_path / "outbox.db"


class Centre(CentralBackend):
    """A centre with a feed of two changes a page, whose cursor is the number of changes read."""

    def __init__(self) -> None:
        self.feed: list[StatusChange] = []
        self.taken: list[tuple[str, bytes]] = []
        self.asked: list[str | None] = []
        self.down: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.questions: list[int] = []

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Take it."""
        with packet.open() as file:
            self.taken.append((packet.packet_id, file.read()))
        return self.receipt(packet)

    def check(self) -> Health:
        """Always well."""
        return Health(summary="well")

    def statuses(self, cursor: str | None) -> StatusPage:
        """Give two changes."""
        self.asked.append(cursor)
        if self.down is not None:
            raise self.down
        start = int(cursor or 0)
        page = self.feed[start : start + 2]
        return StatusPage(
            changes=page, cursor=str(start + len(page)), more=start + len(page) < len(self.feed)
        )

    def reconcile(self, packets: Iterable[SealedPacket]) -> Iterator[Holding]:
        """Say that nothing is missing but what was not taken; something else happens meanwhile."""
        asked = list(packets)
        self.questions.append(len(asked))
        self.meanwhile()
        taken = {packet_id for packet_id, _ in self.taken}
        for packet in asked:
            state = HoldingState.HELD if packet.packet_id in taken else HoldingState.MISSING
            receipt = self.receipt(packet) if state is HoldingState.HELD else None
            yield Holding(packet_id=packet.packet_id, state=state, receipt=receipt)

    @staticmethod
    def receipt(packet: SealedPacket) -> Receipt:
        """Return a true receipt."""
        return Receipt.of(packet, sha256=packet.sha256, stored_at=START)

    def say(self, packet_id: str, status: str, note: str = "") -> None:
        """Add a change to the feed, each a day after the one before."""
        moment = START + timedelta(days=len(self.feed))
        self.feed.append(StatusChange(packet_id=packet_id, status=status, changed_at=moment, note=note))


class Ear:
    """Hears of statuses and stops, and looks at what the outbox says at that moment."""

    def __init__(self, station: Any) -> None:
        self.station = station
        self.heard: list[tuple[str, ...]] = []

    def delivered(self, packet_id: str, destination: str) -> None:
        """Not of interest."""

    def rejected(self, packet_id: str, destination: str, code: str, reason: str) -> None:
        """Not of interest."""

    def paused(self, destination: str, reason: str) -> None:
        """Hear of a stop."""
        self.heard.append(("paused", destination, reason))

    def status_changed(self, packet_id: str, status: str, previous: str | None) -> None:
        """Hear of a status; another process already sees it in the trail."""
        told = [item.detail for item in self.station.outbox.audit.entries(packet_id=packet_id)]
        assert any(f'"status":"{status}"' in detail for detail in told)
        self.heard.append((packet_id, status, str(previous)))


@pytest.fixture
def centre() -> Centre:
    """A centre."""
    return Centre()


def test_the_feed_is_followed_to_its_end_and_each_change_is_told_once(station: Any, centre: Centre) -> None:
    """Page by page behind the kept cursor; unknown statuses and packets are no error; the next poll tells nothing again."""
    ear = Ear(station)
    packet_id = station.submit().packet.packet_id
    for status in ("RECEIVED_AT_CENTRAL", "A_STATUS_OF_NEXT_YEAR", "PRINT_READY_RECORD"):
        centre.say(packet_id, status)
    centre.say("of-another-office", "PROCESSING")

    assert 3 == poll_statuses(station.outbox, "central", centre, [ear])
    assert 0 == poll_statuses(station.outbox, "central", centre, [ear])
    assert [None, "2", "4"] == centre.asked
    assert [
        (packet_id, "RECEIVED_AT_CENTRAL", "None"),
        (packet_id, "A_STATUS_OF_NEXT_YEAR", "RECEIVED_AT_CENTRAL"),
        (packet_id, "PRINT_READY_RECORD", "A_STATUS_OF_NEXT_YEAR"),
    ] == ear.heard
    assert "PRINT_READY_RECORD" == station.outbox.status(packet_id).registration_status


def test_a_feed_that_breaks_off_goes_on_where_it_was(station: Any, centre: Centre) -> None:
    """What was taken stays taken; a feed that begins anew tells no change twice."""
    ear = Ear(station)
    packet_id = station.submit().packet.packet_id
    centre.say(packet_id, "RECEIVED_AT_CENTRAL")
    poll_statuses(station.outbox, "central", centre, [ear])
    centre.say(packet_id, "PROCESSING")
    centre.down = UnavailableError("reset")
    with pytest.raises(UnavailableError):
        poll_statuses(station.outbox, "central", centre, [ear])
    centre.down = None
    assert 1 == poll_statuses(station.outbox, "central", centre, [ear])
    with station.outbox._database.write() as connection:  # as after a restore from an older backup
        sql = station.outbox._database.sql
        connection.execute(sql("UPDATE ktpsync_destination SET cursor = NULL WHERE dest = 'central'"))
    assert 0 == poll_statuses(station.outbox, "central", centre, [ear])
    assert ["RECEIVED_AT_CENTRAL", "PROCESSING"] == [status for _, status, _ in ear.heard]


def test_packet_retry_sends_the_same_bytes_again(station: Any, centre: Centre) -> None:
    """The centre asks for a packet again: it is delivered again byte for byte, once, with its history kept."""
    courier = Courier(
        station.outbox, "central", centre, policy=CourierPolicy(concurrency=1), clock=station.clock
    )
    asked, other = (station.submit(data).packet.packet_id for data in (b"asked for", b"other"))
    courier.drain()
    centre.say(asked, "PACKET_RETRY")
    poll_statuses(station.outbox, "central", centre)
    (waiting, *_) = station.outbox.summary()
    assert (1, 1) == (waiting.pending, waiting.delivered)

    assert (1, 0) == (courier.drain().delivered, courier.drain().delivered)
    poll_statuses(station.outbox, "central", centre)
    assert 0 == courier.drain().delivered
    assert [(asked, b"asked for"), (other, b"other"), (asked, b"asked for")] == centre.taken
    status = station.outbox.status(asked)
    assert DeliveryState.DELIVERED is status.deliveries[0].state
    events = [item.event for item in status.history if item.destination == "central"]
    assert ["delivered", "status", "resend", "delivered"] == events
    assert () == station.outbox.audit.verify().problems

    centre.say(asked, "PACKET_RETRY")
    assert 1 == poll_statuses(station.outbox, "central", centre)
    assert 1 == courier.drain().delivered


def test_packet_retry_that_the_centre_has_left_behind_sends_nothing(station: Any, centre: Centre) -> None:
    """A feed read late or from its start repeats old wishes; the latest word counts."""
    courier = Courier(station.outbox, "central", centre, clock=station.clock)
    packet_id = station.submit().packet.packet_id
    courier.drain()
    centre.say(packet_id, "PACKET_RETRY")
    centre.say(packet_id, "PRINT_READY_RECORD")
    poll_statuses(station.outbox, "central", centre)
    assert 0 == courier.drain().delivered
    assert 1 == len(centre.taken)


def test_patience_that_the_feed_asks_for_holds_for_couriers_too(station: Any, centre: Centre) -> None:
    """``Retry-After`` in answer to a poll: nobody asks the centre before the time is over."""
    courier = Courier(station.outbox, "central", centre, clock=station.clock)
    station.submit()
    centre.down = ThrottledError("busy", retry_after=600)
    with pytest.raises(ThrottledError):
        poll_statuses(station.outbox, "central", centre)
    assert ("throttled", 600.0) == ((report := courier.drain()).stopped, report.retry_in)
    station.clock.advance(600)
    assert 1 == courier.drain().delivered


def test_credentials_refused_by_the_feed_stop_the_destination(station: Any, centre: Centre) -> None:
    """A feed that does not accept the token stops the destination as a refused packet does, and says so once."""
    ear = Ear(station)
    centre.down = AuthError("token expired")
    for _ in range(2):
        with pytest.raises(AuthError):
            poll_statuses(station.outbox, "central", centre, [ear])
    assert [("paused", "central", "token expired")] == ear.heard
    assert "token expired" == station.outbox.destination("central").paused


def test_recording_goes_on_while_the_centre_is_asked_what_it_holds(
    station: Any, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction is open over the network; all packets are asked about in one question."""
    monkeypatch.setattr("ktpsync.courier._centre._APPLIED", 5)
    held = station.submit().packet
    missing = [station.submit().packet for _ in range(12)]
    centre.taken.append((held.packet_id, b""))
    centre.meanwhile = station.submit

    applied = reconcile(station.outbox, "central", centre)

    assert [13] == centre.questions
    assert (held.packet_id,) == applied.delivered
    assert [] == [packet.packet_id for packet in missing if packet.packet_id in applied.delivered]
    assert 14 == len(list(station.outbox.to_reconcile("central")))


NOT_REGISTERED = "ENROLL_FAILURE_AT_CENTRAL"


def _state(station: Any, packet_id: str) -> tuple[str, str | None, bool]:
    line, *_ = station.outbox.status(packet_id).deliveries
    return line.state.value, line.code, line.receipt is not None


def test_a_person_that_the_centre_could_not_register_waits_for_somebody(
    station: Any, centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    """The packet is rejected with the centre's note, told as every refusal, with its receipt kept; reconciling changes nothing."""
    told: list[tuple[str, ...]] = []
    ear = Ear(station)
    ear.rejected = lambda *facts: told.append(facts)  # type: ignore[method-assign]
    courier = Courier(station.outbox, "central", centre, clock=station.clock)
    packet_id = station.submit().packet.packet_id
    courier.drain()
    centre.say(packet_id, NOT_REGISTERED, "Station not trusted.")
    poll_statuses(station.outbox, "central", centre, [ear])

    assert ("rejected", "not-registered", True) == _state(station, packet_id)
    ((told_id, name, code, reason),) = told
    assert (packet_id, "central", "not-registered") == (told_id, name, code)
    assert "ENROLL_FAILURE_AT_CENTRAL (Station not trusted)" in reason
    assert f"rejected {packet_id} at central" in caplog.text
    line, *_ = station.outbox.summary()
    assert (0, 0, 1) == (line.pending, line.delivered, line.rejected)

    reconcile(station.outbox, "central", centre)
    assert ("rejected", "not-registered", True) == _state(station, packet_id)
    assert 1 == poll_statuses_from_the_start(station, centre)
    assert ("rejected", "not-registered", True) == _state(station, packet_id)
    assert () == station.outbox.audit.verify().problems


def poll_statuses_from_the_start(station: Any, centre: Centre) -> int:
    """Read the feed anew, as after a restore from an older backup; return how many pages were asked for."""
    with station.outbox._database.write() as connection:
        sql = station.outbox._database.sql
        connection.execute(sql("UPDATE ktpsync_destination SET cursor = NULL WHERE dest = 'central'"))
    asked = len(centre.asked)
    assert 0 == poll_statuses(station.outbox, "central", centre)
    return len(centre.asked) - asked


def test_a_requeued_packet_may_fail_again_or_be_registered(station: Any, centre: Centre) -> None:
    """It travels again under the same id; each later word of the centre counts, its earlier ones do not."""
    courier = Courier(station.outbox, "central", centre, clock=station.clock)
    packet_id = station.submit().packet.packet_id
    courier.drain()
    centre.say(packet_id, NOT_REGISTERED)
    poll_statuses(station.outbox, "central", centre)
    station.outbox.requeue(packet_id, "central", who="budi", why="the key was given to the centre")
    assert 1 == courier.drain().delivered
    poll_statuses_from_the_start(station, centre)
    assert ("delivered", None, True) == _state(station, packet_id)

    centre.say(packet_id, NOT_REGISTERED)
    poll_statuses(station.outbox, "central", centre)
    assert "rejected" == _state(station, packet_id)[0]
    centre.say(packet_id, "PRINT_READY_RECORD")  # taken up there by itself
    poll_statuses(station.outbox, "central", centre)
    assert ("delivered", None, True) == _state(station, packet_id)
    line, *_ = station.outbox.summary()
    assert (0, 1, 0) == (line.pending, line.delivered, line.rejected)
    assert () == station.outbox.audit.verify().problems


def test_a_failed_packet_that_the_centre_asks_for_or_lost_travels_again(station: Any, centre: Centre) -> None:
    """``PACKET_RETRY`` and a reconcile that misses it open a rejected delivery as they open a delivered one."""
    courier = Courier(station.outbox, "central", centre, clock=station.clock)
    asked, lost = (station.submit(data).packet.packet_id for data in (b"asked", b"lost"))
    courier.drain()
    for packet_id in (asked, lost):
        centre.say(packet_id, NOT_REGISTERED)
    centre.say(asked, "PACKET_RETRY")
    poll_statuses(station.outbox, "central", centre)
    assert "pending" == _state(station, asked)[0]
    assert 1 == courier.drain().delivered
    centre.taken = [one for one in centre.taken if one[0] != lost]
    assert (lost,) == reconcile(station.outbox, "central", centre).requeued
    assert 1 == courier.drain().delivered
    line, *_ = station.outbox.summary()
    assert (0, 2, 0) == (line.pending, line.delivered, line.rejected)


def test_what_the_centre_has_already_is_not_cancelled(station: Any, centre: Centre) -> None:
    """A courier died before it wrote the receipt down: the centre's status proves that the packet is there; a receipt settles it."""
    there, elsewhere, retried = (
        station.submit(data).packet.packet_id for data in (b"there", b"not there", b"asked again")
    )
    centre.say(there, "PRINT_READY_RECORD")
    centre.say(retried, "PACKET_RETRY")
    poll_statuses(station.outbox, "central", centre)
    with pytest.raises(WrongStateError, match="at central already: its status there is PRINT_READY_RECORD"):
        station.outbox.cancel(there, "central", who="budi", why="by mistake")
    assert "pending" == _state(station, there)[0]
    for packet_id in (elsewhere, retried):
        station.outbox.cancel(packet_id, "central", who="budi", why="recorded twice")
        assert "cancelled" == _state(station, packet_id)[0]
    station.outbox.handled(there, "central", who="budi", why="seen there")
    assert ("handled", "handled", False) == _state(station, there)


def test_a_person_s_reason_is_kept_without_whom_it_is_about(station: Any, centre: Centre) -> None:
    """Reasons stay in the trail for good, in clear: names in capitals, telephone numbers and dates are masked there."""
    packet_id = station.submit().packet.packet_id
    why = "DEWI LESTARI NIK 3578014405920001 lahir 1992-05-04 hp 081234567890 sudah direkam"
    station.outbox.cancel(packet_id, "central", who="budi", why=why)
    station.outbox.pause("central", reason="tunggu SITI AMINAH 081234567890", who="wati")
    told = str(list(station.outbox.audit.entries())) + str(station.outbox.destination("central"))
    for part in ("DEWI", "SITI", "0812", "1992-05-04", "3578014405920001"):
        assert part not in told
    assert "sudah direkam" in told
