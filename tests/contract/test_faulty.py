"""Backends that fail on purpose do so as told, and keep the contract where they do not."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import pytest

from ktpsync import age
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backup import Repository, backup
from ktpsync.backup._finder import PacketFinder
from ktpsync.errors import AuthError, ThrottledError, UnavailableError, UnsupportedError
from ktpsync.keys import StationKey
from ktpsync.outbox import Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, Capability, CentralBackend, PluginRegistry
from ktpsync.testing import (
    BackendContract,
    FaultyBackend,
    FaultyCentral,
    FaultyStorage,
    StorageContract,
    answer_lost,
    fails,
    made_up_packet,
    throttled,
    unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> DiskBackend:
    """A disk that is well."""
    init_disk(tmp_path / "disk")
    return DiskBackend(DiskSettings(path=tmp_path / "disk", reserve=0), BackendContext(name="usb"))


class TestWithoutFaults(StorageContract):
    """What passes through keeps the contract."""

    @pytest.fixture
    def backend(self, disk: DiskBackend) -> FaultyStorage:
        """Return a disk behind no fault."""
        return FaultyStorage(disk, [])

    @pytest.fixture
    def unreachable_backend(self, disk: DiskBackend) -> FaultyStorage:
        """Return a disk that never answers."""
        methods = ("check", "deliver", "put", "open", "stat", "list", "delete")
        return FaultyStorage(disk, [unreachable(on=methods, times=1_000_000)])

    @pytest.fixture
    def refused_backend(self, disk: DiskBackend) -> FaultyStorage:
        """Return a disk that refuses us."""
        return FaultyStorage(disk, [fails(AuthError("no"), on=("check", "deliver"), times=1_000_000)])


class TestAnyBackend(BackendContract):
    """A backend of no special kind."""

    @pytest.fixture
    def backend(self, disk: DiskBackend) -> FaultyBackend:
        """Return a disk behind no fault."""
        return FaultyBackend(disk, [])


def test_faults_strike_as_often_as_they_were_told(disk: DiskBackend) -> None:
    """Afterwards everything works."""
    backend = FaultyStorage(disk, [unreachable(times=2), throttled(7, times=1)])
    packet = made_up_packet()

    for _ in range(2):
        with pytest.raises(UnavailableError):
            backend.deliver(packet)
    with pytest.raises(ThrottledError) as caught:
        backend.deliver(packet)

    assert 7 == caught.value.retry_after
    assert [] == list(disk.list())
    assert packet.sha256 == backend.deliver(packet).sha256


def test_an_answer_is_lost_after_the_work(disk: DiskBackend) -> None:
    """The packet is there, although nobody knows."""
    backend = FaultyStorage(disk, [answer_lost()])
    packet = made_up_packet()

    with pytest.raises(UnavailableError):
        backend.deliver(packet)

    assert 1 == len(list(disk.list()))
    assert packet.packet_id == backend.deliver(packet).packet_id


@pytest.mark.parametrize("kind", [FaultyBackend, FaultyStorage])
def test_what_is_given_back_passes_through(disk: DiskBackend, kind: type[FaultyBackend]) -> None:
    """Through a fault of its own, whatever the kind of backend does to give it."""
    packet = made_up_packet(b"sealed")
    backend = kind(disk, [unreachable(on=("fetch",))])  # type: ignore[arg-type]  # a disk is both
    backend.deliver(packet)

    with pytest.raises(UnavailableError):
        backend.fetch(packet.packet_id)
    with backend.fetch(packet.packet_id) as file:
        assert b"sealed" == file.read()


def test_a_centre_passes_through() -> None:
    """Feed, reconciling and what is given back too, with what the centre claims."""

    class Centre(CentralBackend):
        """A centre that only tells statuses, and here not even these."""

        capabilities = frozenset({Capability.STATUSES})

        def deliver(self, packet: object) -> None:  # type: ignore[override]  # not called
            """Do nothing."""

        def check(self) -> None:  # type: ignore[override]  # not called
            """Do nothing."""

        def fetch(self, packet_id: str) -> BinaryIO:
            """Give something back."""
            return BytesIO(packet_id.encode())

    backend = FaultyCentral(Centre(), [unreachable(on=("fetch",)), unreachable(on=("statuses",))])

    with pytest.raises(UnavailableError):
        backend.fetch("a")
    assert b"a" == backend.fetch("a").read()
    with pytest.raises(UnavailableError):
        backend.statuses(None)
    with pytest.raises(UnsupportedError):
        backend.statuses(None)
    with pytest.raises(UnsupportedError):
        backend.reconcile([])
    assert {Capability.STATUSES} == backend.capabilities


@pytest.mark.parametrize("s3_settings", ["rclone"], indirect=True)
def test_a_packet_is_taken_out_of_a_pack_without_reading_the_rest(
    s3_settings: dict[str, object], tmp_path: Path
) -> None:
    """Where the storage can read parts: a pack of 64 MiB does not cross the line for one packet."""
    calls: list[str] = []

    def note(method: str, proceed: Callable[[], object]) -> object:
        calls.append(method)
        return proceed()

    packets = {new_packet_id(): bytes([number]) * 5_000 for number in range(4)}
    context = BackendContext(name="offsite")
    made = PluginRegistry.load().make("s3", s3_settings, context, where="[backups.offsite]", base=tmp_path)
    with made, Outbox.open(tmp_path / "outbox.db", tmp_path / "spool") as outbox:
        repository = Repository.create(
            FaultyStorage(made, [note]), recipients=[str(age.generate_identity("x25519").recipient)]
        )  # type: ignore[arg-type]  # S3 is storage
        for packet_id, sealed in packets.items():
            outbox.submit(sealed, packet_id=packet_id, sha256=hashlib.sha256(sealed).hexdigest())
        backup(outbox, repository, station=StationKey.generate(), memory=tmp_path / "memory")
        finder = PacketFinder(repository)
        finder.read(next(iter(packets)))
        calls.clear()

        found = {packet_id: finder.read(packet_id) for packet_id in packets}

    assert packets == found
    assert ["open_part"] * 4 == calls
