"""The X25519 recipient type (C2SP ``age.md``)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ktpsync.age import _base64, _bech32, _filekey
from ktpsync.age._header import Stanza
from ktpsync.age._keys import Identity, Recipient
from ktpsync.errors import HeaderError, KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENT_PREFIX: Final = "age"
IDENTITY_PREFIX: Final = "age-secret-key-"

_TYPE: Final = "X25519"
_INFO: Final = b"age-encryption.org/v1/X25519"
_KEY_BYTES: Final = 32


class X25519Recipient(Recipient):
    """The public half of a classic age key, ``age1...``. A quantum computer could open its files.

    Args:
        raw: The 32 bytes of the public key.
    """

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _KEY_BYTES:
            raise KeyFormatError(f"An X25519 recipient has {_KEY_BYTES} bytes, this one has {len(raw)}.")
        self._key = X25519PublicKey.from_public_bytes(raw)
        self.raw = raw

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file under a new ephemeral key.

        Raises:
            KeyFormatError: The recipient is a point of low order: nobody has its private half.
        """
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        try:
            shared = ephemeral.exchange(self._key)
        except ValueError:
            raise KeyFormatError(
                "This recipient is not a usable X25519 key; files for it would be open."
            ) from None
        body = _filekey.wrap(_filekey.derive(shared, salt=share + self.raw, info=_INFO), file_key)
        return (Stanza(args=(_TYPE, _base64.encode(share).decode("ascii")), body=body),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, X25519Recipient) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return _bech32.encode(RECIPIENT_PREFIX, self.raw)

    def __repr__(self) -> str:
        return f"X25519Recipient({self})"


class X25519Identity(Identity):
    """A classic age key, ``AGE-SECRET-KEY-1...``.

    Args:
        secret: Its 32 secret bytes.
    """

    __slots__ = ("_key", "_recipient", "_secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise KeyFormatError(f"An X25519 identity has {_KEY_BYTES} bytes, this one has {len(secret)}.")
        self._secret = secret
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self._recipient = X25519Recipient(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> X25519Identity:
        """Return a new identity from the system's randomness."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    @property
    def recipient(self) -> X25519Recipient:
        """The public half."""
        return self._recipient

    def to_text(self) -> str:
        """Return the secret ``AGE-SECRET-KEY-1...`` text. Keep it from logs and command lines."""
        return _bech32.encode(IDENTITY_PREFIX, self._secret).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Decrypt the key of a file, if an X25519 stanza is for this identity.

        Raises:
            HeaderError: An X25519 stanza is malformed.
        """
        return _filekey.unwrap_first(stanzas, _TYPE, self._unwrap)

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        share = _base64.decode(stanza.args[1].encode("ascii")) if len(stanza.args) == 2 else None  # noqa: PLR2004 - type, share
        if share is None or len(share) != _KEY_BYTES or len(stanza.body) != _filekey.WRAPPED_BYTES:
            raise HeaderError("An X25519 stanza of the age header is malformed.")
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise HeaderError("An X25519 stanza of the age header has a share of low order.") from None
        key = _filekey.derive(shared, salt=share + self._recipient.raw, info=_INFO)
        return _filekey.unwrap(key, stanza.body)
