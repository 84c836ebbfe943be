"""Sealing and opening, in memory and as a stream."""

from __future__ import annotations

import io
import secrets
from typing import TYPE_CHECKING, Final

from ktpsync.age import _armor, _header, _stream
from ktpsync.age._filekey import FILE_KEY_BYTES
from ktpsync.age._keys import Identity, Recipient
from ktpsync.age._room import room
from ktpsync.age._source import Source, write_all
from ktpsync.discreet import discreet
from ktpsync.errors import HeaderError, NoMatchingIdentityError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.age._source import Readable, Writable

_RUN: Final = 2
"""Chunks sealed or opened between two calls of the file objects. More gain little, and cost small files much."""

_HEAD: Final = 1 << 14


@discreet
def encrypt(data: bytes, recipients: Recipient | Iterable[Recipient], *, armor: bool = False) -> bytes:
    """Seal bytes.

    Args:
        data: The plaintext.
        recipients: Who can open it; each alone can. One may be given as it is.
        armor: Whether to write text (PEM) in place of bytes; a third bigger.

    Returns:
        The age file.

    Raises:
        HeaderError: There is no recipient, or some of them do not go together.
    """
    if armor:
        target = io.BytesIO()
        encrypt_stream(io.BytesIO(data), target, recipients, armor=True)
        return target.getvalue()
    file_key, header = new_header(recipients)
    nonce = secrets.token_bytes(_stream.NONCE)
    start = len(header) + len(nonce)
    out = room(start + _stream.sealed_size(len(data)))
    with out.getbuffer() as view, memoryview(data) as plain:
        view[:start] = header + nonce
        _stream.ChunkCipher(file_key, nonce).seal_all(plain, view[start:])
    return out.getvalue()


@discreet
def decrypt(data: bytes, identities: Identity | Iterable[Identity]) -> bytes:
    """Open an age file.

    Args:
        data: The file, binary or armored.
        identities: They are tried in their order. One may be given as it is.

    Returns:
        The plaintext; all of it is verified.

    Raises:
        ArmorError: The armor is malformed.
        HeaderError: The header is malformed.
        HeaderMacError: The header was changed.
        NoMatchingIdentityError: None of the identities opens the file.
        PayloadError: The payload is damaged, cut short or continued.
    """
    if _armor.is_armored(data[: _armor.SNIFF]):
        target = io.BytesIO()
        decrypt_stream(io.BytesIO(data), target, identities)
        return target.getvalue()
    header, start = _header.parse(data)
    file_key = unwrap(header, identities)
    with memoryview(data) as view:
        nonce = whole_nonce(bytes(view[start : start + _stream.NONCE]))
        chunks = view[start + _stream.NONCE :]
        out = room(_stream.plain_size(len(chunks)))
        with out.getbuffer() as plain:
            count, problem = _stream.ChunkCipher(file_key, nonce).open_all(chunks, plain)
    if problem is not None:
        raise PayloadError(f"{problem} Fetch the file again from another copy.", verified=count)
    return out.getvalue()


@discreet
def encrypt_stream(
    src: Readable, dst: Writable, recipients: Recipient | Iterable[Recipient], *, armor: bool = False
) -> int:
    """Seal a stream in constant memory.

    Args:
        src: Binary file object with the plaintext; read to its end.
        dst: Binary file object for the age file; not closed.
        recipients: Who can open it; each alone can. One may be given as it is.
        armor: Whether to write text (PEM) in place of bytes.

    Returns:
        Bytes written to ``dst``.

    Raises:
        HeaderError: There is no recipient, or some of them do not go together.
        OSError: ``src`` or ``dst`` failed; what is in ``dst`` is not an age file.
    """
    file_key, header = new_header(recipients)
    if armor:
        writer = _armor.ArmorWriter(dst)
        seal_stream(Source(src), writer, file_key, header)
        writer.finish()
        return writer.written
    return seal_stream(Source(src), dst, file_key, header)


def seal_stream(source: Source, target: Writable, file_key: bytes, header: bytes) -> int:
    """Write a header and the payload of a source that is read to its end; return the bytes written."""
    nonce = secrets.token_bytes(_stream.NONCE)
    write_all(target, memoryview(header + nonce))
    written = len(header) + len(nonce)
    cipher = _stream.ChunkCipher(file_key, nonce)
    run = _RUN * _stream.CHUNK
    # One byte more than a run tells whether it is the last one: the last chunk is marked, and not empty.
    plain = memoryview(bytearray(run + 1))
    sealed = memoryview(bytearray(_RUN * _stream.SEALED_CHUNK))
    held = number = 0
    while True:
        count = held + source.readinto(plain[held:])
        last = count <= run
        size = cipher.seal(plain[: min(count, run)], sealed, first=number, last=last)
        write_all(target, sealed[:size])
        written += size
        if last:
            return written
        plain[0] = plain[run]
        held = 1
        number += _RUN


@discreet
def decrypt_stream(src: Readable, dst: Writable, identities: Identity | Iterable[Identity]) -> int:
    """Open an age file as a stream, in constant memory.

    Only verified plaintext is written, but the end of the file is known at the end alone: when this raises
    :class:`~ktpsync.errors.PayloadError`, discard what was written or treat it as cut short.

    Args:
        src: Binary file object with the age file, binary or armored; read to its end.
        dst: Binary file object for the plaintext; not closed.
        identities: They are tried in their order. One may be given as it is.

    Returns:
        Bytes written to ``dst``.

    Raises:
        ArmorError: The armor is malformed.
        HeaderError: The header is malformed.
        HeaderMacError: The header was changed.
        NoMatchingIdentityError: None of the identities opens the file.
        PayloadError: The payload is damaged, cut short or continued; ``verified`` counts the bytes written.
        OSError: ``src`` or ``dst`` failed.
    """
    source = open_source(src)
    file_key = unwrap(read_header(source), identities)
    cipher = _stream.ChunkCipher(file_key, whole_nonce(source.read(_stream.NONCE)))
    run = _RUN * _stream.SEALED_CHUNK
    sealed = memoryview(bytearray(run + 1))
    plain = memoryview(bytearray(_RUN * _stream.CHUNK))
    held = written = number = 0
    while True:
        count = held + source.readinto(sealed[held:])
        last = count <= run
        size, problem = cipher.open(sealed[: min(count, run)], plain, first=number, last=last)
        write_all(dst, plain[:size])
        written += size
        if problem is not None:
            raise PayloadError(
                f"{problem} The first {written} bytes are verified. Fetch the file again from another copy.",
                verified=written,
            )
        if last:
            return written
        sealed[0] = sealed[run]
        held = 1
        number += _RUN


def whole_nonce(nonce: bytes) -> bytes:
    """Return the nonce if it is whole.

    Raises:
        HeaderError: The file ends before. Without a nonce there is no payload to fail, so that the published
            test vectors count this to the header.
    """
    if len(nonce) < _stream.NONCE:
        raise HeaderError("The file ends before its payload begins. Fetch it again from another copy.")
    return nonce


def open_source(file: Readable) -> Source:
    """Return the binary age file behind a file object that may be armored."""
    source = Source(file)
    head = source.read(_armor.SNIFF)
    source.give_back(head)
    return Source(_armor.ArmorReader(source)) if _armor.is_armored(head) else source


def read_header(source: Source) -> _header.Header:
    """Read the header and leave the source at the payload.

    Raises:
        HeaderError: The header is malformed or too long.
    """
    head = source.read(_HEAD)
    if _header.is_binary_age(head) and _header.find_end(head) is None:
        head += source.read(_header.MAX_BYTES - len(head))
    header, end = _header.parse(head)
    source.give_back(head[end:])
    return header


def new_header(recipients: Recipient | Iterable[Recipient]) -> tuple[bytes, bytes]:
    """Return a new file key and the header that wraps it.

    Raises:
        HeaderError: There is no recipient, or some of them do not go together.
    """
    file_key = secrets.token_bytes(FILE_KEY_BYTES)
    return file_key, wrap(file_key, recipients)


def wrap(file_key: bytes, recipients: Recipient | Iterable[Recipient]) -> bytes:
    """Return a header that wraps a file key for recipients.

    Raises:
        HeaderError: There is no recipient, or some of them do not go together.
    """
    everybody = [recipients] if isinstance(recipients, Recipient) else list(recipients)
    for recipient in everybody:
        if not isinstance(recipient, Recipient):
            raise TypeError(
                f"A recipient is made by parse_recipient() or Passphrase(), not a {type(recipient).__name__}."
            )
    if len({recipient.labels for recipient in everybody}) > 1:
        raise HeaderError(
            "These recipients do not go together: a file sealed to a post-quantum hybrid recipient, or to a "
            "passphrase, is sealed to no other kind. Seal twice, or make hybrid keys for everybody."
        )
    return _header.build([stanza for recipient in everybody for stanza in recipient.wrap(file_key)], file_key)


def unwrap(header: _header.Header, identities: Identity | Iterable[Identity]) -> bytes:
    """Return the file key of a header whose MAC holds.

    Raises:
        HeaderError: A stanza for one of the identities is malformed.
        HeaderMacError: The header was changed.
        NoMatchingIdentityError: None of the identities opens the file.
    """
    everybody = [identities] if isinstance(identities, Identity) else list(identities)
    for identity in everybody:
        if not isinstance(identity, Identity):
            raise TypeError(
                f"An identity is made by parse_identity() or Passphrase(), not a {type(identity).__name__}."
            )
        file_key = identity.unwrap(header.stanzas)
        if file_key is not None:
            if len(file_key) != FILE_KEY_BYTES:
                raise HeaderError(f"A file key has {FILE_KEY_BYTES} bytes; the identity found another.")
            _header.verify(header, file_key)
            return file_key
    # The types come out of the file: as many as fit a line, however many it has.
    kinds = ", ".join(sorted({stanza.args[0] for stanza in header.stanzas}))[:100]
    raise NoMatchingIdentityError(
        f"None of the identities ({len(everybody)} given) opens this file; it is sealed to {len(header.stanzas)} "
        f"recipients ({kinds}). Use an identity whose recipient was given at sealing."
    )
