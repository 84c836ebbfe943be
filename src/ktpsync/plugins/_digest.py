"""Size and digest of a stream, while it is copied: what every backend compares."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from typing import Protocol

    class Readable(Protocol):
        """What gives bytes."""

        def read(self, size: int, /) -> bytes: ...


BLOCK: Final = 1 << 20


def digest_of(source: Readable, into: BinaryIO | None = None) -> tuple[int, str]:
    """Read a source to its end, in blocks of 1 MiB, and copy it if wanted.

    Args:
        source: The bytes.
        into: Where to write them too.

    Returns:
        How many bytes came, and their SHA-256 in hexadecimal: to be compared with ``(size, sha256)``.
    """
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK):
        digest.update(block)
        size += len(block)
        if into is not None:
            into.write(block)
    return size, digest.hexdigest()
