"""Synthetic samples that are what they say, of a chosen size to the byte, and real ones made different without harm."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

from ktpsync.records import Eye, Finger, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

SMALLEST_SAMPLE: Final = 240
"""Bytes that the headers of most formats and a few pixels need."""

_SMALLEST: Final = {Format.JPEG: 1200, Format.JPEG_2000: 1200, Format.PDF: 700}
_WIDTH: Final = 256
_SMALL_WIDTH: Final = 16
_SMALL: Final = 4096
_JPEG_SIDE: Final = 16
_LONGEST_SEGMENT: Final = 65_533
_ISO_CAPTURE_TIME: Final = {b"FIR\0": 20, b"FAC\0": 21, b"IIR\0": 20}
"""Where the nine bytes of the first representation's capture time stand (ISO/IEC 19794-4, -5, -6:2011)."""

_WSQ_START, _WSQ_END, _WSQ_COMMENT, _WSQ_FRAME, _WSQ_BLOCK = (
    b"\xff\xa0",
    b"\xff\xa1",
    b"\xff\xa8",
    b"\xff\xa2",
    b"\xff\xa3",
)
_MADE_AT: Final = struct.pack(">HBBBBBH", 2017, 3, 17, 9, 30, 0, 0)
_DEVICE: Final = struct.pack(">BHH", 0, 0, 0)


def make_sample(
    kind: Format, *, size: int, random: Random, place: Finger | Eye | None = None, quality: int = 80
) -> bytes:
    """Return a synthetic sample: right headers, and noise for a picture.

    All but WSQ and PDF can be decoded as pictures; WSQ has true headers around noise. Minutiae are not made.

    Args:
        kind: The format.
        size: Its bytes, exactly.
        random: Where the noise comes from.
        place: The finger or eye that the record declares, for the formats that carry it.
        quality: The quality score in the record, 0 to 100.

    Raises:
        ValueError: The size is too small for the format's headers, or nothing here makes this format.
    """
    smallest = _SMALLEST.get(kind, SMALLEST_SAMPLE)
    if size < smallest or kind is Format.FINGER_MINUTIAE:
        raise ValueError(f"cannot make a {kind.value} of {size} bytes; at least {smallest} are needed")
    if kind is Format.FINGER_IMAGE:
        code = list(Finger).index(place) + 1 if isinstance(place, Finger) else 0
        return _finger_record(random, size, code, quality)
    if kind is Format.IRIS_IMAGE:
        label = list(Eye).index(place) + 1 if isinstance(place, Eye) else 0
        return _iris_record(random, size, label, quality)
    return _MAKERS[kind](random, size)


def _png(random: Random, size: int) -> bytes:
    """A grey image of 8 bits, stored uncompressed, and a chunk of nobody's up to the size (ISO/IEC 15948)."""
    width = _WIDTH if size >= _SMALL else _SMALL_WIDTH
    rows = (size - 80 - 5 * (size >> 14)) // (width + 1)  # chunks and zlib's blocks take less than that
    pixels = b"".join(b"\0" + random.randbytes(width) for _ in range(rows))
    header = struct.pack(">IIBBBBB", width, rows, 8, 0, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(pixels, level=0)), _chunk(b"IEND", b"")]
    parts.insert(2, _chunk(b"kpAd", bytes(size - 8 - sum(map(len, parts)) - 12)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pillow(random: Random, file_format: str) -> bytes:
    from PIL import Image  # noqa: PLC0415 - only these two formats need it

    file = io.BytesIO()
    noise = random.randbytes(_JPEG_SIDE * _JPEG_SIDE)
    Image.frombytes("L", (_JPEG_SIDE, _JPEG_SIDE), noise).save(file, file_format)
    return file.getvalue()


def _jpeg(random: Random, size: int) -> bytes:
    """A small picture, and comments up to the size (ITU-T T.81)."""
    data = _pillow(random, "JPEG")
    comments = b""
    missing = size - len(data)
    while missing:
        length = min(missing - 4, _LONGEST_SEGMENT)
        if 0 < missing - 4 - length < 4:  # noqa: PLR2004 - no comment is shorter than its head
            length -= 4
        comments += b"\xff\xfe" + struct.pack(">H", length + 2) + random.randbytes(length)
        missing = size - len(data) - len(comments)
    return data[:2] + comments + data[2:]


def _jpeg_2000(random: Random, size: int) -> bytes:
    """A small picture, and a box of nobody's up to the size (ITU-T T.800)."""
    data = _pillow(random, "JPEG2000")
    missing = size - len(data)
    at = data.index(b"jp2c") - 4
    return data[:at] + struct.pack(">I4s", missing, b"uuid") + random.randbytes(missing - 8) + data[at:]


def _wsq(random: Random, size: int) -> bytes:
    comment = b"NIST_COM 4\nPIX_WIDTH 256\nPIX_HEIGHT 300\nPIX_DEPTH 8\n"
    head = (
        _WSQ_START
        + _WSQ_COMMENT
        + struct.pack(">H", len(comment) + 2)
        + comment
        + _WSQ_FRAME
        + struct.pack(">HBBHHBHBHBH", 17, 0, 255, 300, 256, 0, 0, 0, 0, 0, 0)
        + _WSQ_BLOCK
        + struct.pack(">HB", 3, 0)
    )
    noise = random.randbytes(size - len(head) - len(_WSQ_END)).replace(b"\xff", b"\xfe")
    return head + noise + _WSQ_END


def _pdf(random: Random, size: int) -> bytes:
    """A page without anything on it, after a comment up to the size (ISO 32000-1)."""
    head = b"%PDF-1.4\n%"
    objects = (
        b"1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n",
        b"2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj\n",
        b"3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 595 842]>> endobj\n",
    )
    trailer = b"trailer <</Size 4 /Root 1 0 R>>\nstartxref\n%010d\n%%%%EOF\n"
    fixed = len(head) + 1 + sum(map(len, objects)) + len(b"xref\n0 4\n") + 4 * 20 + len(trailer % 0)
    body = head + random.randbytes((size - fixed) // 2).hex().encode() + b"0" * ((size - fixed) % 2) + b"\n"
    offsets = []
    for one in objects:
        offsets.append(len(body))
        body += one
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets)
    return body + table + trailer % len(body)


def _finger_record(random: Random, size: int, code: int, quality: int) -> bytes:
    """ISO/IEC 19794-4:2011 with one finger of 8 bits at 500 dpi, as PNG."""
    head = _MADE_AT + _DEVICE + struct.pack(">BBHH", 1, quality, 0, 0)
    head += struct.pack(">BBBHHHH", code, 1, 1, 500, 500, 500, 500)
    picture = _png(random, size - 16 - 4 - len(head) - 7 - 4)
    width, height = struct.unpack_from(">II", picture, 16)
    body = head + struct.pack(">BBBHH", 8, 6, 29, width, height) + struct.pack(">I", len(picture)) + picture
    return (
        struct.pack(">4s4sIHBB", b"FIR\0", b"020\0", size, 1, 0, 1) + struct.pack(">I", len(body) + 4) + body
    )


def _iris_record(random: Random, size: int, label: int, quality: int) -> bytes:
    """ISO/IEC 19794-6:2011 with one eye of 8 bits, as PNG."""
    head = _MADE_AT + _DEVICE + struct.pack(">BBHH", 1, quality, 0, 0)
    picture = _png(random, size - 16 - 4 - len(head) - 29 - 4)
    width, height = struct.unpack_from(">II", picture, 16)
    image = struct.pack(">HBBBBHHB", 1, label, 1, 14, 0, width, height, 8) + bytes(18)
    body = head + image + struct.pack(">I", len(picture)) + picture
    return (
        struct.pack(">4s4sIHBB", b"IIR\0", b"020\0", size, 1, 0, 1) + struct.pack(">I", len(body) + 4) + body
    )


def _face_record(random: Random, size: int) -> bytes:
    """ISO/IEC 19794-5:2011 with one face, as PNG."""
    head = _MADE_AT + _DEVICE + struct.pack(">BBHH", 1, 80, 0, 0) + bytes(17)
    picture = _png(random, size - 17 - 4 - len(head) - 11 - 4)
    width, height = struct.unpack_from(">II", picture, 16)
    image = struct.pack(">BBHHBHBB", 1, 3, width, height, 0, 0, 0, 0)
    body = head + image + struct.pack(">I", len(picture)) + picture
    return (
        struct.pack(">4s4sIHBH", b"FAC\0", b"030\0", size, 1, 0, 0) + struct.pack(">I", len(body) + 4) + body
    )


_MAKERS: Final[Mapping[Format, Callable[[Random, int], bytes]]] = {
    Format.PNG: _png,
    Format.JPEG: _jpeg,
    Format.JPEG_2000: _jpeg_2000,
    Format.WSQ: _wsq,
    Format.PDF: _pdf,
    Format.FACE_IMAGE: _face_record,
}


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
