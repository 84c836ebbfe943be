"""Biometrics: ten fingers, two irises, face and signature, each a sample or the reason why there is none."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from attrs import field, frozen

from ktpsync.records._formats import Format
from ktpsync.records._moment import aware


class Finger(Enum):
    """The ten fingers."""

    RIGHT_THUMB = "right-thumb"
    RIGHT_INDEX = "right-index"
    RIGHT_MIDDLE = "right-middle"
    RIGHT_RING = "right-ring"
    RIGHT_LITTLE = "right-little"
    LEFT_THUMB = "left-thumb"
    LEFT_INDEX = "left-index"
    LEFT_MIDDLE = "left-middle"
    LEFT_RING = "left-ring"
    LEFT_LITTLE = "left-little"


class Eye(Enum):
    """The two eyes."""

    RIGHT = "right"
    LEFT = "left"


class MissingReason(Enum):
    """Why there is no sample."""

    AMPUTATED = "amputated"
    INJURED = "injured"
    BANDAGED = "bandaged"
    WORN = "worn"
    BLIND = "blind"
    OTHER = "other"


@frozen(kw_only=True)
class Sample:
    """A captured image or record, kept to the byte: never re-encoded. Its ``repr`` shows none of it.

    Args:
        data: The bytes as the device gave them.
        quality: 0 to 100, for fingers on the scale of NFIQ 2 (ISO/IEC 29794-4).
        device: The capture device, such as maker and model.
        captured_at: When (aware); default: the enrollment's time.
    """

    data: bytes = field(repr=False)
    quality: int | None = None
    device: str | None = None
    captured_at: datetime | None = field(default=None, validator=aware)

    @property
    def format(self) -> Format | None:
        """The format that the bytes announce, or ``None``."""
        return Format.of(self.data)

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

    reason: MissingReason
    permanent: bool = False
    note: str = field(default="", repr=False)


@frozen(kw_only=True)
class Biometrics:
    """All biometrics of one person.

    Args:
        fingers: One entry for each of the ten.
        irises: One entry for each of the two.
        face: The face photograph.
        signature: The signature.
    """

    fingers: Mapping[Finger, Sample | Missing]
    irises: Mapping[Eye, Sample | Missing]
    face: Sample | Missing
    signature: Sample | Missing
