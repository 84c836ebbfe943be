"""The textual header of an age file: version line, recipient stanzas, MAC (C2SP ``age.md``, "Header")."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from ktpsync.age import _base64
from ktpsync.age._filekey import derive
from ktpsync.errors import HeaderError, HeaderMacError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES: Final = 1 << 20
"""Longest header that is read or written. The specification sets no limit; memory does."""

_MAGIC: Final = b"age-encryption.org/"
_VERSION_LINE: Final = _MAGIC + b"v1\n"
_COLUMNS: Final = 64
_ARGUMENTS: Final = re.compile(rb"-> [!-~]+(?: [!-~]+)*")
_MARK: Final = b"---"
_MAC_LINE: Final = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")
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


def parse(data: bytes) -> tuple[Header, int]:
    """Read the header that data begins with.

    Returns:
        The header and its size in bytes.

    Raises:
        HeaderError: A rule of the format is broken.
    """
    if not data.startswith(_VERSION_LINE):
        if is_binary_age(data):
            raise HeaderError("The file has an age version other than v1. Open it with a newer program.")
        raise HeaderError("This is not an age file, or its beginning is damaged.")
    end = find_end(data)
    if end is None:
        raise HeaderError("The age header is cut short, or longer than is accepted.")
    mac_start = data.rindex(b"\n", 0, end - 1) + 1
    mac_line = _MAC_LINE.fullmatch(data, mac_start, end)
    mac = _base64.decode(mac_line[1]) if mac_line else None
    if mac is None:
        raise HeaderError("The MAC line of the age header is malformed.")
    stanzas = _parse_stanzas(data[len(_VERSION_LINE) : mac_start].split(b"\n")[:-1])
    check(stanzas)
    return Header(stanzas=stanzas, covered=data[: mac_start + len(_MARK)], mac=mac), end


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
    covered = b"".join([_VERSION_LINE, *(stanza.to_bytes() for stanza in stanzas), _MARK])
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


def _mac(covered: bytes, file_key: bytes) -> bytes:
    return hmac.digest(derive(file_key, salt=None, info=b"header"), covered, hashlib.sha256)
