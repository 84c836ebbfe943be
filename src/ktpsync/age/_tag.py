"""The tagged recipient types ``p256tag`` and ``mlkem768p256tag``, for keys in hardware (C2SP ``age.md``).

A station seals to them as to any other. The identity is in a smart card or a token, and what talks to it is a
subclass of :class:`~ktpsync.age.Identity`. The tag tells which stanzas are worth asking its holder for the PIN.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ktpsync.age import _base64, _bech32
from ktpsync.age._filekey import WRAPPED_BYTES
from ktpsync.age._header import Stanza
from ktpsync.age._keys import Recipient
from ktpsync.errors import HeaderError, KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSIC_PREFIX: Final = "age1tag"
HYBRID_PREFIX: Final = "age1tagpq"

_CLASSIC: Final = "p256tag"
_HYBRID: Final = "mlkem768p256tag"
_TAG_BYTES: Final = 4
_COMPRESSED_BYTES: Final = 33
_POINT_BYTES: Final = 65
_MLKEM_PUBLIC_BYTES: Final = 1184
_ENCAPSULATED_BYTES: Final = 1088 + _POINT_BYTES
_CLASSIC_SUITE: Final = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

# RFC 9180, section 5.1, for KEM MLKEM768-P256, HKDF-SHA256 and ChaCha20-Poly1305: not among the suites of cryptography.
_HYBRID_SUITE_ID: Final = b"HPKE\x00\x50\x00\x01\x00\x03"
_COMBINER_LABEL: Final = b"MLKEM768-P256"


def _info(kind: str) -> bytes:
    return f"age-encryption.org/{kind}".encode("ascii")


def _tag(kind: str, point: bytes, encapsulated: bytes) -> bytes:
    short = hashlib.sha256(point).digest()[:_TAG_BYTES]
    return HKDF.extract(SHA256(), _info(kind), encapsulated + short)[:_TAG_BYTES]


def _stanza(kind: str, point: bytes, encapsulated: bytes, body: bytes) -> tuple[Stanza, ...]:
    arguments = (_tag(kind, point, encapsulated), encapsulated)
    return (Stanza(args=(kind, *(_base64.encode(part).decode("ascii") for part in arguments)), body=body),)


def _is_for(stanza: Stanza, kind: str, point: bytes, size: int) -> bool:
    if stanza.args[0] != kind:
        return False
    parts = [_base64.decode(arg.encode("ascii")) or b"" for arg in stanza.args[1:]]
    if [len(part) for part in parts] != [_TAG_BYTES, size] or len(stanza.body) != WRAPPED_BYTES:
        raise HeaderError(f"A {kind} stanza of the age header is malformed.")
    tag, encapsulated = parts
    return hmac.compare_digest(tag, _tag(kind, point, encapsulated))


def _p256(point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise KeyFormatError("This tagged recipient has no valid P-256 key in it.") from None


class TagRecipient(Recipient):
    """The public half of a P-256 key in hardware, ``age1tag1...``. A quantum computer could open its files.

    Args:
        raw: The 33 bytes of the compressed point.
    """

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _COMPRESSED_BYTES:
            raise KeyFormatError(
                f"A tagged recipient has {_COMPRESSED_BYTES} bytes, this one has {len(raw)}."
            )
        self._key = _p256(raw)
        self.raw = raw

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file under a newly encapsulated key."""
        sealed = _CLASSIC_SUITE.encrypt(file_key, self._key, _info(_CLASSIC))
        return _stanza(_CLASSIC, self.raw, sealed[:_POINT_BYTES], sealed[_POINT_BYTES:])

    def is_for(self, stanza: Stanza) -> bool:
        """Return whether a stanza bears this key's tag, so that its holder is worth asking.

        Raises:
            HeaderError: It is a ``p256tag`` stanza, and malformed.
        """
        return _is_for(stanza, _CLASSIC, self.raw, _POINT_BYTES)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TagRecipient) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return _bech32.encode(CLASSIC_PREFIX, self.raw)

    def __repr__(self) -> str:
        return f"TagRecipient({self})"


class HybridTagRecipient(Recipient):
    """The public half of a hybrid key in hardware, ``age1tagpq1...``.

    Args:
        raw: 1249 bytes: the ML-KEM-768 key, then the uncompressed P-256 point.
    """

    __slots__ = ("_mlkem", "_p256", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _MLKEM_PUBLIC_BYTES + _POINT_BYTES:
            size = _MLKEM_PUBLIC_BYTES + _POINT_BYTES
            raise KeyFormatError(f"A hybrid tagged recipient has {size} bytes, this one has {len(raw)}.")
        try:
            self._mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        except ValueError:
            raise KeyFormatError("This tagged recipient has no valid ML-KEM-768 key in it.") from None
        self._p256 = _p256(raw[_MLKEM_PUBLIC_BYTES:])
        self.raw = raw

    @property
    def labels(self) -> frozenset[str]:
        """``postquantum``: never beside a recipient that a quantum computer can open."""
        return frozenset({"postquantum"})

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file under a newly encapsulated key."""
        point = self.raw[_MLKEM_PUBLIC_BYTES:]
        shared_pq, sealed_pq = self._mlkem.encapsulate()
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        share = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        shared_p256 = ephemeral.exchange(ec.ECDH(), self._p256)
        combined = hashlib.sha3_256(shared_pq + shared_p256 + share + point + _COMBINER_LABEL).digest()
        key, nonce = _hybrid_schedule(combined)
        body = ChaCha20Poly1305(key).encrypt(nonce, file_key, None)
        return _stanza(_HYBRID, point, sealed_pq + share, body)

    def is_for(self, stanza: Stanza) -> bool:
        """Return whether a stanza bears this key's tag, so that its holder is worth asking.

        Raises:
            HeaderError: It is a ``mlkem768p256tag`` stanza, and malformed.
        """
        return _is_for(stanza, _HYBRID, self.raw[_MLKEM_PUBLIC_BYTES:], _ENCAPSULATED_BYTES)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridTagRecipient) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __str__(self) -> str:
        return _bech32.encode(HYBRID_PREFIX, self.raw)

    def __repr__(self) -> str:
        return f"HybridTagRecipient(sha256={hashlib.sha256(self.raw).hexdigest()[:16]})"


def _hybrid_schedule(shared: bytes) -> tuple[bytes, bytes]:
    """Return key and nonce of HPKE's base mode for a shared secret (RFC 9180, section 5.1)."""

    def extract(salt: bytes, label: bytes, data: bytes) -> bytes:
        return HKDF.extract(SHA256(), salt, b"HPKE-v1" + _HYBRID_SUITE_ID + label + data)

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", _info(_HYBRID))
    secret = extract(shared, b"secret", b"")

    def expand(label: bytes, size: int) -> bytes:
        info = size.to_bytes(2, "big") + b"HPKE-v1" + _HYBRID_SUITE_ID + label + context
        return HKDFExpand(SHA256(), size, info).derive(secret)

    return expand(b"key", 32), expand(b"base_nonce", 12)
