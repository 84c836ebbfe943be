"""What the bytes of a sample say of themselves: format, size in pixels, finger or eye, and whether all is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from ktpsync.records._fault import Fault, FaultError
from ktpsync.records._formats import Format
from ktpsync.records._iso19794 import Record, read_record
from ktpsync.records._pictures import PictureError, is_complete, size_in_pixels
from ktpsync.records._places import Eye, Finger
from ktpsync.records._wsq import wsq_size

if TYPE_CHECKING:
    from collections.abc import Iterator

_PDF_END: Final = 1024
"""Bytes at the end of a PDF in which readers look for its end mark (ISO 32000-1, annex H.3.18)."""


@frozen(kw_only=True)
class Content:
    """What the bytes of a sample say of themselves.

    Args:
        format: The format that they are in.
        width: Pixels, where the format has them.
        height: Pixels, where the format has them.
        position: The finger or eye that they declare, where the format carries it.
        faults: What is wrong with them.
    """

    format: Format
    width: int | None = None
    height: int | None = None
    position: Finger | Eye | None = None
    faults: tuple[Fault, ...] = ()


def inspect(data: bytes) -> Content | None:
    """Return what the bytes of a sample say of themselves, or ``None`` where they are in no known format.

    Headers are read and the structure is followed to its end; no picture is decoded.
    """
    found = Format.of(data)
    match found:
        case None:
            return None
        case Format.WSQ:
            return _wsq(data)
        case Format.JPEG | Format.JPEG_2000 | Format.PNG:
            return _picture(found, data)
        case Format.PDF:
            faults = () if b"%%EOF" in data[-_PDF_END:] else (Fault("sample.truncated"),)
            return Content(format=found, faults=faults)
        case _:
            return _record(found, data)


def _picture(found: Format, data: bytes) -> Content:
    faults = [] if is_complete(found, data) else [Fault("sample.truncated")]
    try:
        width, height = size_in_pixels(found, data)
    except PictureError:
        faults = faults or [Fault("sample.damaged")]
        return Content(format=found, faults=tuple(faults))
    return Content(format=found, width=width, height=height, faults=tuple(faults))


def _wsq(data: bytes) -> Content:
    try:
        width, height, complete = wsq_size(data)
    except FaultError as error:
        return Content(format=Format.WSQ, faults=(error.fault,))
    faults = () if complete else (Fault("sample.truncated"),)
    return Content(format=Format.WSQ, width=width, height=height, faults=faults)


def _record(found: Format, data: bytes) -> Content:
    try:
        records = read_record(found, data)
    except FaultError as error:
        return Content(format=found, faults=(error.fault,))
    if not records:
        return Content(format=found)
    first = records[0]
    faults = [fault for record in records for fault in _inside(record)]
    if len({record.position for record in records}) > 1:
        faults.append(Fault("sample.positions-many"))
    return Content(
        format=found,
        width=first.width,
        height=first.height,
        position=first.position,
        faults=tuple(fault for number, fault in enumerate(faults) if fault not in faults[:number]),
    )


def _inside(record: Record) -> Iterator[Fault]:
    """Compare the picture in a record with what the record says of it."""
    if record.several_fingers:
        yield Fault("sample.positions-many")
    if not record.width or not record.height:
        yield Fault("sample.damaged")
    if record.picture_formats is None:
        if record.raw_bytes is not None and len(record.picture) < record.raw_bytes:
            yield Fault("sample.truncated")
        return
    if Format.of(record.picture) not in record.picture_formats:
        yield Fault("sample.content-differs")
        return
    content = inspect(record.picture)
    assert content is not None  # its format was just read
    yield from content.faults
    if content.width is not None and (content.width, content.height) != (record.width, record.height):
        yield Fault(
            "sample.size-differs",
            {
                "stated": f"{record.width}x{record.height}",
                "found": f"{content.width}x{content.height}",
            },
        )
