"""Synthetic images that are what they say, and real ones made different without harm."""

from __future__ import annotations

import struct
import zlib
from typing import Final

_WIDTH: Final = 256
_ISO_CAPTURE_TIME: Final = {b"FIR\0": 20, b"FAC\0": 21, b"IIR\0": 20}
"""Where the nine bytes of the first representation's capture time stand (ISO/IEC 19794-4, -5, -6:2011)."""

_WSQ_START: Final = b"\xff\xa0"
_WSQ_COMMENT: Final = b"\xff\xa8"


def png(noise: bytes) -> bytes:
    """Return a grey image of 8 bits and 256 pixels width whose pixels are the given bytes (ISO/IEC 15948).

    Args:
        noise: Pixels; the image is stored uncompressed, so its size is about theirs.
    """
    rows = [noise[start : start + _WIDTH].ljust(_WIDTH, b"\0") for start in range(0, len(noise), _WIDTH)]
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), level=0)
    header = struct.pack(">IIBBBBB", _WIDTH, len(rows), 8, 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def stamped(sample: bytes, person: int) -> bytes:
    """Return a real sample with a trace of its made-up person: another capture time, or a comment.

    Args:
        sample: ISO/IEC 19794 record (2011) or WSQ; others come back as they are.
        person: Up to 3.6 million different ones.
    """
    offset = _ISO_CAPTURE_TIME.get(sample[:4])
    if offset is not None:
        minute, rest = divmod(person, 60_000)
        second, millisecond = divmod(rest, 1000)
        time = struct.pack(">BBH", minute % 60, second, millisecond)
        return sample[: offset + 5] + time + sample[offset + 9 :]
    if sample.startswith(_WSQ_START):
        comment = f"made-up person {person}".encode("ascii")
        return _WSQ_START + _WSQ_COMMENT + struct.pack(">H", len(comment) + 2) + comment + sample[2:]
    return sample


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
