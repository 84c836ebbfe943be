"""The conformance kit: what every backend must do, as tests that its author inherits."""

from __future__ import annotations

import difflib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from ktpsync.errors import (
    AuthError,
    BackendError,
    ConflictError,
    CorruptError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.packet import SealedPacket
from ktpsync.plugins import Capability, CentralBackend, StorageBackend
from ktpsync.testing._made_up import (
    CountedOpener,
    TricklingSource,
    breaking_source,
    made_up_packet,
    reading_from,
)
from ktpsync.testing._redirecting import REDIRECTIONS, Redirecting, speaks_http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ktpsync.plugins import Backend

T = TypeVar("T")

_KIND_OF = {
    Capability.PARTS: StorageBackend,
    Capability.STATUSES: CentralBackend,
    Capability.RECONCILE: CentralBackend,
}


class BackendContract:
    """What every backend must do. Inherit it and give a fixture ``backend``.

    Three more fixtures are optional, and their tests are skipped without them: ``unreachable_backend``, a
    backend whose place does not answer, ``refused_backend``, one with credentials that are not accepted, and
    ``through_line``, what makes a backend of the same place at another port.

    Attributes:
        known_deviations: Names of inherited tests that the backend is known to fail, each with the reason.
            They are run, and it is an error if one passes: then the line must go.
    """

    known_deviations: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        tests = [name for name in dir(cls) if name.startswith("test_")]
        for name in cls.known_deviations:
            if name not in tests:
                close = difflib.get_close_matches(name, tests, n=1)
                hint = f"; perhaps {close[0]}" if close else ""
                raise TypeError(f"{cls.__name__}.known_deviations: there is no test {name}{hint}")

    @pytest.fixture(autouse=True)
    def _expect_known_deviation(self, request: pytest.FixtureRequest) -> None:
        reason = self.known_deviations.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test, connected to a real and empty destination."""
        raise NotImplementedError("give a fixture 'backend' in your subclass")

    @pytest.fixture
    def unreachable_backend(self) -> Backend:
        """Return a backend whose place does not answer."""
        return pytest.skip("there is no fixture 'unreachable_backend'")

    @pytest.fixture
    def refused_backend(self) -> Backend:
        """Return a backend with credentials that its place does not accept."""
        return pytest.skip("there is no fixture 'refused_backend'")

    @pytest.fixture
    def through_line(self) -> tuple[int, Callable[[int], Backend]]:
        """Return the server's port on 127.0.0.1, and what makes a backend of the same place at another port."""
        return pytest.skip("there is no fixture 'through_line'")

    # --- what it says of itself ---

    def test_check_describes_a_destination_that_works(self, backend: Backend) -> None:
        """A healthy destination says so in words."""
        health = backend.check()

        assert health.summary
        assert health.free is None or health.free >= 0

    def test_capabilities_fit_the_kind_of_backend(self, backend: Backend) -> None:
        """Only what the kind of backend has a method for can be claimed."""
        for capability in backend.capabilities:
            assert isinstance(capability, Capability)
            assert isinstance(backend, _KIND_OF.get(capability, object))

    # --- delivering ---

    @pytest.mark.parametrize("size", [0, 1, 300_000, 3 << 20])
    def test_deliver_gives_a_receipt_for_these_bytes(self, backend: Backend, size: int) -> None:
        """The receipt names the packet, its digest and its size."""
        packet = made_up_packet(b"\xa5" * size)

        receipt = backend.deliver(packet)

        assert (packet.packet_id, packet.sha256, packet.size) == (
            receipt.packet_id,
            receipt.sha256,
            receipt.size,
        )
        assert receipt.stored_at.utcoffset() is not None

    def test_deliver_again_gives_the_same_receipt(self, backend: Backend) -> None:
        """A repeated delivery has no second effect."""
        packet = made_up_packet()

        assert backend.deliver(packet) == backend.deliver(packet)

    def test_deliver_refuses_other_bytes_under_the_same_id(self, backend: Backend) -> None:
        """What was delivered first stays as it is, also where the other bytes are as many."""
        packet = made_up_packet(b"first")
        receipt = backend.deliver(packet)

        for content in (b"other", b"of another size"):
            other = made_up_packet(content)
            with pytest.raises(ConflictError):
                backend.deliver(SealedPacket.from_bytes(packet.packet_id, other.sha256, content))

        assert receipt == backend.deliver(packet)

    def test_deliver_refuses_bytes_that_do_not_have_their_digest(self, backend: Backend) -> None:
        """Damage on the way from the spool is noticed, and the good bytes are still welcome."""
        packet = made_up_packet(b"right")
        damaged = SealedPacket.from_bytes(packet.packet_id, packet.sha256, b"wrong")

        with pytest.raises(CorruptError):
            backend.deliver(damaged)

        assert packet.sha256 == backend.deliver(packet).sha256

    def test_deliver_survives_a_source_that_breaks(self, backend: Backend) -> None:
        """A spool that fails in the middle leaves nothing behind that the next attempt stumbles over."""
        content = b"\x5a" * 300_000
        packet = made_up_packet(content)

        for good in (0, 200_000):
            opener = partial(breaking_source, content, good, seekable=True)
            with pytest.raises(Exception, match=r"."):
                backend.deliver(reading_from(packet, opener))

        assert packet.sha256 == backend.deliver(packet).sha256

    def test_an_interrupted_delivery_goes_on(self, backend: Backend) -> None:
        """Where that is claimed, what was sent of a large packet is not read a second time."""
        self._claims(backend, Capability.RESUMABLE)
        content = bytes(range(256)) * (12 << 10)
        packet = made_up_packet(content)
        with pytest.raises(Exception, match=r"."):
            backend.deliver(reading_from(packet, partial(breaking_source, content, 2 << 20, seekable=True)))
        starts: list[int] = []

        def opener() -> TricklingSource:
            return TricklingSource(content, 64 << 10, seekable=True, before_each=starts.append)

        receipt = backend.deliver(reading_from(packet, opener))

        assert (packet.sha256, packet.size) == (receipt.sha256, receipt.size)
        assert min(starts) > 0

    def test_deliver_takes_a_source_that_trickles(self, backend: Backend) -> None:
        """A read that gives less than was asked for is not the end."""
        content = bytes(range(256)) * 100
        packet = made_up_packet(content)

        receipt = backend.deliver(reading_from(packet, lambda: TricklingSource(content, seekable=True)))

        assert (packet.sha256, packet.size) == (receipt.sha256, receipt.size)

    def test_deliver_closes_what_it_opened(self, backend: Backend) -> None:
        """Thousands of packets must not use up the machine's file handles; failed ones neither."""
        packet = made_up_packet(b"content")
        opener, damaged = CountedOpener(b"content"), CountedOpener(b"damaged")

        with pytest.raises(BackendError):
            backend.deliver(reading_from(packet, damaged))
        backend.deliver(reading_from(packet, opener))
        backend.deliver(reading_from(packet, opener))

        assert (damaged.left_open, opener.left_open) == (0, 0)

    def test_concurrent_deliveries_of_one_packet_agree(self, backend: Backend) -> None:
        """Two workers with the same packet get the same receipt."""
        packet = made_up_packet(b"x" * 100_000)

        receipts = self._at_once(4, lambda _: backend.deliver(packet))

        assert [receipts[0]] * 4 == receipts

    def test_concurrent_deliveries_do_not_mix(self, backend: Backend) -> None:
        """Each of several workers gets the receipt of its own packet."""
        packets = [made_up_packet(bytes([number]) * (50_000 + number)) for number in range(8)]

        receipts = self._at_once(8, lambda number: backend.deliver(packets[number]))

        assert [(packet.packet_id, packet.sha256, packet.size) for packet in packets] == [
            (receipt.packet_id, receipt.sha256, receipt.size) for receipt in receipts
        ]

    def test_a_delivered_packet_is_given_back(self, backend: Backend) -> None:
        """To mend a damaged copy elsewhere, if the place gives packets back at all; what it has not is not found."""
        content = bytes(range(256)) * 1200
        packet = made_up_packet(content)
        backend.deliver(packet)
        try:
            file = backend.fetch(packet.packet_id)
        except UnsupportedError:
            pytest.skip("the backend gives no packets back")

        with file:
            assert content == file.read()

        with pytest.raises(NotFoundError):
            backend.fetch(made_up_packet().packet_id)

    # --- trouble ---

    def test_an_unreachable_place_is_unavailable(self, unreachable_backend: Backend) -> None:
        """The packet is not to blame: it is tried again later, at no cost."""
        with pytest.raises(UnavailableError):
            unreachable_backend.check()
        with pytest.raises(UnavailableError):
            unreachable_backend.deliver(made_up_packet())

    def test_refused_credentials_are_told(self, refused_backend: Backend) -> None:
        """The destination is stopped and a person is told."""
        with pytest.raises(AuthError):
            refused_backend.check()
        with pytest.raises(AuthError):
            refused_backend.deliver(made_up_packet())

    @pytest.mark.parametrize("status", REDIRECTIONS)
    def test_a_redirection_is_not_followed(
        self, through_line: tuple[int, Callable[[int], Backend]], status: int
    ) -> None:
        """Packets and credentials go to the configured address only, whoever answers there."""
        port, connect = through_line
        if not speaks_http(port):
            pytest.skip("the server does not speak HTTP")
        packet = made_up_packet()
        asks: list[Callable[[Backend], object]] = [
            lambda backend: backend.check(),
            lambda backend: backend.deliver(packet),
            lambda backend: backend.fetch(packet.packet_id),
        ]
        with Redirecting(status) as door:
            for ask in asks:
                with connect(door.port) as backend, pytest.raises(BackendError) as told:
                    ask(backend)
                assert not isinstance(
                    told.value, ConflictError | CorruptError | RejectedError | NotFoundError
                )

        assert door.followed == []
        assert door.asked

    @staticmethod
    def _claims(backend: Backend, capability: Capability) -> None:
        if capability not in backend.capabilities:
            pytest.skip(f"the backend does not claim {capability.value}")

    @staticmethod
    def _at_once(count: int, work: Callable[[int], T]) -> list[T]:
        start = threading.Barrier(count)

        def run(number: int) -> T:
            start.wait()
            return work(number)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))
