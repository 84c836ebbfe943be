"""The HTTP backend keeps the contract against the sandbox centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.plugins import BackendContext, HoldingState, Secret
from ktpsync.testing import BackendContract, made_up_packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestHttp(BackendContract):
    """Over real sockets."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[HttpBackend]:
        """Return a backend connected to a new centre."""
        settings = CentralSettings(
            folder=tmp_path, identities=[age.generate_identity("x25519")], tokens={"right-token": "3578"}
        )
        with running(settings) as url:
            client = HttpSettings(url=url, token=Secret("right-token"))
            with HttpBackend(client, BackendContext(name="central")) as backend:
                yield backend

    def test_reconcile_tells_held_missing_and_conflict(self, backend: HttpBackend) -> None:
        """No bytes are sent to find out what the centre holds."""
        held, missing, other = made_up_packet(b"held"), made_up_packet(b"missing"), made_up_packet(b"other")
        receipt = backend.deliver(held)
        backend.deliver(other)
        changed = made_up_packet(b"changed")
        conflict = type(changed).from_bytes(other.packet_id, changed.sha256, b"changed")

        answers = {holding.packet_id: holding for holding in backend.reconcile([held, missing, conflict])}

        assert [HoldingState.HELD, HoldingState.MISSING, HoldingState.CONFLICT] == [
            answers[packet.packet_id].state for packet in (held, missing, conflict)
        ]
        assert receipt == answers[held.packet_id].receipt

    def test_statuses_go_on_from_the_cursor(self, backend: HttpBackend) -> None:
        """Each change is told once per cursor, and again for an old cursor."""
        first, second = made_up_packet(b"first"), made_up_packet(b"second")
        backend.deliver(first)
        page = backend.statuses(None)
        backend.deliver(second)
        later = backend.statuses(page.cursor)

        assert first.packet_id == page.changes[0].packet_id
        assert "RECEIVED_AT_CENTRAL" == page.changes[0].status
        assert second.packet_id in {change.packet_id for change in later.changes}
        assert page.changes == backend.statuses(None).changes[: len(page.changes)]
