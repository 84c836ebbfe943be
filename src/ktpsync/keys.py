"""The keys that a station holds: one to sign with, one to index with. Neither can open a packet.

Key files are ordinary: PKCS#8 and SubjectPublicKeyInfo in PEM (RFC 8410), so that ``openssl`` reads them,
and 64 hexadecimal digits for the index key. They are readable by their owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ktpsync import files
from ktpsync.discreet import discreet
from ktpsync.errors import KeyFileError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

_PRIVATE_MODE: Final = 0o600
_INDEX_KEY_BYTES: Final = 32


class StationPublicKey:
    """The public half of a station's signing key (Ed25519, RFC 8032).

    Args:
        raw: The 32 bytes of the public key.
    """

    __slots__ = ("_key", "key_id", "raw")

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.raw = raw
        self.key_id = hashlib.sha256(raw).hexdigest()[:32]

    @classmethod
    def from_pem(cls, pem: bytes) -> StationPublicKey:
        """Read the PEM form.

        Raises:
            KeyFileError: It is not an Ed25519 public key in PEM.
        """
        try:
            key = load_pem_public_key(pem)
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(
                "This is not an Ed25519 public key in PEM; a station's is written by `ktpsync init`."
            )
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def to_pem(self) -> bytes:
        """Return the PEM form, as ``openssl`` reads it."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature.

        Raises:
            SignatureError: It was not made over these bytes by this station's key.
        """
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            raise SignatureError(
                f"The signature of station key {self.key_id} does not hold: "
                "the bytes were changed, or another key signed them."
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StationPublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"StationPublicKey({self.key_id})"


class StationKey:
    """A station's signing key (Ed25519, RFC 8032). Made by :meth:`generate` or :meth:`load`."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = StationPublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> StationKey:
        """Return a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    @discreet
    def load(cls, path: Path) -> StationKey:
        """Read a key file.

        Raises:
            KeyFileError: It is missing, damaged or readable by others.
        """
        data = _read_private(
            path, instead="Restore it from a backup, or make a new one with `ktpsync keys replace-station`."
        )
        return cls.from_pem(data, name=str(path))

    @classmethod
    @discreet
    def from_pem(cls, pem: bytes, *, name: str = "the given text") -> StationKey:
        """Read the PEM form, as a restored backup holds it.

        Raises:
            KeyFileError: It is not an unencrypted Ed25519 private key in PEM.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(
                f"{name} is not a station key (Ed25519, PEM). "
                "Restore it from a backup, or make a new one with `ktpsync keys replace-station`."
            )
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the unencrypted PEM form. Seal it before it goes anywhere."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @discreet
    def save(self, path: Path) -> None:
        """Write a new key file, readable by its owner alone.

        Raises:
            KeyFileError: The file exists; a key is never overwritten.
            OSError: The file cannot be written.
        """
        _write_private(path, self.to_pem())

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature over ``data``."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"StationKey({self.public.key_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A StationKey is not pickled: its private half would be in clear.")


class IndexKey:
    """The key under which a station looks up values without storing them (HMAC-SHA-256, RFC 2104).

    Args:
        raw: 32 secret bytes.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _INDEX_KEY_BYTES:
            raise ValueError(f"An index key has {_INDEX_KEY_BYTES} bytes, this one has {len(raw)}.")
        self._raw = raw

    @classmethod
    def generate(cls) -> IndexKey:
        """Return a new key from the system's randomness."""
        return cls(secrets.token_bytes(_INDEX_KEY_BYTES))

    @classmethod
    @discreet
    def load(cls, path: Path) -> IndexKey:
        """Read a key file.

        Raises:
            KeyFileError: It is missing, damaged or readable by others.
        """
        data = _read_private(path, instead="Restore it from a backup.")
        try:
            return cls.from_hex(data.decode("ascii"))
        except ValueError:
            raise KeyFileError(
                f"{path} is not an index key (64 hexadecimal digits); restore it from a backup."
            ) from None

    @discreet
    def save(self, path: Path) -> None:
        """Write a new key file, readable by its owner alone.

        Raises:
            KeyFileError: The file exists; a key is never overwritten.
            OSError: The file cannot be written.
        """
        _write_private(path, f"{self.to_hex()}\n".encode("ascii"))

    def to_hex(self) -> str:
        """Return the key itself as 64 hexadecimal digits. Seal it before it goes anywhere."""
        return self._raw.hex()

    @classmethod
    @discreet
    def from_hex(cls, text: str) -> IndexKey:
        """Read the form of :meth:`to_hex`, as a restored backup holds it.

        Raises:
            ValueError: It is not 64 hexadecimal digits.
        """
        return cls(bytes.fromhex(text.strip()))

    def digest(self, purpose: str, value: bytes) -> bytes:
        """Return the 32-byte keyed hash of a value.

        Args:
            purpose: What the hash is for; hashes for different purposes cannot be compared.
            value: The value; it cannot be got back from the hash without the key.
        """
        return hmac.digest(self._raw, purpose.encode("ascii") + b"\0" + value, "sha256")

    def __repr__(self) -> str:
        return "IndexKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An IndexKey is not pickled: it would be in clear.")


def _read_private(path: Path, *, instead: str) -> bytes:
    try:
        with files.open_private(path) as file:
            return file.read()
    except FileNotFoundError:
        raise KeyFileError(f"The key file {path} is missing. {instead}") from None
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error


def _write_private(path: Path, data: bytes) -> None:
    try:
        files.write_atomic(path, data, mode=_PRIVATE_MODE, replace=False)
    except FileExistsError:
        raise KeyFileError(
            f"{path} exists already, and a key is never overwritten. Choose another name."
        ) from None
