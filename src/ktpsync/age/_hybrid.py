"""The post-quantum hybrid recipient type ``mlkem768x25519`` (C2SP ``age.md``; X-Wing in HPKE, RFC 9180).

Whoever wants to open a file must break both ML-KEM-768 and X25519.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ktpsync.age import _base64, _bech32, _filekey
from ktpsync.age._header import Stanza
from ktpsync.age._keys import Identity, Recipient
from ktpsync.errors import HeaderError, KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENT_PREFIX: Final = "age1pq"
IDENTITY_PREFIX: Final = "age-secret-key-pq-"

_TYPE: Final = "mlkem768x25519"
_INFO: Final = b"age-encryption.org/mlkem768x25519"
_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_SEED_BYTES: Final = 32
_MLKEM_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_CIPHERTEXT_BYTES: Final = 1088
_X25519_BYTES: Final = 32
_PUBLIC_BYTES: Final = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
_ENCAPSULATED_BYTES: Final = _MLKEM_CIPHERTEXT_BYTES + _X25519_BYTES


class HybridRecipient(Recipient):
    """The public half of a hybrid age key, ``age1pq1...``.

    Args:
        raw: The 1216 bytes of the public key: ML-KEM-768, then X25519.
    """

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _PUBLIC_BYTES:
            raise KeyFormatError(f"A hybrid recipient has {_PUBLIC_BYTES} bytes, this one has {len(raw)}.")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        except ValueError:
            raise KeyFormatError("This hybrid recipient has no valid ML-KEM-768 key in it.") from None
        x25519 = X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:])
        self._key = hpke.MLKEM768X25519PublicKey(mlkem, x25519)
        self.raw = raw

    @property
    def labels(self) -> frozenset[str]:
        """``postquantum``: never beside a recipient that a quantum computer can open."""
        return frozenset({"postquantum"})

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file under a newly encapsulated key."""
        sealed = _SUITE.encrypt(file_key, self._key, _INFO)
        encapsulated = _base64.encode(sealed[:_ENCAPSULATED_BYTES]).decode("ascii")
        return (Stanza(args=(_TYPE, encapsulated), body=sealed[_ENCAPSULATED_BYTES:]),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridRecipient) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return _bech32.encode(RECIPIENT_PREFIX, self.raw)

    def __repr__(self) -> str:
        return f"HybridRecipient(sha256={hashlib.sha256(self.raw).hexdigest()[:16]})"


class HybridIdentity(Identity):
    """A hybrid age key, ``AGE-SECRET-KEY-PQ-1...``.

    Args:
        seed: Its 32 secret bytes.
    """

    __slots__ = ("_key", "_recipient", "_seed", "_x25519")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise KeyFormatError(f"A hybrid identity has {_SEED_BYTES} bytes, this one has {len(seed)}.")
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _X25519_BYTES)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        self._seed = seed
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, self._x25519)
        self._recipient = HybridRecipient(
            mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> HybridIdentity:
        """Return a new identity from the system's randomness."""
        return cls(secrets.token_bytes(_SEED_BYTES))

    @property
    def recipient(self) -> HybridRecipient:
        """The public half."""
        return self._recipient

    def to_text(self) -> str:
        """Return the secret ``AGE-SECRET-KEY-PQ-1...`` text. Keep it from logs and command lines."""
        return _bech32.encode(IDENTITY_PREFIX, self._seed).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Decrypt the key of a file, if a hybrid stanza is for this identity.

        Raises:
            HeaderError: A hybrid stanza is malformed.
        """
        return _filekey.unwrap_first(stanzas, _TYPE, self._unwrap)

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        encapsulated = _base64.decode(stanza.args[1].encode("ascii")) if len(stanza.args) == 2 else None  # noqa: PLR2004 - type, enc
        if (
            encapsulated is None
            or len(encapsulated) != _ENCAPSULATED_BYTES
            or len(stanza.body) != _filekey.WRAPPED_BYTES
        ):
            raise HeaderError("A hybrid stanza of the age header is malformed.")
        try:
            return _SUITE.decrypt(encapsulated + stanza.body, self._key, _INFO)
        except InvalidTag:
            self._refuse_low_order(encapsulated[_MLKEM_CIPHERTEXT_BYTES:])
            return None

    def _refuse_low_order(self, share: bytes) -> None:
        # The HPKE interface answers InvalidTag to an all-zero shared secret too; the format wants it told apart.
        try:
            self._x25519.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise HeaderError("A hybrid stanza of the age header has a share of low order.") from None
