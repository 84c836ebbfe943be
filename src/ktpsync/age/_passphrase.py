"""The scrypt recipient type: a passphrase (C2SP ``age.md``; RFC 7914)."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ktpsync.age import _base64, _filekey
from ktpsync.age._header import Stanza
from ktpsync.age._keys import Identity, Recipient
from ktpsync.errors import HeaderError, KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPE: Final = "scrypt"
_LABEL: Final = b"age-encryption.org/v1/scrypt"
_SALT_BYTES: Final = 16
_DECIMAL: Final = re.compile(r"[1-9][0-9]*")
_WORK_FACTORS: Final = range(1, 31)


class Passphrase(Recipient, Identity):
    """A passphrase, as recipient and identity in one. It must be the only recipient of a file.

    Args:
        passphrase: The words. They are used as they are, in UTF-8.
        work_factor: Base-two logarithm of the cost of sealing; 18 takes about a second and 256 MiB.
        max_work_factor: The highest cost accepted when opening. A file can demand any; 20 means 1 GiB of memory.

    Raises:
        KeyFormatError: The passphrase is empty, or a number is out of range.
    """

    __slots__ = ("_max_work_factor", "_secret", "_work_factor")

    def __init__(self, passphrase: str, *, work_factor: int = 18, max_work_factor: int = 20) -> None:
        if not passphrase:
            raise KeyFormatError("The passphrase is empty.")
        if work_factor not in _WORK_FACTORS or max_work_factor not in _WORK_FACTORS:
            raise KeyFormatError(f"A work factor lies between {_WORK_FACTORS[0]} and {_WORK_FACTORS[-1]}.")
        try:
            self._secret = passphrase.encode()
        except UnicodeEncodeError:
            raise KeyFormatError("The passphrase has characters that UTF-8 cannot express.") from None
        self._work_factor = work_factor
        self._max_work_factor = max_work_factor

    @property
    def recipient(self) -> Passphrase:
        """Itself: a passphrase seals and opens."""
        return self

    @property
    def labels(self) -> frozenset[str]:
        """``passphrase``: never beside a recipient of another kind."""
        return frozenset({"passphrase"})

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file under the passphrase and a new salt."""
        salt = secrets.token_bytes(_SALT_BYTES)
        body = _filekey.wrap(self._key(salt, self._work_factor), file_key)
        return (
            Stanza(args=(_TYPE, _base64.encode(salt).decode("ascii"), str(self._work_factor)), body=body),
        )

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Decrypt the key of a file, if it is sealed to this passphrase.

        A scrypt stanza beside another one is refused before, whoever opens the file.

        Raises:
            HeaderError: The scrypt stanza is malformed or demands too much work.
        """
        return _filekey.unwrap_first(stanzas, _TYPE, self._unwrap)

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        if len(stanza.args) != 3:  # noqa: PLR2004 - type, salt, work factor
            raise HeaderError("The scrypt stanza of the age header is malformed.")
        _, salt_text, work_text = stanza.args
        salt = _base64.decode(salt_text.encode("ascii"))
        if salt is None or len(salt) != _SALT_BYTES or len(stanza.body) != _filekey.WRAPPED_BYTES:
            raise HeaderError("The scrypt stanza of the age header is malformed.")
        if not _DECIMAL.fullmatch(work_text):
            raise HeaderError("The work factor of the scrypt stanza is malformed.")
        # Bounded by digits first: Python refuses to convert very long numbers with an error of its own.
        if len(work_text) > 2 or int(work_text) > self._max_work_factor:  # noqa: PLR2004 - two digits
            raise HeaderError(
                f"The file demands a work factor above {self._max_work_factor}. If you trust its origin and have "
                "the memory, open it with a higher max_work_factor."
            )
        try:
            key = self._key(salt, int(work_text))
        except MemoryError:
            raise HeaderError(
                f"The passphrase's work factor {work_text} needs more memory than is free. "
                "Open the file on a machine that has it."
            ) from None
        return _filekey.unwrap(key, stanza.body)

    def _key(self, salt: bytes, work_factor: int) -> bytes:
        return Scrypt(salt=_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1).derive(self._secret)

    def __repr__(self) -> str:
        return "Passphrase(...)"
