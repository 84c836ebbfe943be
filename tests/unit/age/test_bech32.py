"""Bech32, against the examples of BIP 173."""

from __future__ import annotations

import pytest

from ktpsync.age import _bech32
from ktpsync.errors import KeyFormatError


@pytest.mark.parametrize(
    "text",
    [
        "a12uel5l",
        "?1ezyfcl",
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    ],
)
def test_valid_text(text: str) -> None:
    """A valid text decodes, in either case, and encodes to itself."""
    prefix, data = _bech32.decode(text)

    assert text == _bech32.encode(prefix, data)
    assert (prefix, data) == _bech32.decode(text.upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x1b4n0q5v",
        "li1dgmt3",
        "A1G7SGD8",
        "10a06t8",
        "1qzzfhee",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
        "A12uEL5L",
        "a12uel5m",
        "é12uel5l",
        "a\t12uel5l",
    ],
)
def test_invalid_text(text: str) -> None:
    """Mixed case, a missing or bad beginning, foreign characters and wrong check digits are refused."""
    with pytest.raises(KeyFormatError):
        _bech32.decode(text)


def test_surplus_bits() -> None:
    """A text whose last symbol holds bits beyond the last byte is no spelling of a key."""
    values = [0, 1]  # ten bits: one byte and two bits, of which one is set
    state = _bech32._checksum("a", [*values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [state >> 5 * (5 - i) & 31 for i in range(6)]

    with pytest.raises(KeyFormatError, match="surplus bits"):
        _bech32.decode("a1" + "".join(_bech32._ALPHABET[value] for value in values))


def test_endless_text() -> None:
    """A text far longer than any key is refused before work is spent on it."""
    with pytest.raises(KeyFormatError, match="too long"):
        _bech32.decode("a1" + "q" * 1_000_000)
