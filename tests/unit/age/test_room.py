"""Memory for results."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import pytest

from ktpsync.age import _room

SIZE = (32 << 20) + 5


def test_room_is_zeros_that_can_be_filled() -> None:
    """As many zero bytes as were asked for, given out without a copy when they are filled."""
    file = _room.room(10)

    with file.getbuffer() as view:
        view[2:4] = b"ab"

    assert bytes(2) + b"ab" + bytes(6) == file.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux")
def test_only_its_own_whole_pages_are_spoken_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is about the pages that lie wholly in the result, and small results are left alone."""
    asked: list[tuple[int, int, int]] = []

    class Library:
        """Stands for the C library."""

        def __init__(self, _: object) -> None:
            self.madvise = self

        argtypes: tuple[Any, ...] = ()

        def __call__(self, *args: int) -> int:
            asked.append(args)  # type: ignore[arg-type]
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    file = _room.room(SIZE)
    _room.room(SIZE // 2)

    with file.getbuffer() as view:
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
    ((first, length, advice),) = asked
    assert start <= first < start + mmap.PAGESIZE
    assert start + SIZE - mmap.PAGESIZE < first + length <= start + SIZE
    assert (0, 14) == (first % mmap.PAGESIZE, advice)


def test_a_system_without_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library has no madvise, the room is the same."""

    def no_library(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", no_library)

    assert SIZE == len(_room.room(SIZE).getvalue())
