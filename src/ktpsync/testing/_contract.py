"""The conformance kit: what every backend must do, as tests that its author inherits."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import ConflictError, CorruptError, NotFoundError
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import packet_key

if TYPE_CHECKING:
    from ktpsync.plugins import Backend, StorageBackend


def made_up_packet(content: bytes = b"sealed bytes") -> SealedPacket:
    """Return a packet with a new id over these bytes."""
    return SealedPacket.from_bytes(new_packet_id(), hashlib.sha256(content).hexdigest(), content)


class BackendContract:
    """What every backend must do. Inherit it and give a fixture ``backend``."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test, connected to a real and empty destination."""
        raise NotImplementedError("give a fixture 'backend' in your subclass")

    def test_check_describes_a_destination_that_works(self, backend: Backend) -> None:
        """A healthy destination says so in words."""
        assert backend.check().summary

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
        """What was delivered first stays as it is."""
        packet = made_up_packet(b"first")
        other = made_up_packet(b"other")
        receipt = backend.deliver(packet)

        with pytest.raises(ConflictError):
            backend.deliver(SealedPacket.from_bytes(packet.packet_id, other.sha256, b"other"))

        assert receipt == backend.deliver(packet)

    def test_deliver_refuses_bytes_that_do_not_have_their_digest(self, backend: Backend) -> None:
        """Damage on the way from the spool is noticed, and the good bytes are still welcome."""
        packet = made_up_packet(b"right")
        damaged = SealedPacket.from_bytes(packet.packet_id, packet.sha256, b"wrong")

        with pytest.raises(CorruptError):
            backend.deliver(damaged)

        assert packet.sha256 == backend.deliver(packet).sha256

    def test_concurrent_deliveries_of_one_packet_agree(self, backend: Backend) -> None:
        """Two workers with the same packet get the same receipt."""
        packet = made_up_packet(b"x" * 100_000)
        start = threading.Barrier(4)

        def deliver(_: int) -> object:
            start.wait()
            return backend.deliver(packet)

        with ThreadPoolExecutor(4) as pool:
            receipts = list(pool.map(deliver, range(4)))

        assert [receipts[0]] * 4 == receipts


class StorageContract(BackendContract):
    """What every storage backend must do besides. Inherit it and give a fixture ``backend``."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """Return the storage backend under test, connected to a real and empty place."""
        raise NotImplementedError("give a fixture 'backend' in your subclass")

    @staticmethod
    def put(backend: StorageBackend, key: str, content: bytes) -> object:
        """Store bytes under a key."""
        digest = hashlib.sha256(content).hexdigest()
        return backend.put(key, io.BytesIO(content), size=len(content), sha256=digest)

    def test_what_was_put_is_read(self, backend: StorageBackend) -> None:
        """The bytes come back as they were."""
        self.put(backend, "folder/a.txt", b"content")

        with backend.open("folder/a.txt") as file:
            assert file.read() == b"content"
        assert backend.stat("folder/a.txt").size == 7  # noqa: PLR2004 - the size of "content"

    def test_delivered_packets_are_stored_under_their_key(self, backend: StorageBackend) -> None:
        """A person finds a packet by its id."""
        packet = made_up_packet()
        backend.deliver(packet)

        with backend.open(packet_key(packet.packet_id)) as file:
            assert file.read() == b"sealed bytes"

    def test_put_keeps_what_is_there(self, backend: StorageBackend) -> None:
        """Other bytes under a used key are refused; the same bytes are fine."""
        self.put(backend, "a", b"first")
        self.put(backend, "a", b"first")

        with pytest.raises(ConflictError):
            self.put(backend, "a", b"other")

        with backend.open("a") as file:
            assert file.read() == b"first"

    def test_put_of_wrong_bytes_leaves_no_object(self, backend: StorageBackend) -> None:
        """An object appears whole and right, or not at all."""
        with pytest.raises(CorruptError):
            backend.put("a", io.BytesIO(b"abc"), size=3, sha256="0" * 64)
        with pytest.raises(CorruptError):
            backend.put("a", io.BytesIO(b"ab"), size=3, sha256=hashlib.sha256(b"abc").hexdigest())

        assert not backend.exists("a")
        assert list(backend.list()) == []

    def test_put_with_a_failing_source_leaves_no_object(self, backend: StorageBackend) -> None:
        """A source that breaks in the middle changes nothing."""

        class Broken(io.BytesIO):
            def read(self, _size: int | None = -1) -> bytes:
                raise OSError("the spool's disk failed")

        with pytest.raises(Exception, match="the spool's disk failed"):
            backend.put("a", Broken(), size=3, sha256="0" * 64)

        assert not backend.exists("a")

    def test_missing_objects_are_not_found(self, backend: StorageBackend) -> None:
        """Nothing is there before something is put."""
        with pytest.raises(NotFoundError):
            backend.stat("a")
        with pytest.raises(NotFoundError):
            backend.open("a")
        assert not backend.exists("a")

    def test_list_gives_all_whole_objects_under_a_prefix(self, backend: StorageBackend) -> None:
        """A prefix need not end at a slash."""
        keys = ["packs/a.tar", "packs/b.tar", "packs2/c.tar", "snapshots/20260101-x.json"]
        for key in keys:
            self.put(backend, key, key.encode())

        assert keys == sorted(info.key for info in backend.list())
        assert keys[:2] == sorted(info.key for info in backend.list("packs/"))
        assert keys[:3] == sorted(info.key for info in backend.list("packs"))
        assert [info.key for info in backend.list("packs/b")] == ["packs/b.tar"]
        assert list(backend.list("nothing/")) == []
        assert [len(keys[0])] == [info.size for info in backend.list("packs/a")]

    def test_delete_is_idempotent(self, backend: StorageBackend) -> None:
        """Removing what is gone is no error, and the key can be used again."""
        self.put(backend, "a", b"first")
        backend.delete("a")
        backend.delete("a")

        assert not backend.exists("a")
        self.put(backend, "a", b"second")
        with backend.open("a") as file:
            assert file.read() == b"second"

    @pytest.mark.parametrize("key", ["../a", "/a", "a/../b", "", "a//b", "a b", "ä"])
    def test_odd_keys_reach_nothing(self, backend: StorageBackend, key: str) -> None:
        """A key cannot leave the place."""
        with pytest.raises(NotFoundError):
            backend.open(key)
