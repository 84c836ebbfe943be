"""Changing who can open a file without touching its payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.age._seal import open_source, read_header, unwrap, whole_nonce, wrap
from ktpsync.age._source import write_all
from ktpsync.age._stream import NONCE
from ktpsync.discreet import discreet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.age._keys import Identity, Recipient
    from ktpsync.age._source import Readable, Writable

_PIECE: Final = 1 << 18


@discreet
def rewrap(
    src: Readable,
    dst: Writable,
    identities: Identity | Iterable[Identity],
    recipients: Recipient | Iterable[Recipient],
) -> int:
    """Copy an age file with a new header, so that others can open it. Its payload is the same, byte for byte.

    This is for key rotation over many packets: its cost is that of copying. The file key stays the same. Whoever
    could open the old file and kept its file key, or the old file itself, can still read what is in it; to shut
    them out of what they have not seen, seal anew.

    Args:
        src: Binary file object with the age file, binary or armored; read to its end.
        dst: Binary file object for the new file, which is binary; not closed.
        identities: They are tried in their order. One may be given as it is.
        recipients: Who can open the new file, and nobody else. One may be given as it is.

    Returns:
        Bytes written to ``dst``.

    Raises:
        ArmorError: The armor is malformed.
        HeaderError: The header is malformed, or the recipients do not go together.
        HeaderMacError: The header was changed.
        NoMatchingIdentityError: None of the identities opens the file.
        OSError: ``src`` or ``dst`` failed; what is in ``dst`` is not an age file.
    """
    source = open_source(src)
    file_key = unwrap(read_header(source), identities)
    start = wrap(file_key, recipients) + whole_nonce(source.read(NONCE))
    write_all(dst, memoryview(start))
    written = len(start)
    piece = memoryview(bytearray(_PIECE))
    while count := source.readinto(piece):
        write_all(dst, piece[:count])
        written += count
    return written
