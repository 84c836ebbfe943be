"""Where a biometric belongs: the ten fingers and the two eyes."""

from __future__ import annotations

from typing import Final

from ktpsync.records._choice import Choice


class Finger(Choice):
    """The ten fingers, in the order of their codes in ISO/IEC 19794-4, 1 to 10."""

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


class Eye(Choice):
    """The two eyes, in the order of their codes in ISO/IEC 19794-6, 1 and 2."""

    RIGHT = "right"
    LEFT = "left"


LABELS: Final = {
    Finger.RIGHT_THUMB: "Ibu Jari Kanan",
    Finger.RIGHT_INDEX: "Telunjuk Kanan",
    Finger.RIGHT_MIDDLE: "Jari Tengah Kanan",
    Finger.RIGHT_RING: "Jari Manis Kanan",
    Finger.RIGHT_LITTLE: "Kelingking Kanan",
    Finger.LEFT_THUMB: "Ibu Jari Kiri",
    Finger.LEFT_INDEX: "Telunjuk Kiri",
    Finger.LEFT_MIDDLE: "Jari Tengah Kiri",
    Finger.LEFT_RING: "Jari Manis Kiri",
    Finger.LEFT_LITTLE: "Kelingking Kiri",
    Eye.RIGHT: "Iris Mata Kanan",
    Eye.LEFT: "Iris Mata Kiri",
}
"""The Indonesian terms."""
