"""The format of a sample, read from its bytes, never from a file name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.records._choice import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping


class Format(Choice):
    """A format of samples and documents; the value is the usual file name ending."""

    WSQ = "wsq"
    """Fingerprint image, FBI IAFIS-IC-0110."""

    FINGER_IMAGE = "fir"
    """ISO/IEC 19794-4."""

    FINGER_MINUTIAE = "fmr"
    """ISO/IEC 19794-2."""

    FACE_IMAGE = "fac"
    """ISO/IEC 19794-5."""

    IRIS_IMAGE = "iir"
    """ISO/IEC 19794-6."""

    JPEG = "jpg"
    JPEG_2000 = "jp2"
    PNG = "png"
    PDF = "pdf"

    @classmethod
    def of(cls, data: bytes) -> Format | None:
        """Return the format that the first bytes announce, or ``None``."""
        magic, found = _MAGIC.get(data[:2], (b"", None))
        return found if data.startswith(magic) else None


_MAGIC: Final[Mapping[bytes, tuple[bytes, Format]]] = {
    magic[:2]: (magic, found)
    for magic, found in (
        (b"\xff\xa0", Format.WSQ),
        (b"FIR\0", Format.FINGER_IMAGE),
        (b"FMR\0", Format.FINGER_MINUTIAE),
        (b"FAC\0", Format.FACE_IMAGE),
        (b"IIR\0", Format.IRIS_IMAGE),
        (b"\xff\xd8\xff", Format.JPEG),
        (b"\x00\x00\x00\x0cjP  ", Format.JPEG_2000),
        (b"\xff\x4f\xff\x51", Format.JPEG_2000),
        (b"\x89PNG\r\n\x1a\n", Format.PNG),
        (b"%PDF-", Format.PDF),
    )
}
"""By the first two bytes, which are enough to choose; all of them must be there."""

PICTURES: Final = frozenset({Format.JPEG, Format.JPEG_2000, Format.PNG})
FINGER_FORMATS: Final = PICTURES | {Format.WSQ, Format.FINGER_IMAGE, Format.FINGER_MINUTIAE}
IRIS_FORMATS: Final = PICTURES | {Format.IRIS_IMAGE}
FACE_FORMATS: Final = PICTURES | {Format.FACE_IMAGE}
DOCUMENT_FORMATS: Final = frozenset({Format.PDF, Format.JPEG, Format.PNG})
