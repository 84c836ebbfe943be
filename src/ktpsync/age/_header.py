"""The textual header of an age file: version line, recipient stanzas, MAC (C2SP ``age.md``, "Header")."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ktpsync.age import _base64
from ktpsync.errors import HeaderError, HeaderMacError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES: Final = 1 << 20
"""Longest header that is read or written. The specification sets no limit; memory does."""

FILE_KEY_BYTES: Final = 16

_MAGIC: Final = b"age-encryption.org/"
_VERSION_LINE: Final = _MAGIC + b"v1\n"
_COLUMNS: Final = 64
_ARGUMENTS: Final = re.compile(rb"-> [!-~]+(?: [!-~]+)*", re.DOTALL)
_MAC_LINE: Final = re.compile(rb"--- ([A-Za-z0-9+/]{43})")
_SCRYPT: Final = "scrypt"


@frozen(kw_only=True)
class Stanza:
    """One recipient's part of a header: the file key, wrapped.

    Args:
        args: The type and its arguments: one or more words of printable ASCII.
        body: The wrapped file key.
    """

    args: tuple[str, ...]
    body: bytes = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.args or not all(arg.isascii() and arg.isprintable() for arg in self.args):
            raise HeaderError("A stanza's arguments are words of printable ASCII, at least one.")
        if any(not arg or " " in arg for arg in self.args):
            raise HeaderError("An argument of a stanza is not empty and has no blanks.")

    def to_bytes(self) -> bytes:
        """Return the lines of the header, the last newline included."""
        text = _base64.encode(self.body)
        # An empty last line is due where the text fills its lines exactly.
        lines = [text[i : i + _COLUMNS] for i in range(0, len(text) + 1, _COLUMNS)]
        return b"\n".join([b"-> " + " ".join(self.args).encode("ascii"), *lines, b""])


@frozen(kw_only=True)
class Header:
    """A parsed header.

    Args:
        stanzas: The stanzas in their order.
        covered: The bytes that the MAC covers.
        mac: The MAC as it stands in the file.
    """

    stanzas: tuple[Stanza, ...]
    covered: bytes = field(repr=False)
    mac: bytes = field(repr=False)


def is_binary_age(data: bytes) -> bool:
    """Return whether data begins as an age file of some version does, without armor."""
    return data.startswith(_MAGIC)


def find_end(data: bytes) -> int | None:
    """Return the size of the header that data begins with, or None if its end is not in sight."""
    start = data.find(b"\n---", 0, MAX_BYTES)
    end = data.find(b"\n", start + 1, MAX_BYTES) if start >= 0 else -1
    return end + 1 if end >= 0 else None


def parse(data: bytes) -> Header:
    """Read a whole header.

    Args:
        data: The header's bytes, as :func:`find_end` measures them.

    Raises:
        HeaderError: A rule of the format is broken.
    """
    if not data.startswith(_VERSION_LINE):
        if is_binary_age(data):
            raise HeaderError("The file has an age version other than v1. Open it with a newer program.")
        raise HeaderError("This is not an age file, or its beginning is damaged.")
    lines = data.split(b"\n")
    if len(lines) < 3 or lines[-1]:  # noqa: PLR2004 - version line, MAC line and the end after its newline
        raise HeaderError("The age header is cut short.")
    mac_line = _MAC_LINE.fullmatch(lines[-2])
    mac = _base64.decode(mac_line[1]) if mac_line else None
    if mac is None:
        raise HeaderError("The MAC line of the age header is malformed.")
    stanzas = _parse_stanzas(lines[1:-2])
    check(stanzas)
    return Header(stanzas=stanzas, covered=data[: -len(lines[-2]) - 1] + b"---", mac=mac)


def _parse_stanzas(lines: Sequence[bytes]) -> tuple[Stanza, ...]:
    stanzas: list[Stanza] = []
    remaining = iter(lines)
    for line in remaining:
        if not _ARGUMENTS.fullmatch(line):
            raise HeaderError(f"Stanza {len(stanzas) + 1} of the age header has a malformed first line.")
        text = []
        for row in remaining:
            text.append(row)
            if len(row) != _COLUMNS:
                break
        # Without a line shorter than 64 columns the stanza has no end; a longer one is malformed.
        body = _base64.decode(b"".join(text)) if text and len(text[-1]) < _COLUMNS else None
        if body is None:
            raise HeaderError(f"Stanza {len(stanzas) + 1} of the age header has a malformed body.")
        stanzas.append(Stanza(args=tuple(line[3:].decode("ascii").split(" ")), body=body))
    return tuple(stanzas)


def check(stanzas: Sequence[Stanza]) -> None:
    """Refuse a set of stanzas that no header may have.

    Raises:
        HeaderError: There is none, or a passphrase is beside something else.
    """
    if not stanzas:
        raise HeaderError("An age header needs at least one recipient.")
    if len(stanzas) > 1 and any(stanza.args[0] == _SCRYPT for stanza in stanzas):
        raise HeaderError("A passphrase must be the only recipient of an age file.")


def build(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """Return the bytes of a header with its MAC.

    Raises:
        HeaderError: The format has no such header, or it is too long.
    """
    check(stanzas)
    covered = b"".join([_VERSION_LINE, *(stanza.to_bytes() for stanza in stanzas), b"---"])
    header = covered + b" " + _base64.encode(_mac(covered, file_key)) + b"\n"
    if len(header) > MAX_BYTES:
        raise HeaderError(f"A header has at most {MAX_BYTES} bytes. Seal to fewer recipients.")
    return header


def verify(header: Header, file_key: bytes) -> None:
    """Check the MAC of a header.

    Raises:
        HeaderMacError: The header is not the one that was written.
    """
    if not hmac.compare_digest(header.mac, _mac(header.covered, file_key)):
        raise HeaderMacError(
            "The age header was changed after sealing. Fetch the file again from another copy."
        )


def derive(secret: bytes, *, salt: bytes | None, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 (RFC 5869)."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _mac(covered: bytes, file_key: bytes) -> bytes:
    return hmac.digest(derive(file_key, salt=None, info=b"header"), covered, hashlib.sha256)
