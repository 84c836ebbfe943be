"""Packets over lines that break: they arrive, and what arrived is not sent again."""

from __future__ import annotations

import hashlib
import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

import ktpsync
from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.clock import SystemClock
from ktpsync.courier._rate import TokenBucket, metered
from ktpsync.errors import ConflictError, CorruptError, RejectedError, UnavailableError
from ktpsync.keys import StationKey, StationPublicKey
from ktpsync.packet import SealedPacket, new_packet_id, seal
from ktpsync.plugins import BackendContext, Secret
from ktpsync.testing import made_up_packet, make_enrollment

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import BadLine

    from ktpsync.testing import ManualClock

IDENTITY = age.generate_identity("x25519")
STATION = StationKey.generate()
DROP = 200_000
PACKET_SIZE = 1_300_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> CentralSettings:
    """A centre with one office."""
    return CentralSettings(
        folder=tmp_path_factory.mktemp("centre"),
        identities=[IDENTITY],
        tokens={"right-token": "3578"},
        stations=[STATION.public],
        faults=True,
    )


@pytest.fixture(scope="module")
def url(settings: CentralSettings) -> Iterator[str]:
    """A running centre, the same for all tests."""
    with running(settings) as url:
        yield url


@pytest.fixture
def packet(tmp_path: Path) -> SealedPacket:
    """A packet of 1.3 MB in a file."""
    content = random.Random(1).randbytes(PACKET_SIZE)
    path = tmp_path / "packet.age"
    path.write_bytes(content)
    return SealedPacket.from_file(new_packet_id(), hashlib.sha256(content).hexdigest(), PACKET_SIZE, path)


def client(url: str, **options: object) -> HttpBackend:
    """Return a client of the office."""
    settings = HttpSettings(url=url, token=Secret("right-token"), **options)  # type: ignore[arg-type]
    return HttpBackend(settings, BackendContext(name="central"))


def kept(settings: CentralSettings, packet: SealedPacket) -> list[Path]:
    """Return the files of a packet's uploads that are not whole."""
    return list((settings.folder / "incoming").glob(f"*/{packet.packet_id}.*"))


def wait_for_bytes(settings: CentralSettings, packet: SealedPacket, count: int) -> None:
    """Wait until so many bytes of a packet arrived."""
    deadline = time.monotonic() + 30
    while sum(path.stat().st_size for path in kept(settings, packet)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_packet_arrives_over_a_line_that_drops_every_200_kb(
    url: str, packet: SealedPacket, bad_line: Callable[..., BadLine], *, reset: bool
) -> None:
    """In one delivery, each byte sent at most about twice, as counted on the line."""
    line = bad_line(url, drop_after=DROP, reset=reset)
    with client(line.url) as backend:
        receipt = backend.deliver(packet)

    assert (packet.sha256, PACKET_SIZE) == (receipt.sha256, receipt.size)
    assert line.connections > PACKET_SIZE // DROP
    assert PACKET_SIZE < line.up < 2 * PACKET_SIZE


def test_a_packet_below_the_threshold_goes_on_too(url: str, bad_line: Callable[..., BadLine]) -> None:
    """It is sent without asking first; when the line breaks, the rest follows."""
    content = random.Random(2).randbytes(300_000)
    packet = made_up_packet(content)
    line = bad_line(url, drop_after=DROP)
    with client(line.url) as backend:
        receipt = backend.deliver(packet)

    assert packet.sha256 == receipt.sha256
    assert line.up < 450_000


def test_another_courier_goes_on_where_one_was_stopped(
    url: str, packet: SealedPacket, settings: CentralSettings, send_part: Callable[..., socket.socket],
    bad_line: Callable[..., BadLine],
) -> None:  # fmt: skip
    """Nothing is kept on the station: the centre tells by the packet's id how far it came."""
    with send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 800_000)
    line = bad_line(url)
    with client(line.url) as backend:
        receipt = backend.deliver(packet)

    assert packet.sha256 == receipt.sha256
    assert line.up < PACKET_SIZE - 800_000 + 2_000
    assert [] == kept(settings, packet)


def test_a_connection_that_hangs_does_not_hold_the_upload(
    url: str, packet: SealedPacket, settings: CentralSettings, send_part: Callable[..., socket.socket],
    bad_line: Callable[..., BadLine],
) -> None:  # fmt: skip
    """Where the line died without a word, the new request takes over what the old one brought."""
    with send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 800_000)
        line = bad_line(url)
        with client(line.url) as backend:
            receipt = backend.deliver(packet)

        assert packet.sha256 == receipt.sha256
        assert line.up < PACKET_SIZE - 800_000 + 2_000


def test_an_interrupted_upload_survives_a_restart_of_the_centre(
    tmp_path: Path, settings: CentralSettings, packet: SealedPacket, send_part: Callable[..., socket.socket],
    bad_line: Callable[..., BadLine],
) -> None:  # fmt: skip
    """What came is found again."""
    settings = evolve(settings, folder=tmp_path / "centre")
    with running(settings) as url, send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 800_000)
    (resting,) = kept(settings, packet)
    size = resting.stat().st_size
    with running(settings) as url:
        line = bad_line(url)
        with client(line.url) as backend:
            assert packet.sha256 == backend.deliver(packet).sha256

    assert size > 800_000
    assert line.up < PACKET_SIZE - size + 2_000


def test_an_answer_that_was_lost_costs_no_second_upload(url: str, bad_line: Callable[..., BadLine]) -> None:
    """The centre holds it whole, and can open it: only the receipt is fetched."""
    enrollment = make_enrollment(1, size=PACKET_SIZE)
    packet = seal(
        enrollment, recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock()
    ).packet
    with client(url) as backend:
        first = backend.deliver(packet)
    line = bad_line(url)
    with client(line.url) as backend:
        assert first == backend.deliver(packet)

    assert line.up < 2_000


def test_a_line_that_brings_nothing_over_ends_the_delivery(
    url: str, packet: SealedPacket, bad_line: Callable[..., BadLine]
) -> None:
    """A few breaks without progress, and the courier decides when to try again."""
    line = bad_line(url, drop_after=500)
    with client(line.url) as backend, pytest.raises(UnavailableError, match="broke off"):
        backend.deliver(packet)

    assert line.connections <= 12


def test_other_bytes_under_the_id_of_an_upload_start_anew(
    url: str, packet: SealedPacket, settings: CentralSettings, send_part: Callable[..., socket.socket]
) -> None:
    """Bytes of two packets are never joined."""
    with send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 800_000)
    other = made_up_packet(os.urandom(600_000))
    renamed = SealedPacket(
        packet_id=packet.packet_id, sha256=other.sha256, size=other.size, opener=other.open
    )
    with client(url) as backend:
        assert other.sha256 == backend.deliver(renamed).sha256
        with pytest.raises(ConflictError, match="other bytes"):
            backend.deliver(packet)

    assert [] == kept(settings, packet)


def test_damage_in_what_was_kept_is_noticed_and_sent_anew(
    url: str, packet: SealedPacket, settings: CentralSettings, send_part: Callable[..., socket.socket]
) -> None:
    """As when a power cut left zeros where bytes were: the whole has not the digest, and it begins anew."""
    with send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 800_000)
    with client(url) as backend:
        backend._uploader._ask(packet)  # as a side effect the old connection's bytes are put to rest
        (resting,) = kept(settings, packet)
        with resting.open("r+b") as file:
            file.write(bytes(1000))
        with pytest.raises(UnavailableError, match="sent again"):
            backend.deliver(packet)

        assert packet.sha256 == backend.deliver(packet).sha256


def test_a_packet_that_is_too_large_is_refused_before_it_is_sent(
    tmp_path: Path, packet: SealedPacket, bad_line: Callable[..., BadLine]
) -> None:
    """The centre tells its limit when it is asked how far the packet is."""
    small = CentralSettings(
        folder=tmp_path / "centre",
        identities=[age.generate_identity("x25519")],
        tokens={"right-token": "3578"},
        largest_packet=1_000_000,
    )
    with running(small) as url:
        line = bad_line(url)
        with client(line.url) as backend, pytest.raises(RejectedError, match="larger than the centre takes"):
            backend.deliver(packet)
        with (
            client(line.url, ask_first_from=10_000_000) as backend,
            pytest.raises(RejectedError, match="larger than the centre takes"),
        ):
            backend.deliver(packet)

    assert line.up < 2 * PACKET_SIZE


@pytest.mark.parametrize("size", [PACKET_SIZE - 1, PACKET_SIZE + 1])
def test_a_file_of_another_length_is_not_sent(url: str, packet: SealedPacket, size: int) -> None:
    """A cut file would leave the centre waiting for the rest."""
    wrong = SealedPacket(packet_id=packet.packet_id, sha256=packet.sha256, size=size, opener=packet.open)
    with (
        client(url) as backend,
        pytest.raises(CorruptError, match=f"{PACKET_SIZE} bytes here instead of {size}"),
    ):
        backend.deliver(wrong)


def test_a_limited_rate_counts_only_what_is_sent(
    url: str, packet: SealedPacket, settings: CentralSettings, send_part: Callable[..., socket.socket],
    manual_clock: ManualClock,
) -> None:  # fmt: skip
    """What the centre has already is neither sent nor waited for."""
    metered_packet = SealedPacket(
        packet_id=packet.packet_id,
        sha256=packet.sha256,
        size=packet.size,
        opener=metered(packet.open, TokenBucket(manual_clock, rate=100_000)),
    )
    with send_part(url, packet, 900_000):
        wait_for_bytes(settings, packet, 900_000)
    with client(url) as backend:
        assert packet.sha256 == backend.deliver(metered_packet).sha256

    assert 3.0 < manual_clock.seconds < 4.5


def test_an_office_brings_a_recording_over_a_line_that_drops(
    settings: CentralSettings, tmp_path: Path, bad_line: Callable[..., BadLine]
) -> None:
    """From recording to receipt in one sync: breaks that bring something over neither park the packet nor stop the line."""
    places = '[destinations.central]\nbackend = "http"\nurl = "http://line.invalid/"\ntoken = "right-token"\n'
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(IDENTITY.recipient)], places=places)
    station = StationPublicKey.from_pem((tmp_path / "office/data/keys/station.pub.pem").read_bytes())
    centre = evolve(settings, folder=tmp_path / "centre", stations=[station])
    with running(centre) as url:
        line = bad_line(url, drop_after=DROP)
        config.write_text(config.read_text().replace("http://line.invalid/", line.url))
        submitted, report, delivery = synced(config)

    assert (1, 0, 0) == (report.delivered, report.rejected, report.waiting)
    assert delivery.receipt is not None
    assert submitted.sha256 == delivery.receipt.sha256
    assert line.connections > submitted.size // DROP
    assert line.up < 2 * submitted.size


def synced(config: Path) -> tuple[Any, Any, Any]:
    """Record, deliver once, and return what was submitted, the report, and the delivery."""
    with ktpsync.Office.open(config) as office:
        submitted = office.submit(make_enrollment(1, size=PACKET_SIZE))
        report = office.sync()
        (delivery,) = office.status(submitted.packet_id).deliveries
    return submitted, report, delivery
