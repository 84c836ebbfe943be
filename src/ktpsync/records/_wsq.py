"""WSQ fingerprint images (FBI IAFIS-IC-0110): size in pixels, and whether the file goes on to its end.

Libraries that read WSQ decode it; the size stands in one header.
"""

from __future__ import annotations

import struct
from typing import Final

from ktpsync.records._fault import FaultError

_FRAME: Final = 0xFFA2
_BLOCK: Final = 0xFFA3
_END: Final = b"\xff\xa1"
_FRAME_SIZE: Final = struct.Struct(">HBBHH")
"""Length, black, white, height, width."""


def wsq_size(data: bytes) -> tuple[int, int, bool]:
    """Return width, height, and whether the image goes on to its end.

    Raises:
        FaultError: It ends before its frame header, or is damaged before it.
    """
    at = 2
    size = None
    try:
        while True:
            marker, length = struct.unpack_from(">HH", data, at)
            if marker == _BLOCK:
                break
            if marker >> 8 != 0xFF or length < 2:  # noqa: PLR2004 - each segment starts with a marker and its length
                raise FaultError("sample.damaged")
            if marker == _FRAME:
                _, _, _, height, width = _FRAME_SIZE.unpack_from(data, at + 2)
                size = width, height
            at += 2 + length
    except struct.error:
        if size is None:
            raise FaultError("sample.truncated") from None
        return *size, False
    if size is None or 0 in size:
        raise FaultError("sample.damaged")
    return *size, data[-64:].rstrip(b"\0").endswith(_END)
