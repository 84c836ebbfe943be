"""The payload of an age file: ChaCha20-Poly1305 over chunks of 64 KiB (C2SP ``age.md``, "Payload")."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ktpsync.age._filekey import derive
from ktpsync.age._share import share

CHUNK: Final = 1 << 16
TAG: Final = 16
SEALED_CHUNK: Final = CHUNK + TAG
NONCE: Final = 16

_LAST: Final = b"\x01"
_MORE: Final = b"\x00"

_SHARED_CHUNKS: Final = 512
"""From 32 MiB on, memory for a result is always fresh and costs more than the cipher; helpers halve that. Below, on a
machine with other work, they cost more than they gain. A packet is far below."""

_MAX_PARTS: Final = 16

DAMAGED: Final = "The payload is damaged."
CUT_SHORT: Final = "The payload is cut short."
CONTINUED: Final = "There are bytes after the end of the payload."
EMPTY_END: Final = "The payload ends with an empty chunk, which no age program writes."
ENDS_BADLY: Final = "The end of the payload is damaged or cut short."


def sealed_size(size: int) -> int:
    """Return the bytes of all sealed chunks of a plaintext of ``size`` bytes, without the nonce."""
    return size + TAG * max(1, -(-size // CHUNK))


def plain_size(sealed: int) -> int:
    """Return the most bytes of plaintext that can be in ``sealed`` bytes of chunks."""
    whole, rest = divmod(sealed, SEALED_CHUNK)
    return whole * CHUNK + max(0, rest - TAG)


class ChunkCipher:
    """Seals and opens the chunks of one payload.

    Args:
        file_key: The key of the file.
        nonce: The 16 bytes at the beginning of the payload.
    """

    __slots__ = ("_cipher",)

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._cipher = ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))

    def seal(self, plain: memoryview, out: memoryview, *, first: int, last: bool) -> int:
        """Seal a run of chunks.

        Args:
            plain: The plaintext; whole chunks unless it is the last run.
            out: Where the sealed chunks go.
            first: The number of the first chunk.
            last: Whether the payload ends with this run.

        Returns:
            Bytes written to ``out``.
        """
        encrypt_into = self._cipher.encrypt_into
        whole = _chunks_before_last(len(plain), CHUNK) if last else len(plain) // CHUNK
        start = at = 0
        for number in range(first, first + whole):
            nonce = number.to_bytes(11, "big") + _MORE
            encrypt_into(nonce, plain[start : start + CHUNK], None, out[at : at + SEALED_CHUNK])
            start += CHUNK
            at += SEALED_CHUNK
        if last:
            nonce = (first + whole).to_bytes(11, "big") + _LAST
            at += encrypt_into(nonce, plain[start:], None, out[at : at + len(plain) - start + TAG])
        return at

    def open(self, sealed: memoryview, out: memoryview, *, first: int, last: bool) -> tuple[int, str | None]:
        """Open a run of chunks.

        Args:
            sealed: The sealed chunks; whole ones, save that the last one of the payload may be shorter.
            out: Where the plaintext goes.
            first: The number of the first chunk.
            last: Whether the payload ends with this run.

        Returns:
            Bytes of verified plaintext in ``out``, and what is wrong with what follows them, or None.
        """
        decrypt_into = self._cipher.decrypt_into
        whole = _chunks_before_last(len(sealed), SEALED_CHUNK) if last else len(sealed) // SEALED_CHUNK
        start = at = 0
        for number in range(first, first + whole):
            nonce = number.to_bytes(11, "big") + _MORE
            chunk = sealed[start : start + SEALED_CHUNK]
            try:
                decrypt_into(nonce, chunk, None, out[at : at + CHUNK])
            except InvalidTag:
                return self._open_misplaced(chunk, out, at, number.to_bytes(11, "big") + _LAST, CONTINUED)
            start += SEALED_CHUNK
            at += CHUNK
        return self._open_last(sealed[start:], out, at, first + whole) if last else (at, None)

    def _open_last(self, chunk: memoryview, out: memoryview, at: int, number: int) -> tuple[int, str | None]:
        if len(chunk) < TAG:
            return at, CUT_SHORT
        nonce = number.to_bytes(11, "big")
        try:
            count = self._cipher.decrypt_into(nonce + _LAST, chunk, None, out[at : at + len(chunk) - TAG])
        except InvalidTag:
            if len(chunk) == SEALED_CHUNK:
                return self._open_misplaced(chunk, out, at, nonce + _MORE, CUT_SHORT)
            return at, ENDS_BADLY
        if not count and number:
            return at, EMPTY_END
        return at + count, None

    def _open_misplaced(
        self, chunk: memoryview, out: memoryview, at: int, nonce: bytes, problem: str
    ) -> tuple[int, str | None]:
        # A whole chunk with the opposite mark is one that the sender wrote here; what follows was changed.
        try:
            self._cipher.decrypt_into(nonce, chunk, None, out[at : at + CHUNK])
        except InvalidTag:
            return at, DAMAGED
        return at + CHUNK, problem

    def seal_all(self, plain: memoryview, out: memoryview) -> None:
        """Seal a whole payload into a buffer of :func:`sealed_size` bytes."""

        def seal(part: _Part) -> int:
            return self.seal(
                plain[part.first * CHUNK : part.end * CHUNK],
                out[part.first * SEALED_CHUNK : part.end * SEALED_CHUNK],
                first=part.first,
                last=part.last,
            )

        share(seal, _parts(_chunks_before_last(len(plain), CHUNK) + 1))

    def open_all(self, sealed: memoryview, out: memoryview) -> tuple[int, str | None]:
        """Open a whole payload into a buffer of :func:`plain_size` bytes.

        Returns:
            As :meth:`open`.
        """

        def open_part(part: _Part) -> tuple[int, str | None]:
            return self.open(
                sealed[part.first * SEALED_CHUNK : part.end * SEALED_CHUNK],
                out[part.first * CHUNK : part.end * CHUNK],
                first=part.first,
                last=part.last,
            )

        verified = 0
        for count, problem in share(open_part, _parts(_chunks_before_last(len(sealed), SEALED_CHUNK) + 1)):
            verified += count
            if problem is not None:
                return verified, problem
        return verified, None


@frozen
class _Part:
    """Chunks of a payload: the first one, the one after the last one, and whether the payload ends there."""

    first: int
    end: int
    last: bool


def _parts(chunks: int) -> list[_Part]:
    size = chunks if chunks < _SHARED_CHUNKS else max(1, chunks // _MAX_PARTS)
    return [_Part(at, min(at + size, chunks), at + size >= chunks) for at in range(0, chunks, size)]


def _chunks_before_last(size: int, chunk: int) -> int:
    # The last chunk is not empty unless the payload is: an exact multiple has one whole chunk fewer before it.
    return max(0, size - 1) // chunk
