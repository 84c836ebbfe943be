"""ASCII armor: its rules at every place where the reader could lose sight of them."""

from __future__ import annotations

import base64
import io
import re

import pytest

from ktpsync.age import _armor
from ktpsync.age._source import Source
from ktpsync.errors import ArmorError

BEGIN, END = b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"-----END AGE ENCRYPTED FILE-----\n"
BLOCK_BYTES = _armor._BLOCK // 65 * 48


def armored(data: bytes) -> bytes:
    """Return the armor of some bytes, made in another way than the library makes it."""
    text = base64.b64encode(data).decode()
    return BEGIN + "".join(f"{line}\n" for line in re.findall(".{1,64}", text)).encode() + END


def decoded(text: bytes, size: int = -1) -> bytes:
    """Read armor to its end."""
    reader = _armor.ArmorReader(Source(io.BytesIO(text)))
    return b"".join(iter(lambda: reader.read(size if size > 0 else 1 << 20), b""))


SIZES = [0, 1, 2, 3, 47, 48, 49, 95, 96, *(BLOCK_BYTES + i for i in (-49, -48, -1, 0, 1, 48, 100))]


@pytest.mark.parametrize("size", [*SIZES, 3 * BLOCK_BYTES + 5])
def test_round_trip(size: int) -> None:
    """Armor of every length reads back, with either line ending, and is written as others write it."""
    data = (b"\x00\xff0123456789" * (size // 12 + 1))[:size]
    target = io.BytesIO()
    writer = _armor.ArmorWriter(target)

    for at in range(0, size, 1000):
        writer.write(memoryview(data)[at : at + 1000])
    writer.finish()

    assert armored(data) == target.getvalue()
    assert writer.written == len(target.getvalue())
    assert data == decoded(target.getvalue())
    assert data == decoded(target.getvalue().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_round_trip_at_every_place(monkeypatch: pytest.MonkeyPatch, ending: bytes) -> None:
    """Wherever a line or the END line is cut by the end of what was read at a time, the armor reads back."""
    for block in (70, 97, 98, 99, 100, 130, 195, 196):
        monkeypatch.setattr(_armor, "_BLOCK", block)
        for size in range(300):
            data = bytes(range(256))[: size % 200] * 2

            assert data == decoded(armored(data).replace(b"\n", ending))


def test_small_reads() -> None:
    """The reader gives as little as is asked for."""
    assert bytes(range(256)) == decoded(armored(bytes(range(256))), size=7)


@pytest.mark.parametrize("lines_before", [0, 1, _armor._BLOCK // 65 - 1, _armor._BLOCK // 65, 1500])
@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"QUFB",
        b"A" * 60,
        b"A" * 68,
        b"A" * 62 + b"==",
        b"A" * 63 + b"=",
        b" " + b"A" * 63,
        b"A" * 63 + b"-",
    ],
)
def test_bad_line_anywhere(lines_before: int, bad: bytes) -> None:
    """A line that is not exactly 64 columns of base64 is refused wherever it stands before the last one."""
    good = b"A" * 64 + b"\n"

    with pytest.raises(ArmorError):
        decoded(BEGIN + good * lines_before + bad + b"\n" + good * 3 + END)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b" " * 1024, b"\n" + b"\t" * 1023])
def test_white_space_around(ending: bytes) -> None:
    """Up to 1024 bytes of white space may stand before and after."""
    assert b"data" == decoded(ending + armored(b"data")[:-1] + ending)


@pytest.mark.parametrize("text", [b" " * 1025 + armored(b"x"), armored(b"x") + b"\n" * 1025])
def test_too_much_white_space(text: bytes) -> None:
    """More is refused: a file of blanks is not worth reading to its end."""
    with pytest.raises(ArmorError):
        decoded(text)


@pytest.mark.parametrize(
    "text", [b"", BEGIN[:-1], BEGIN, BEGIN + b"A" * 64, BEGIN + b"AAAA\n", END, BEGIN + BEGIN]
)
def test_cut_short(text: bytes) -> None:
    """Armor without its END line is refused."""
    with pytest.raises(ArmorError):
        decoded(text)


def test_endless_line() -> None:
    """A line without an end is given up long before it fills the memory."""

    class Endless:
        def __init__(self) -> None:
            self.given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return (BEGIN if self.given == size else b"").ljust(size, b"A")

    endless = Endless()

    with pytest.raises(ArmorError, match="too long"):
        _armor.ArmorReader(Source(endless)).read(1)

    assert endless.given < 1 << 20
