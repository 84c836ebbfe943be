"""Biometrics: ten fingers, two irises, face and signature, each a sample or the reason why there is none."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar, cast

from attrs import field, frozen

from ktpsync.records._choice import Choice
from ktpsync.records._content import Content, inspect
from ktpsync.records._entry import entry
from ktpsync.records._formats import Format
from ktpsync.records._places import Eye, Finger

Place = TypeVar("Place", Finger, Eye)


class MissingReason(Choice):
    """Why there is no sample."""

    AMPUTATED = "amputated"
    INJURED = "injured"
    BANDAGED = "bandaged"
    WORN = "worn"
    BLIND = "blind"
    OTHER = "other"


def _as_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """Return a copy, as devices' libraries hand out buffers that they use again. What is no bytes is kept, to be told."""
    return bytes(data) if isinstance(data, bytearray | memoryview) else data


@frozen(kw_only=True)
class Sample:
    """A captured image or record, kept to the byte: never re-encoded. Its ``repr`` shows none of it.

    Args:
        data: The bytes as the device gave them.
        quality: 0 to 100, for fingers on the scale of NFIQ 2 (ISO/IEC 29794-4).
        device: The capture device, such as maker and model.
        captured_at: When (aware); default: the enrollment's time.
    """

    data: bytes = field(repr=False, converter=_as_bytes)
    quality: int | None = field(
        default=None,
        metadata=entry(
            "Mutu", "78", "For fingers on the scale of NFIQ 2.", bounds=(0, 100, "sample.quality-range")
        ),
    )
    device: str | None = field(default=None, metadata=entry("Alat Perekam", "ACME F-10"))
    captured_at: datetime | None = field(
        default=None,
        metadata=entry(
            "Waktu Perekaman", "2017-03-17T09:31:20+07:00", "Default: the enrollment's captured_at."
        ),
    )

    @functools.cached_property
    def format(self) -> Format | None:
        """The format that the bytes announce, or ``None``."""
        return Format.of(self.data)

    @functools.cached_property
    def content(self) -> Content | None:
        """What the bytes say of themselves, or ``None`` where they are in no known format."""
        return inspect(self.data)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@frozen(kw_only=True)
class Missing:
    """Why a finger, an eye, a face or a signature has no sample.

    Args:
        reason: The reason.
        permanent: Whether it will never be there.
        note: In words; needed where the reason is ``other``.
    """

    reason: MissingReason = field(metadata=entry("Alasan", "amputated"))
    permanent: bool = field(default=False, metadata=entry("Permanen", "true", "Default: false."))
    note: str = field(
        default="",
        repr=False,
        metadata=entry("Catatan", "lahir tanpa jari", "Needed where the reason is other.", may_be_empty=True),
    )


_Entries = Mapping[Place, Sample | Missing] | Mapping[str, Sample | Missing]
"""By the places, or by their names as in the JSON."""


def _fingers(entries: _Entries[Finger]) -> Mapping[Finger, Sample | Missing]:
    return _in_order(Finger, entries)


def _irises(entries: _Entries[Eye]) -> Mapping[Eye, Sample | Missing]:
    return _in_order(Eye, entries)


def _in_order(places: type[Place], entries: _Entries[Place]) -> Mapping[Place, Sample | Missing]:
    """Return the entries in the order of the places. What is no place is kept, to be told as a problem."""
    if not isinstance(entries, Mapping):
        return entries
    named: dict[object, Place] = {place.value: place for place in places}
    # The names as they stand in the JSON are taken, too.
    placed = {named.get(place, place): entry for place, entry in entries.items()}
    known = {place: placed[place] for place in places if place in placed}
    return cast("Mapping[Place, Sample | Missing]", known | placed)


@frozen(kw_only=True)
class Biometrics:
    """All biometrics of one person.

    Args:
        fingers: One entry for each of the ten, by :class:`Finger`; names as in the JSON (``"left-thumb"``) are taken too.
        irises: One entry for each of the two, by :class:`Eye`, or its names.
        face: The face photograph.
        signature: The signature.
    """

    fingers: Mapping[Finger, Sample | Missing] = field(
        converter=_fingers,
        hash=False,  # a mapping has none
        metadata=entry("Sidik Jari", rule="Each of the ten: a sample or the reason why there is none."),
    )
    irises: Mapping[Eye, Sample | Missing] = field(
        converter=_irises,
        hash=False,  # see above
        metadata=entry("Iris Mata", rule="Each of the two: a sample or the reason why there is none."),
    )
    face: Sample | Missing = field(metadata=entry("Foto Wajah"))
    signature: Sample | Missing = field(metadata=entry("Tanda Tangan"))
