"""Headers of ISO/IEC 19794-4, -5 and -6, edition 2011: size in pixels, finger or eye, and where the picture is.

No kept library reads them. The layouts were compared with the decoders of mosip/bio-utils (``FingerBDIR``,
``FaceBDIR``, ``IrisBDIR``) and with records that its mock devices give.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from ktpsync.records._fault import FaultError
from ktpsync.records._formats import Format
from ktpsync.records._places import Eye, Finger

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSIONS: Final = {
    Format.FINGER_IMAGE: b"020\0",
    Format.FACE_IMAGE: b"030\0",
    Format.IRIS_IMAGE: b"020\0",
}
_FINGERS: Final = tuple(Finger)
_EYES: Final = tuple(Eye)

_JPEG_2000: Final = frozenset({Format.JPEG_2000})
_FINGER_PICTURES: Final[Mapping[int, frozenset[Format] | None]] = {
    0: None,
    1: None,
    2: frozenset({Format.WSQ}),
    3: frozenset({Format.JPEG}),
    4: _JPEG_2000,
    5: _JPEG_2000,
    6: frozenset({Format.PNG}),
}
"""Table 9 of ISO/IEC 19794-4:2011; ``None`` for uncompressed pixels."""

_FACE_PICTURES: Final = {
    0: frozenset({Format.JPEG}),
    1: _JPEG_2000,
    2: _JPEG_2000,
    3: frozenset({Format.PNG}),
}
"""Table 17 of ISO/IEC 19794-5:2011."""

_IRIS_PICTURES: Final[Mapping[int, frozenset[Format] | None]] = {
    2: None,
    4: None,
    6: frozenset({Format.JPEG}),
    8: frozenset({Format.JPEG}),
    10: _JPEG_2000,
    12: _JPEG_2000,
    14: frozenset({Format.PNG}),
    16: frozenset({Format.PNG}),
}
"""Table 4 of ISO/IEC 19794-6:2011."""

_RGB_IRIS: Final = 4
_QUALITY_BYTES: Final = 5
_CERTIFICATE_BYTES: Final = 3
_LANDMARK_BYTES: Final = 8


@frozen(kw_only=True)
class Record:
    """One representation of a record.

    Args:
        width: Pixels, as the header says.
        height: Pixels, as the header says.
        position: The finger or eye, where it is declared.
        several_fingers: Whether it is declared to show more than one finger.
        picture: The bytes of the picture.
        picture_formats: The formats that the header allows it; ``None`` for uncompressed pixels.
        raw_bytes: How many bytes uncompressed pixels have.
    """

    width: int
    height: int
    position: Finger | Eye | None = None
    several_fingers: bool = False
    picture: bytes = field(repr=False)
    picture_formats: frozenset[Format] | None
    raw_bytes: int | None = None


class _Reader:
    """Takes fields one after the other."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self.end = end

    def take(self, layout: str) -> tuple[int, ...]:
        """Return big-endian integers."""
        layout = f">{layout}"
        start = self.at
        self.at += struct.calcsize(layout)
        if self.at > self.end:
            raise FaultError("sample.truncated")
        return struct.unpack_from(layout, self._data, start)

    def skip(self, count: int) -> None:
        """Leave bytes out."""
        self.at += count

    def picture(self) -> bytes:
        """Return the bytes whose length comes first."""
        (length,) = self.take("I")
        start = self.at
        self.at += length
        if self.at > self.end:
            raise FaultError("sample.truncated")
        return self._data[start : self.at]


def read_record(found: Format, data: bytes) -> list[Record]:
    """Return the representations of a record; none where it holds no pictures, as minutiae do.

    Raises:
        FaultError: It is cut short or damaged, or of an edition that is not read here.
    """
    head = _Reader(data, 4, len(data))
    version = data[4:8]
    head.skip(4)
    (length,) = head.take("I")
    if found is Format.FINGER_MINUTIAE:
        _check_length(length, data)
        return []
    if version != _VERSIONS[found]:
        text = version.rstrip(b"\0").decode("ascii", "replace").strip()
        raise FaultError("sample.edition-unread", edition=text if text.isalnum() else "?")
    _check_length(length, data)
    count, certified = head.take("HB")
    head.skip(2 if found is Format.FACE_IMAGE else 1)
    if not count:
        raise FaultError("sample.damaged")
    records = []
    start = head.at
    for _ in range(count):
        reader = _Reader(data, start, len(data))
        (size,) = reader.take("I")
        if size <= 4 or start + size > len(data):  # noqa: PLR2004 - the length itself
            raise FaultError("sample.truncated" if size > 4 else "sample.damaged")  # noqa: PLR2004
        reader.end = start + size
        records.append(_representation(found, reader, certified=bool(certified)))
        start += size
    return records


def _check_length(length: int, data: bytes) -> None:
    if len(data) < length:
        raise FaultError("sample.truncated")
    if len(data) > length:
        raise FaultError("sample.longer", count=len(data) - length)


def _representation(found: Format, reader: _Reader, *, certified: bool) -> Record:
    reader.skip(14)  # time of capture, technology, maker and type of the device
    (qualities,) = reader.take("B")
    reader.skip(qualities * _QUALITY_BYTES)
    if found is Format.FINGER_IMAGE:
        return _finger(reader, certified=certified)
    return _face(reader) if found is Format.FACE_IMAGE else _iris(reader)


def _finger(reader: _Reader, *, certified: bool) -> Record:
    if certified:
        (certificates,) = reader.take("B")
        reader.skip(certificates * _CERTIFICATE_BYTES)
    (code,) = reader.take("B")
    reader.skip(10)  # number of the representation, scale and sampling rates
    depth, compression, _, width, height = reader.take("BBBHH")
    if compression not in _FINGER_PICTURES:
        raise FaultError("sample.damaged")
    return Record(
        width=width,
        height=height,
        position=_FINGERS[code - 1] if 1 <= code <= len(_FINGERS) else None,
        several_fingers=code > len(_FINGERS),
        picture=reader.picture(),
        picture_formats=_FINGER_PICTURES[compression],
        raw_bytes=(width * height * depth + 7) // 8,
    )


def _face(reader: _Reader) -> Record:
    (landmarks,) = reader.take("H")
    reader.skip(15 + landmarks * _LANDMARK_BYTES)  # sex, colours, height, features, expression and pose
    _, kind, width, height = reader.take("BBHH")
    reader.skip(5)  # sampling rate, processing, cross reference and colour space
    if kind not in _FACE_PICTURES:
        raise FaultError("sample.damaged")
    return Record(width=width, height=height, picture=reader.picture(), picture_formats=_FACE_PICTURES[kind])


def _iris(reader: _Reader) -> Record:
    _, label, _, kind, _, width, height, depth = reader.take("HBBBBHHB")
    reader.skip(18)  # range, roll, centre and diameter
    if kind not in _IRIS_PICTURES:
        raise FaultError("sample.damaged")
    return Record(
        width=width,
        height=height,
        position=_EYES[label - 1] if 1 <= label <= len(_EYES) else None,
        picture=reader.picture(),
        picture_formats=_IRIS_PICTURES[kind],
        raw_bytes=(width * height * depth * (3 if kind == _RGB_IRIS else 1) + 7) // 8,
    )
