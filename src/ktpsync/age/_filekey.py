"""The key of one file, and how it is wrapped under the one-time key of a stanza."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ktpsync.age._header import Stanza

FILE_KEY_BYTES: Final = 16
WRAPPED_BYTES: Final = FILE_KEY_BYTES + 16

# A wrapping key is used once, which is why the format can fix its nonce.
_NONCE: Final = bytes(12)


def derive(secret: bytes, *, salt: bytes | None, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 (RFC 5869)."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def wrap(key: bytes, file_key: bytes) -> bytes:
    """Return the body of a stanza: the file key, encrypted under a key that is never used again."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, file_key, None)


def unwrap(key: bytes, body: bytes) -> bytes | None:
    """Return the file key in the body of a stanza, or None if it was wrapped under another key."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, body, None)
    except InvalidTag:
        return None


def unwrap_first(
    stanzas: Sequence[Stanza], kind: str, unwrap_one: Callable[[Stanza], bytes | None]
) -> bytes | None:
    """Return the first file key found in stanzas of one type; the other stanzas are not looked at."""
    keys = (unwrap_one(stanza) for stanza in stanzas if stanza.args[0] == kind)
    return next((key for key in keys if key is not None), None)
