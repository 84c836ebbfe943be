"""The store against a simple model: several workers, a clock that jumps, crashes, and every operation in any order."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import sqlalchemy as sa
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ktpsync.errors import LeaseLostError, ReferenceConflictError, WrongStateError
from ktpsync.outbox import DeliveryState, DestinationSpec, Lease, Outbox, Submission
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Holding, HoldingState, Receipt, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE = 60
DESTINATIONS = ("central", "usb")


class Clock:
    """Moved by the rules."""

    ms = 1_700_000_000_000

    def now_ms(self) -> int:
        """The wall clock."""
        return self.ms

    def monotonic(self) -> float:
        """Not asked by the store."""
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        """Not asked by the store."""


@define
class Entry:
    """What the model knows of one delivery."""

    state: str = "open"
    due_ms: int = 0
    fence: int = 0
    attempts: int = 0
    failures: int = 0
    urgent: bool = False


@define
class Model:
    """What the outbox should hold."""

    packets: dict[str, bytes] = field(factory=dict)
    locations: dict[str, str] = field(factory=dict)
    statuses: dict[str, tuple[int, str]] = field(factory=dict)
    verified: set[str] = field(factory=set)
    persons: dict[bytes, list[str]] = field(factory=dict)
    references: dict[str, tuple[str, bytes]] = field(factory=dict)
    entries: dict[tuple[str, str], Entry] = field(factory=dict)


class Store(RuleBasedStateMachine):
    """Runs the same operations on the outbox and on the model."""

    new_database: ClassVar[Callable[[], Path | str]]

    @initialize()
    def start(self) -> None:
        """Open an empty outbox."""
        self.folder = Path(tempfile.mkdtemp(prefix="ktpsync-model-"))
        self.database = type(self).new_database()
        self.clock = Clock()
        self.model = Model()
        self.given: list[Lease] = []
        self.workers = [self.open(), self.open()]
        self.workers[0].register_copy_target("r")
        url = sa.make_url(f"sqlite:///{self.database}" if isinstance(self.database, Path) else self.database)
        self.application = sa.create_engine(
            url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")
        )
        for number in range(3):
            self.submit(b"%d" % number, None, None, 0, urgent=number == 2, rollback=False)

    def open(self) -> Outbox:
        """Open the outbox, as a process does."""
        return Outbox.open(
            self.database,
            self.folder / "spool",
            destinations=[DestinationSpec(name=name) for name in DESTINATIONS],
            clock=self.clock,
            random=random.Random(0),
        )

    @rule(
        data=st.binary(min_size=1, max_size=8),
        reference=st.sampled_from([None, "a", "b"]),
        person=st.sampled_from([None, b"p", b"q"]),
        worker=st.integers(0, 1),
        urgent=st.booleans(),
        rollback=st.booleans(),
    )
    def submit(
        self,
        data: bytes,
        reference: str | None,
        person: bytes | None,
        worker: int,
        *,
        urgent: bool,
        rollback: bool,
    ) -> None:
        """Submit, sometimes in a transaction that is rolled back."""
        packet_id = new_packet_id()
        options: dict[str, Any] = {
            "packet_id": packet_id,
            "sha256": hashlib.sha256(data).hexdigest(),
            "reference": reference,
            "fingerprint": data if reference else None,
            "person": person,
            "urgent": urgent,
        }
        outbox = self.workers[worker]
        known = self.model.references.get(reference or "")
        try:
            if rollback:
                with self.application.connect() as connection:
                    submitted = outbox.submit(data, connection=connection, **options)
                    connection.rollback()
            else:
                submitted = outbox.submit(data, **options)
        except ReferenceConflictError:
            assert known is not None
            assert known[1] != data
            return
        if known is not None:
            assert (known, False) == ((submitted.packet.packet_id, data), submitted.created)
        else:
            assert self.same_person(person) == list(submitted.same_person)
            if not rollback:
                self.added(packet_id, data, reference, person, urgent=urgent)

    def added(
        self, packet_id: str, data: bytes, reference: str | None, person: bytes | None, *, urgent: bool
    ) -> None:
        """Take a packet into the model."""
        self.model.packets[packet_id] = data
        self.model.locations[packet_id] = "spool"
        if reference:
            self.model.references[reference] = (packet_id, data)
        if person:
            self.model.persons.setdefault(person, []).append(packet_id)
        for name in DESTINATIONS:
            self.model.entries[packet_id, name] = Entry(due_ms=self.clock.ms, urgent=urgent)

    def same_person(self, person: bytes | None) -> list[str]:
        """Return the person's packets that some destination has not got yet."""
        return [
            packet_id
            for packet_id in sorted(self.model.persons.get(person or b"", []))
            if any(self.model.entries[packet_id, name].state == "open" for name in DESTINATIONS)
        ][:10]

    @rule(
        items=st.lists(
            st.tuples(st.binary(min_size=1, max_size=4), st.sampled_from([None, None, "a", "b", "c"])),
            max_size=5,
        ),
        worker=st.integers(0, 1),
    )
    def submit_many(self, items: list[tuple[bytes, str | None]], worker: int) -> None:
        """Submit a batch: each item is stored, known, or refused by itself."""
        batch = [
            Submission(
                sealed=data,
                packet_id=new_packet_id(),
                sha256=hashlib.sha256(data).hexdigest(),
                reference=reference,
                fingerprint=data if reference else None,
            )
            for data, reference in items
        ]
        for item, result in zip(batch, self.workers[worker].submit_many(batch), strict=True):
            known = self.model.references.get(item.reference or "")
            if known is None:
                assert not isinstance(result, Exception)
                assert result.created
                self.added(item.packet_id, item.sealed, item.reference, None, urgent=False)
            elif known[1] == item.sealed:
                assert not isinstance(result, Exception)
                assert (known[0], False) == (result.packet.packet_id, result.created)
            else:
                assert isinstance(result, ReferenceConflictError)

    @rule(destination=st.sampled_from(DESTINATIONS), limit=st.integers(1, 3), worker=st.integers(0, 1))
    def claim(self, destination: str, limit: int, worker: int) -> None:
        """Claim: exactly what is due, urgent first, then by time."""
        due = sorted(
            (
                (not entry.urgent, entry.due_ms, packet_id)
                for (packet_id, name), entry in self.model.entries.items()
                if name == destination and entry.state == "open" and entry.due_ms <= self.clock.ms
            ),
        )
        claimed = self.workers[worker].claim(destination, limit, LEASE)
        assert min(limit, len(due)) == len(claimed)
        places = [(place[0], place[1]) for place in due[: len(claimed)]]
        got = []
        for lease in claimed:
            entry = self.model.entries[lease.packet.packet_id, destination]
            got.append((not entry.urgent, entry.due_ms))
            entry.fence += 1
            entry.attempts += 1
            entry.due_ms = self.clock.ms + LEASE * 1000
            assert (entry.fence, entry.attempts, entry.failures) == (
                lease.fence,
                lease.attempts,
                lease.failures,
            )
            assert self.workers[worker].owner == lease.owner
            if self.model.locations[lease.packet.packet_id] == "spool":
                with lease.packet.open() as file:
                    assert self.model.packets[lease.packet.packet_id] == file.read()
        assert places == sorted(got)
        self.given += claimed

    @precondition(lambda self: self.given)
    @rule(
        pick=st.integers(0, 5),
        how=st.sampled_from(["settle", "settle", "fail", "reject", "release", "renew"]),
        worker=st.integers(0, 1),
    )
    def end(self, pick: int, how: str, worker: int) -> None:
        """End an attempt under any lease ever given; all but the present ones are refused."""
        lease = self.given[-1 - pick % len(self.given)]
        entry = self.model.entries[lease.packet.packet_id, lease.destination]
        held = entry.state == "open" and entry.fence == lease.fence
        now = self.clock.ms
        outbox = self.workers[worker]
        try:
            if how == "settle":
                packet = lease.packet
                receipt = Receipt.of(
                    packet,
                    sha256=packet.sha256,
                    stored_at=datetime(2026, 1, 1, tzinfo=UTC),
                )
                outbox.settle(lease, receipt)
                entry.state = "delivered"
            elif how == "fail":
                outbox.fail(lease, code="c", reason="r", delay=30)
                entry.failures += 1
                entry.fence += 1
                entry.due_ms = now + 30_000
            elif how == "reject":
                outbox.reject(lease, code="c", reason="r")
                entry.state = "rejected"
            elif how == "release":
                outbox.release(lease)
                entry.attempts -= 1
                entry.fence += 1
                entry.due_ms = now
            else:
                assert ([] if held else [lease]) == outbox.renew([lease], LEASE)
                if held:
                    entry.due_ms = now + LEASE * 1000
                return
        except LeaseLostError:
            assert not held
        else:
            assert held

    @rule(chance=st.randoms(use_true_random=False), act=st.sampled_from(["requeue", "cancel", "handled"]))
    def decide(self, chance: random.Random, act: str) -> None:
        """A person decides on any delivery in any state; what is delivered stays so unless it is sent again.

        What the centre has, as its status shows, cannot be cancelled there either.
        """
        if not self.model.entries:
            return
        key = chance.choice(sorted(self.model.entries))
        entry = self.model.entries[key]
        (view,) = [one for one in self.outbox.status(key[0]).deliveries if one.destination == key[1]]
        refused = {
            "requeue": {DeliveryState.LEASED},
            "cancel": {DeliveryState.DELIVERED, DeliveryState.CANCELLED},
            "handled": {DeliveryState.DELIVERED, DeliveryState.HANDLED},
        }
        there = key[1] == "central" and key[0] in self.model.statuses and entry.state == "open"
        if view.state in refused[act] or (act == "cancel" and there):
            with pytest.raises(WrongStateError):
                getattr(self.outbox, act)(*key, who="w", why="y")
            return
        getattr(self.outbox, act)(*key, who="w", why="y")
        entry.fence += 1
        entry.due_ms = self.clock.ms
        entry.state = {"requeue": "open", "cancel": "cancelled", "handled": "handled"}[act]
        if act == "requeue":
            entry.failures = 0

    @rule(seconds=st.sampled_from([1, 29, 31, 59, 61, 3600, -1, -45]))
    def time_passes(self, seconds: int) -> None:
        """Time passes, or a clock is set back a little."""
        self.clock.ms += seconds * 1000

    @rule(years=st.sampled_from([-30, 30]))
    def clock_jumps(self, years: int) -> None:
        """The clock jumps; a courier that starts brings back what would wait for years."""
        self.clock.ms += years * 365 * 86_400_000
        for name in DESTINATIONS:
            self.outbox.unpark(name, LEASE)
        for entry in self.model.entries.values():
            if entry.state == "open" and entry.due_ms > self.clock.ms + 2 * 3_600_000:
                entry.due_ms = -1  # brought back: to now, or to one lease from now if it was held
        self.read_due()

    def read_due(self) -> None:
        """Take over what the store did with deliveries that were parked, within the limits promised."""
        for (packet_id, destination), entry in self.model.entries.items():
            if entry.due_ms == -1:
                views = self.outbox.status(packet_id).deliveries
                (view,) = [one for one in views if one.destination == destination]
                due_ms = round(view.due_at.timestamp() * 1000)
                assert self.clock.ms <= due_ms <= self.clock.ms + LEASE * 1000
                entry.due_ms = due_ms

    @rule(chance=st.randoms(use_true_random=False), days=st.integers(0, 3), final=st.booleans())
    def centre_speaks(self, chance: random.Random, days: int, *, final: bool) -> None:
        """The centre says something of a packet, in any order of its own clock."""
        packet_id = chance.choice(sorted(self.model.packets))
        moment = datetime(2023, 11, 1, tzinfo=UTC) + timedelta(days=days)
        said = StatusChange(
            packet_id=packet_id, status="CARD_ISSUED" if final else "PROCESSING", changed_at=moment
        )
        self.outbox.apply_statuses("central", StatusPage(changes=[said], cursor="c", more=False))
        ms = round(moment.timestamp() * 1000)
        if ms >= self.model.statuses.get(packet_id, (0, ""))[0]:
            self.model.statuses[packet_id] = (ms, said.status)
            self.read_status(packet_id)

    def read_status(self, packet_id: str) -> None:
        """Take over which of two words of one moment the store has kept: either will do."""
        status = self.outbox.status(packet_id).registration_status
        assert status in {"CARD_ISSUED", "PROCESSING"}
        self.model.statuses[packet_id] = (self.model.statuses[packet_id][0], status)

    @rule(chance=st.randoms(use_true_random=False), verified=st.booleans())
    def backup(self, chance: random.Random, *, verified: bool) -> None:
        """A backup takes a packet that is in the spool, and reads it back or not."""
        packet_id = chance.choice(sorted(self.model.packets))
        if self.model.locations[packet_id] == "spool":
            held = {packet_id: self.outbox.status(packet_id).packet.sha256}
            self.outbox.mark_copied("r", held, "s", verified_ms=self.clock.ms if verified else None)
            if verified:
                self.model.verified.add(packet_id)

    @rule(wanted=st.integers(1, 20))
    def offload(self, wanted: int) -> None:
        """Make room: oldest first, only what a verified backup has, and no more than is asked for."""
        freed = 0
        for packet_id in sorted(self.model.verified):
            if freed < wanted and self.model.locations[packet_id] == "spool":
                self.model.locations[packet_id] = "offloaded"
                freed += len(self.model.packets[packet_id])
        assert freed == self.outbox.offload(wanted, who="w", prove=lambda _: True)

    @rule(days=st.integers(0, 2))
    def purge(self, days: int) -> None:
        """Purge exactly what every required destination and a verified backup has, final for long enough."""
        newest = max((ms for ms, _ in self.model.statuses.values()), default=0)
        before = min(newest, self.clock.ms) - days * 86_400_000
        expected = {
            packet_id
            for packet_id, (ms, status) in self.model.statuses.items()
            if status == "CARD_ISSUED"
            and ms <= before
            and packet_id in self.model.verified
            and self.model.locations[packet_id] != "purged"
            and all(self.model.entries[packet_id, name].state == "delivered" for name in DESTINATIONS)
        }
        assert expected == set(self.outbox.purge(timedelta(days=days), who="w", prove=lambda _: True))
        for packet_id in expected:
            self.model.locations[packet_id] = "purged"

    @rule(
        chance=st.randoms(use_true_random=False),
        destination=st.sampled_from(DESTINATIONS),
        state=st.sampled_from([HoldingState.HELD, HoldingState.MISSING]),
    )
    def reconcile(self, chance: random.Random, destination: str, state: HoldingState) -> None:
        """A destination says of a packet that it has it, or has not."""
        packet_id = chance.choice(sorted(self.model.packets))
        entry = self.model.entries[packet_id, destination]
        if self.model.locations[packet_id] == "purged":
            return
        data = self.model.packets[packet_id]
        receipt = Receipt(
            packet_id=packet_id,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        held = state is HoldingState.HELD
        holding = Holding(packet_id=packet_id, state=state, receipt=receipt if held else None)
        self.outbox.apply_holdings(destination, [holding])
        if held and entry.state != "delivered":
            entry.state = "delivered"
            entry.fence += 1
        elif not held and entry.state == "delivered":
            entry.state, entry.due_ms = "open", self.clock.ms
            entry.fence += 1

    @rule(worker=st.integers(0, 1))
    def crash(self, worker: int) -> None:
        """A process dies and another one opens the same outbox; the others go on."""
        self.workers[worker].close()
        self.workers[worker] = self.open()

    @property
    def outbox(self) -> Outbox:
        """The first worker's, for what any of them could do."""
        return self.workers[0]

    @invariant()
    def agrees(self) -> None:
        """The outbox holds what the model holds."""
        if not hasattr(self, "workers"):
            return
        assert sorted(self.model.packets) == [view.packet_id for view in self.outbox.packets()]
        for one in self.outbox.summary():
            mine = [
                entry.state for (_id, name), entry in self.model.entries.items() if name == one.state.name
            ]
            assert (mine.count("open"), mine.count("rejected"), mine.count("delivered")) == (
                one.pending + one.leased,
                one.rejected,
                one.delivered,
            )

    def teardown(self) -> None:
        """Check the trail and every file once more at the end."""
        if not hasattr(self, "workers"):
            return
        assert () == self.outbox.audit.verify().problems
        for view in self.outbox.packets():
            path = self.outbox.spool.path(view.packet_id)
            assert self.model.locations[view.packet_id] == view.location
            if view.location == "spool":
                assert self.model.packets[view.packet_id] == path.read_bytes()
            else:
                assert not path.exists()
        for worker in self.workers:
            worker.close()
        self.application.dispose()
        shutil.rmtree(self.folder)


@pytest.mark.slow
def test_store_agrees_with_the_model(new_database: Any) -> None:
    """No order of operations, clock jumps and crashes makes the store and the model differ."""

    class OnThisStore(Store):
        pass

    OnThisStore.new_database = staticmethod(new_database.migrated)
    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
