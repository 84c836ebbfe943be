"""JPEG, JPEG 2000 and PNG: size in pixels, and whether the file goes on to its end.

Pillow reads the headers. It can tell a file that was cut short only by decoding all of it, which takes longer
than everything else that is done with a sample; so the end is looked for along the lengths that each format states.
"""

from __future__ import annotations

import io
import re
import struct
from typing import TYPE_CHECKING, Final

from ktpsync.records._formats import Format

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_PILLOW_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
)
"""What Pillow's plugins raise on damaged headers."""

_PNG_SIGNATURE_BYTES: Final = 8
_PNG_FRAME_BYTES: Final = 12
_JPEG_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_FILL: Final = re.compile(rb"\xff*")
_JPEG_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
_CODESTREAM_START: Final = b"\xff\x4f"
_CODESTREAM_END: Final = b"\xff\xd9"


class PictureError(Exception):
    """The headers cannot be read."""


def size_in_pixels(found: Format, data: bytes) -> tuple[int, int]:
    """Return width and height of a picture in the given format.

    Raises:
        PictureError: Its headers cannot be read.
    """
    try:
        width, height = _open(found, io.BytesIO(data)).size
    except _PILLOW_ERRORS:
        raise PictureError from None
    if width <= 0 or height <= 0:
        raise PictureError
    return width, height


def _open(found: Format, file: io.BytesIO) -> ImageFile:
    # The plugins themselves: Image.open would warn of large pictures and try formats that nobody asked for.
    if found is Format.PNG:
        from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 - Pillow is loaded when there is a picture

        return PngImageFile(file)
    if found is Format.JPEG:
        from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - the same

        return JpegImageFile(file)
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile  # noqa: PLC0415 - the same

    return Jpeg2KImageFile(file)


def is_complete(found: Format, data: bytes) -> bool:
    """Return whether the picture goes on to the end that its format has."""
    try:
        match found:
            case Format.PNG:
                return _png_is_complete(data)
            case Format.JPEG:
                return _jpeg_is_complete(data)
            case _:
                return _jpeg_2000_is_complete(data)
    except (IndexError, struct.error):
        return False


def _png_is_complete(data: bytes) -> bool:
    """Follow the chunks to IEND (PNG specification, section 5.3)."""
    at = _PNG_SIGNATURE_BYTES
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        at += _PNG_FRAME_BYTES + length
        if at > len(data):
            return False
        if kind == b"IEND":
            return True


def _jpeg_is_complete(data: bytes) -> bool:
    """Follow the segments and scans to EOI (ITU-T T.81, annex B). What follows it is no business of ours."""
    at = 2
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004 - starts a marker
            return False
        marker = data[at + 1]
        if marker == _JPEG_END:
            return True
        if marker == 0xFF:  # noqa: PLR2004 - fill bytes
            at = _JPEG_FILL.match(data, at).end() - 1  # type: ignore[union-attr]  # it matches at least nothing
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + max(length, 2)
            if marker == _JPEG_SCAN:
                found = _JPEG_NEXT_MARKER.search(data, at)
                if found is None:
                    return False
                at = found.start()


def _jpeg_2000_is_complete(data: bytes) -> bool:
    """Follow the boxes to the last, and look at the codestream's end (ITU-T T.800, annexes A and I)."""
    if data.startswith(_CODESTREAM_START):
        return _codestream_is_complete(data, 0, len(data))
    at, complete = 0, False
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + head)
            head = 16
        end = at + length if length else len(data)
        if end > len(data) or end < at + head:
            return False
        if kind == b"jp2c":
            complete = _codestream_is_complete(data, at + head, end)
        at = end
    return complete


def _codestream_is_complete(data: bytes, start: int, end: int) -> bool:
    ending = data[max(start, end - 64) : end].rstrip(b"\0")
    return data.startswith(_CODESTREAM_START, start) and ending.endswith(_CODESTREAM_END)
