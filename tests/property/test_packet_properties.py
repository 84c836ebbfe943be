"""Packets under any change."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ktpsync import age, packet
from ktpsync.clock import SystemClock
from ktpsync.errors import AgeError, PacketError, RecordError
from ktpsync.keys import StationKey
from ktpsync.testing import make_enrollment

IDENTITY = age.generate_identity("x25519")
STATION = StationKey.generate()
ENROLLMENT = make_enrollment(1, size=300)
SEALED = packet.seal(
    ENROLLMENT, recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock()
).sealed
CONTAINER = age.decrypt(SEALED, IDENTITY)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_no_byte_of_a_packet_can_be_another(position: int, change: int) -> None:
    """Whatever byte of the sealed packet is changed, it does not open."""
    changed = bytearray(SEALED)
    changed[position] ^= change

    try:
        packet.open(bytes(changed), [IDENTITY], stations=[STATION.public])
    except AgeError:
        return
    raise AssertionError(position)


@given(st.integers(0, len(CONTAINER)), st.integers(0, 40), st.binary(max_size=40))
@example(0, len(CONTAINER), b"")
def test_what_others_seal_is_refused_or_the_same(position: int, removed: int, added: bytes) -> None:
    """Bytes changed inside a new seal give an error of the packet, or the enrollment that the station signed."""
    changed = CONTAINER[:position] + added + CONTAINER[position + removed :]

    try:
        opened = packet.open(age.encrypt(changed, IDENTITY.recipient), [IDENTITY], stations=[STATION.public])
    except (PacketError, RecordError):
        return
    assert ENROLLMENT == opened.enrollment
