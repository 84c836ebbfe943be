"""The store against a simple model: several workers, a clock that jumps, crashes, and every operation in any order."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
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
from ktpsync.outbox import DeliveryState, DestinationSpec, Lease, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Receipt

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
        self.outbox = self.open()
        for number in range(3):
            self.submit(b"%d" % number, None, urgent=number == 2, rollback=False)

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
        urgent=st.booleans(),
        rollback=st.booleans(),
    )
    def submit(self, data: bytes, reference: str | None, *, urgent: bool, rollback: bool) -> None:
        """Submit, sometimes in a transaction that is rolled back."""
        packet_id = new_packet_id()
        options: dict[str, Any] = {
            "packet_id": packet_id,
            "sha256": hashlib.sha256(data).hexdigest(),
            "reference": reference,
            "fingerprint": data if reference else None,
            "urgent": urgent,
        }
        known = self.model.references.get(reference or "")
        try:
            if rollback:
                with self.outbox._database.engine.connect() as connection:
                    submitted = self.outbox.submit(data, connection=connection, **options)
                    connection.rollback()
            else:
                submitted = self.outbox.submit(data, **options)
        except ReferenceConflictError:
            assert known is not None
            assert known[1] != data
            return
        if known is not None:
            assert (known, False) == ((submitted.packet.packet_id, data), submitted.created)
        elif not rollback:
            self.model.packets[packet_id] = data
            if reference:
                self.model.references[reference] = (packet_id, data)
            for name in DESTINATIONS:
                self.model.entries[packet_id, name] = Entry(due_ms=self.clock.ms, urgent=urgent)

    @rule(destination=st.sampled_from(DESTINATIONS), limit=st.integers(1, 3))
    def claim(self, destination: str, limit: int) -> None:
        """Claim: exactly what is due, urgent first, then by time."""
        due = sorted(
            (
                (not entry.urgent, entry.due_ms, packet_id)
                for (packet_id, name), entry in self.model.entries.items()
                if name == destination and entry.state == "open" and entry.due_ms <= self.clock.ms
            ),
        )
        claimed = self.outbox.claim(destination, limit, LEASE)
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
            with lease.packet.open() as file:
                assert self.model.packets[lease.packet.packet_id] == file.read()
        assert places == sorted(got)
        self.given += claimed

    @precondition(lambda self: self.given)
    @rule(
        pick=st.integers(0, 5),
        how=st.sampled_from(["settle", "settle", "fail", "reject", "release", "renew"]),
    )
    def end(self, pick: int, how: str) -> None:
        """End an attempt under any lease ever given; all but the present ones are refused."""
        lease = self.given[-1 - pick % len(self.given)]
        entry = self.model.entries[lease.packet.packet_id, lease.destination]
        held = entry.state == "open" and entry.fence == lease.fence
        now = self.clock.ms
        try:
            if how == "settle":
                packet = lease.packet
                receipt = Receipt(
                    packet_id=packet.packet_id,
                    sha256=packet.sha256,
                    size=packet.size,
                    stored_at=datetime(2026, 1, 1, tzinfo=UTC),
                )
                self.outbox.settle(lease, receipt)
                entry.state = "delivered"
            elif how == "fail":
                self.outbox.fail(lease, code="c", reason="r", delay=30)
                entry.failures += 1
                entry.fence += 1
                entry.due_ms = now + 30_000
            elif how == "reject":
                self.outbox.reject(lease, code="c", reason="r")
                entry.state = "rejected"
            elif how == "release":
                self.outbox.release(lease)
                entry.attempts -= 1
                entry.fence += 1
                entry.due_ms = now
            else:
                assert ([] if held else [lease]) == self.outbox.renew([lease], LEASE)
                if held:
                    entry.due_ms = now + LEASE * 1000
                return
        except LeaseLostError:
            assert not held
        else:
            assert held

    @rule(chance=st.randoms(use_true_random=False), act=st.sampled_from(["requeue", "cancel", "handled"]))
    def decide(self, chance: random.Random, act: str) -> None:
        """A person decides on any delivery in any state; what is delivered stays so unless it is sent again."""
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
        if view.state in refused[act]:
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

    @rule()
    def crash(self) -> None:
        """The process dies and another one opens the same outbox."""
        self.outbox.close()
        self.outbox = self.open()

    @invariant()
    def agrees(self) -> None:
        """The outbox holds what the model holds."""
        if not hasattr(self, "outbox"):
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
        if not hasattr(self, "outbox"):
            return
        assert () == self.outbox.audit.verify().problems
        for view in self.outbox.packets():
            assert self.model.packets[view.packet_id] == self.outbox.spool.path(view.packet_id).read_bytes()
        self.outbox.close()
        shutil.rmtree(self.folder)


@pytest.mark.slow
def test_store_agrees_with_the_model(new_database: Callable[[], Path | str]) -> None:
    """No order of operations, clock jumps and crashes makes the store and the model differ."""

    class OnThisStore(Store):
        pass

    OnThisStore.new_database = staticmethod(new_database)
    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
