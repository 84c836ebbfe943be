"""The payload of an age file: ChaCha20-Poly1305 over chunks of 64 KiB (C2SP ``age.md``, "Payload")."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ktpsync.age._header import derive

CHUNK: Final = 1 << 16
TAG: Final = 16
SEALED_CHUNK: Final = CHUNK + TAG
NONCE: Final = 16

_LAST: Final = b"\x01"
_MORE: Final = b"\x00"

DAMAGED: Final = "The payload is damaged."
CUT_SHORT: Final = "The payload is cut short."
CONTINUED: Final = "There are bytes after the end of the payload."
EMPTY_END: Final = "The payload ends with an empty chunk, which no age program writes."


def sealed_size(size: int) -> int:
    """Return the bytes of the payload, nonce included, of a plaintext of ``size`` bytes."""
    return NONCE + size + TAG * max(1, -(-size // CHUNK))


def plain_bound(sealed: int) -> int:
    """Return the most bytes of plaintext that can be in ``sealed`` bytes of chunks."""
    return max(0, sealed - TAG * max(1, -(-sealed // SEALED_CHUNK)))


class ChunkCipher:
    """Seals or opens the chunks of one payload in their order.

    Args:
        file_key: The key of the file.
        nonce: The 16 bytes at the beginning of the payload.
    """

    __slots__ = ("_cipher", "_counter")

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._cipher = ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))
        self._counter = 0

    def seal(self, plain: memoryview, out: memoryview, *, last: bool) -> int:
        """Seal a run of chunks.

        Args:
            plain: The plaintext; whole chunks unless it is the last run.
            out: Where the sealed chunks go.
            last: Whether the payload ends with this run.

        Returns:
            Bytes written to ``out``.
        """
        size = len(plain)
        end = (size - 1) // CHUNK * CHUNK if last and size else 0 if last else size
        encrypt_into = self._cipher.encrypt_into
        at = 0
        counter = self._counter
        for start in range(0, end, CHUNK):
            nonce = counter.to_bytes(11, "big") + _MORE
            encrypt_into(nonce, plain[start : start + CHUNK], None, out[at : at + SEALED_CHUNK])
            at += SEALED_CHUNK
            counter += 1
        if last:
            nonce = counter.to_bytes(11, "big") + _LAST
            at += encrypt_into(nonce, plain[end:], None, out[at : at + size - end + TAG])
        self._counter = counter
        return at

    def open(self, sealed: memoryview, out: memoryview, *, last: bool) -> tuple[int, str | None]:
        """Open a run of chunks.

        Args:
            sealed: The sealed chunks; whole ones, save that the last one of the payload may be shorter.
            out: Where the plaintext goes.
            last: Whether the payload ends with this run.

        Returns:
            Bytes of verified plaintext in ``out``, and what is wrong with what follows them, or None.
        """
        size = len(sealed)
        end = (size - 1) // SEALED_CHUNK * SEALED_CHUNK if last and size else 0 if last else size
        decrypt_into = self._cipher.decrypt_into
        at = 0
        for start in range(0, end, SEALED_CHUNK):
            nonce = self._counter.to_bytes(11, "big") + _MORE
            chunk = sealed[start : start + SEALED_CHUNK]
            try:
                decrypt_into(nonce, chunk, None, out[at : at + CHUNK])
            except InvalidTag:
                return self._instead(chunk, out, at, _LAST, CONTINUED)
            at += CHUNK
            self._counter += 1
        if not last:
            return at, None
        return self._open_last(sealed[end:], out, at)

    def _open_last(self, chunk: memoryview, out: memoryview, at: int) -> tuple[int, str | None]:
        if len(chunk) < TAG:
            return at, CUT_SHORT
        nonce = self._counter.to_bytes(11, "big") + _LAST
        try:
            count = self._cipher.decrypt_into(nonce, chunk, None, out[at : at + len(chunk) - TAG])
        except InvalidTag:
            if len(chunk) == SEALED_CHUNK:
                return self._instead(chunk, out, at, _MORE, CUT_SHORT)
            # A piece of a longer chunk, a last chunk that is not marked so, or a changed one.
            return at, f"{CUT_SHORT[:-1]} or damaged."
        if not count and self._counter:
            return at, EMPTY_END
        return at + count, None

    def _instead(
        self, chunk: memoryview, out: memoryview, at: int, mark: bytes, problem: str
    ) -> tuple[int, str | None]:
        # A chunk with the opposite mark is still one that the sender wrote in this place.
        try:
            self._cipher.decrypt_into(
                self._counter.to_bytes(11, "big") + mark, chunk, None, out[at : at + CHUNK]
            )
        except InvalidTag:
            return at, DAMAGED
        return at + CHUNK, problem
