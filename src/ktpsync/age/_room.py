"""Memory for a result of known size."""

from __future__ import annotations

import ctypes
import io
import mmap
from typing import Final

_MADV_HUGEPAGE: Final = getattr(mmap, "MADV_HUGEPAGE", None)

_BIG: Final = 32 << 20
"""Bytes from which the C library takes memory from the system for one object alone and gives it back with it."""


def room(size: int) -> io.BytesIO:
    """Return a file in memory of ``size`` zero bytes, to be filled through ``getbuffer()``.

    BytesIO both takes the zeros and gives out the result without a copy, which would cost as much as the cipher.
    """
    file = io.BytesIO(bytes(size))
    if size >= _BIG and _MADV_HUGEPAGE is not None:
        _ask_for_huge_pages(file)
    return file


def _ask_for_huge_pages(file: io.BytesIO) -> None:
    # Fresh memory comes a page at a time, at a cost per page; in pages of 4 KiB that is more than the cipher's. Linux
    # gives pages of 2 MiB to whoever asks. It is advice: where it is not taken, nothing but time is lost.
    try:
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with file.getbuffer() as view:
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + len(view)) // mmap.PAGESIZE * mmap.PAGESIZE
        madvise(first, end - first, _MADV_HUGEPAGE)
