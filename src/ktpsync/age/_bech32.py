"""Bech32 (BIP 173), the spelling of age keys, without its limit on length."""

from __future__ import annotations

import functools
import operator
from typing import Final

from ktpsync.errors import KeyFormatError

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_REMAINDERS: Final = tuple(
    functools.reduce(operator.xor, (mask for bit, mask in enumerate(_GENERATOR) if top >> bit & 1), 0)
    for top in range(32)
)
"""What the generator leaves of each symbol that is shifted out."""

_CHECKSUM_SYMBOLS: Final = 6
_MAX_SYMBOLS: Final = 4096


def _checksum(prefix: str, values: list[int]) -> int:
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    state = 1
    for value in expanded + values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _REMAINDERS[state >> 25]
    return state


def encode(prefix: str, data: bytes) -> str:
    """Return the lower-case Bech32 text of some bytes.

    Args:
        prefix: The human-readable part, lower case.
        data: The bytes.
    """
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << padding
    count = (len(data) * 8 + padding) // 5
    values = [number >> 5 * (count - 1 - i) & 31 for i in range(count)]
    state = _checksum(prefix, values + [0] * _CHECKSUM_SYMBOLS) ^ 1
    values += [state >> 5 * (_CHECKSUM_SYMBOLS - 1 - i) & 31 for i in range(_CHECKSUM_SYMBOLS)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode(text: str) -> tuple[str, bytes]:
    """Return the lower-case human-readable part and the bytes of a Bech32 text.

    The text itself is never repeated in an error: it may be a secret.

    Raises:
        KeyFormatError: It is not Bech32, or a character was lost or changed.
    """
    if len(text) > _MAX_SYMBOLS:
        raise KeyFormatError("This is too long for an age key.")
    lower = text.lower()
    if text not in (lower, text.upper()) or not text.isascii():
        raise KeyFormatError("A key is written all in lower case or all in upper case; this one is mixed.")
    prefix, separator, symbols = lower.rpartition("1")
    if not (prefix and separator and prefix.isprintable()) or len(symbols) < _CHECKSUM_SYMBOLS:
        raise KeyFormatError("This is not an age key: it has no known beginning. Copy the whole line again.")
    try:
        values = [_VALUES[symbol] for symbol in symbols]
    except KeyError:
        raise KeyFormatError(
            "This key has a character that keys do not have. Copy the whole line again."
        ) from None
    if _checksum(prefix, values) != 1:
        raise KeyFormatError("The check digits of this key do not match. Copy the whole line again.")
    values = values[:-_CHECKSUM_SYMBOLS]
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding >= 5 or number & ((1 << padding) - 1):  # noqa: PLR2004 - a symbol has 5 bits
        raise KeyFormatError("This key has surplus bits at its end. Copy the whole line again.")
    return prefix, (number >> padding).to_bytes(len(values) * 5 // 8, "big")
