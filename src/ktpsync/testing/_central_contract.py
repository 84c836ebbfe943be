"""The conformance kit's part for backends that stand for a centre."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from ktpsync.errors import UnsupportedError
from ktpsync.packet import SealedPacket
from ktpsync.plugins import Capability, HoldingState
from ktpsync.testing._contract import BackendContract
from ktpsync.testing._made_up import made_up_packet, reading_from

if TYPE_CHECKING:
    import io

    from ktpsync.plugins import CentralBackend, StatusChange

_MANY = 2_500
"""Packets asked about at once: more than a page of any interface that has small ones."""


class CentralContract(BackendContract):
    """What every centre must do besides. Inherit it and give a fixture ``backend``.

    Attributes:
        patience: Seconds that the centre may take until its feed tells of a delivered packet.
    """

    patience: ClassVar[float] = 10.0

    @pytest.fixture
    def backend(self) -> CentralBackend:
        """Return the backend under test, connected to a real centre without packets."""
        raise NotImplementedError("give a fixture 'backend' in your subclass")

    def test_what_is_not_claimed_says_so(self, backend: CentralBackend) -> None:
        """A centre without a feed, or that cannot be asked, is told apart from one that fails."""
        if Capability.STATUSES not in backend.capabilities:
            with pytest.raises(UnsupportedError):
                backend.statuses(None)
        if Capability.RECONCILE not in backend.capabilities:
            with pytest.raises(UnsupportedError):
                list(backend.reconcile([made_up_packet()]))

    # --- the feed ---

    def test_the_feed_tells_of_each_packet(self, backend: CentralBackend) -> None:
        """With a status, a moment, and the cursor to go on from."""
        self._claims(backend, Capability.STATUSES)
        packet = made_up_packet()
        backend.deliver(packet)

        changes, cursor = self._until_told(backend, packet, None)

        (change, *_) = [change for change in changes if change.packet_id == packet.packet_id]
        assert change.status
        assert change.changed_at.utcoffset() is not None
        assert cursor

    def test_the_feed_goes_on_from_the_cursor(self, backend: CentralBackend) -> None:
        """What was told before a cursor is not told after it, and nothing is left out."""
        self._claims(backend, Capability.STATUSES)
        first, second = made_up_packet(b"first"), made_up_packet(b"second")
        backend.deliver(first)
        before, cursor = self._until_told(backend, first, None)
        backend.deliver(second)

        after, _ = self._until_told(backend, second, cursor)

        assert [change for change in after if change in before] == []

    def test_the_feed_tells_the_same_again(self, backend: CentralBackend) -> None:
        """A cursor can be used again, as after a crash between asking and noting."""
        self._claims(backend, Capability.STATUSES)
        packet = made_up_packet()
        backend.deliver(packet)
        told, _ = self._until_told(backend, packet, None)

        again, _ = self._until_told(backend, packet, None)

        assert told == again[: len(told)]

    # --- what the centre holds ---

    def test_reconcile_tells_held_missing_and_conflict(self, backend: CentralBackend) -> None:
        """One answer for each packet, with the receipt of those that are held; no bytes are read."""
        self._claims(backend, Capability.RECONCILE)
        held, missing, other = (made_up_packet(content) for content in (b"held", b"missing", b"other"))
        receipt = backend.deliver(held)
        backend.deliver(other)
        changed = SealedPacket.from_bytes(other.packet_id, made_up_packet(b"changed").sha256, b"changed")

        answers = list(backend.reconcile([_unreadable(packet) for packet in (held, missing, changed)]))

        assert {
            held.packet_id: HoldingState.HELD,
            missing.packet_id: HoldingState.MISSING,
            changed.packet_id: HoldingState.CONFLICT,
        } == {answer.packet_id: answer.state for answer in answers}
        assert [receipt] == [answer.receipt for answer in answers if answer.state is HoldingState.HELD]
        assert len(answers) == len({answer.packet_id for answer in answers})

    def test_reconcile_asks_about_many(self, backend: CentralBackend) -> None:
        """An office that was restored asks about its whole backlog; about nothing is fine too."""
        self._claims(backend, Capability.RECONCILE)
        packets = [made_up_packet(b"same bytes") for _ in range(_MANY)]
        backend.deliver(packets[0])

        answers = list(backend.reconcile(packets))

        assert {packet.packet_id for packet in packets} == {answer.packet_id for answer in answers}
        assert [packets[0].packet_id] == [
            answer.packet_id for answer in answers if answer.state is HoldingState.HELD
        ]
        assert list(backend.reconcile([])) == []

    def _until_told(
        self, backend: CentralBackend, packet: SealedPacket, cursor: str | None
    ) -> tuple[list[StatusChange], str]:
        """Return the changes after a cursor, as soon as one of them is of this packet."""
        deadline = time.monotonic() + self.patience
        while True:
            changes: list[StatusChange] = []
            at, more = cursor, True
            while more:
                page = backend.statuses(at)
                changes += page.changes
                at, more = page.cursor, page.more
            if any(change.packet_id == packet.packet_id for change in changes):
                return changes, str(at)
            assert time.monotonic() < deadline, "the feed does not tell of the packet"
            time.sleep(0.05)


def _unreadable(packet: SealedPacket) -> SealedPacket:
    def opener() -> io.BytesIO:
        raise AssertionError("reconcile must not read packets")

    return reading_from(packet, opener)
