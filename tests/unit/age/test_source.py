"""File objects that do less at a call than was asked."""

from __future__ import annotations

import io
import os
import random

import pytest

from ktpsync import age

DATA = bytes(range(256)) * 3000
IDENTITY = age.generate_identity("x25519")


class Trickle(io.RawIOBase):
    """A raw file that reads and writes a few bytes at a time, as pipes and sockets do."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = io.BytesIO(data)
        self.some = random.Random(1)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some."""
        return self.data.readinto(buffer[: self.some.randint(1, 5000)])

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Write some."""
        return self.data.write(data[: self.some.randint(1, 5000)])


class OnlyRead:
    """What an HTTP response offers: read, and no more."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        """Read some."""
        return self._data.read(min(size, 1000))


class OnlyWrite:
    """A target that does not say how much it took."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> None:
        """Write all."""
        self.data += bytes(data)


@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("source", [Trickle, OnlyRead])
def test_trickling_files(source: type[Trickle | OnlyRead], *, armor: bool) -> None:
    """Nothing is lost where a file object reads or writes less than was asked."""
    sealed, opened, counted = Trickle(), Trickle(), OnlyWrite()

    age.encrypt_stream(source(DATA), sealed, [IDENTITY.recipient], armor=armor)
    age.decrypt_stream(source(sealed.data.getvalue()), opened, IDENTITY)
    age.decrypt_stream(io.BytesIO(sealed.data.getvalue()), counted, IDENTITY)

    assert DATA == opened.data.getvalue() == counted.data


def test_source_that_does_not_block() -> None:
    """A pipe with nothing in it yet is an error: it must not be taken for the end of the plaintext."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as other_end:
        other_end.write(b"begun")

        with pytest.raises(BlockingIOError):
            age.encrypt_stream(source, io.BytesIO(), [IDENTITY.recipient])


def test_source_without_readinto_that_does_not_block() -> None:
    """The same holds for what has no more than read."""

    class Nothing:
        def read(self, _: int) -> None:
            return None

    with pytest.raises(BlockingIOError):
        age.encrypt_stream(Nothing(), io.BytesIO(), [IDENTITY.recipient])


def test_target_that_does_not_block() -> None:
    """A full pipe is an error: what it did not take must not be left out."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (
        os.fdopen(reading, "rb"),
        os.fdopen(writing, "wb", buffering=0) as target,
        pytest.raises(BlockingIOError),
    ):
        age.encrypt_stream(io.BytesIO(DATA), target, [IDENTITY.recipient])


def test_target_without_room() -> None:
    """An error of the target reaches the caller as it is."""

    class Full:
        def write(self, _: memoryview) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        age.encrypt_stream(io.BytesIO(DATA), Full(), [IDENTITY.recipient])
