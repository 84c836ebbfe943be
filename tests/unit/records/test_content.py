"""What the bytes of a sample say of themselves, and what is wrong with them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from ktpsync import records
from ktpsync.records import Eye, Finger, Format, Sample, inspect
from ktpsync.records._pictures import is_complete
from ktpsync.testing import make_enrollment, make_sample

REAL = Path(
    os.environ.get("KTPSYNC_TEST_BIOMETRICS") or Path(__file__).parents[4] / "shared" / "data" / "biometrics"
)
"""Where real samples are, if there are any."""

PICTURES = (Format.PNG, Format.JPEG, Format.JPEG_2000)
MADE = (*PICTURES, Format.WSQ, Format.FINGER_IMAGE, Format.IRIS_IMAGE, Format.FACE_IMAGE, Format.PDF)
LEFT_THUMB = make_sample(Format.FINGER_IMAGE, size=1500, random=Random(1), place=Finger.LEFT_THUMB)


def made(kind: Format, size: int = 1500) -> bytes:
    """Return a sample of this format."""
    return make_sample(kind, size=size, random=Random(1))


def faults(data: bytes) -> list[str]:
    """Return the codes of what is wrong with the bytes."""
    content = inspect(data)
    assert content is not None
    return [fault.code for fault in content.faults]


def placed(place: Finger | Eye, data: bytes) -> set[str]:
    """Return the codes of the problems that a sample makes at a finger or an eye."""
    enrollment = make_enrollment(1, size=4000)
    fingers, irises = dict(enrollment.biometrics.fingers), dict(enrollment.biometrics.irises)
    if isinstance(place, Finger):
        fingers[place] = Sample(data=data)
    else:
        irises[place] = Sample(data=data)
    biometrics = evolve(enrollment.biometrics, fingers=fingers, irises=irises)
    return {problem.code for problem in records.problems(evolve(enrollment, biometrics=biometrics))}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("size", [1500, 20_000, 90_000])
def test_each_format_is_told_from_its_bytes(kind: Format, size: int) -> None:
    """Format, size in pixels, nothing wrong; a synthetic sample has the chosen size to the byte."""
    data = made(kind, size)
    content = inspect(data)

    assert size == len(data)
    assert content is not None
    assert (kind, ()) == (content.format, content.faults)
    assert kind is Format.PDF or (content.width or 0) > 0 < (content.height or 0)


@pytest.mark.parametrize("place", [*Finger, *Eye])
def test_a_record_belongs_where_it_says(place: Finger | Eye) -> None:
    """The declared finger or eye is read, fits its own place, and is an error in every other."""
    kind = Format.FINGER_IMAGE if isinstance(place, Finger) else Format.IRIS_IMAGE
    data = make_sample(kind, size=1500, random=Random(1), place=place)
    content = inspect(data)

    assert content is not None
    assert place is content.position
    assert set() == placed(place, data)
    others = [other for other in (Finger if isinstance(place, Finger) else Eye) if other is not place]
    assert [{"sample.position-differs"}] * len(others) == [placed(other, data) for other in others]


def test_a_record_that_declares_no_finger_fits_everywhere() -> None:
    """Code 0 is "unknown"; nothing can be compared."""
    assert set() == placed(Finger.RIGHT_INDEX, made(Format.FINGER_IMAGE))


def test_a_record_of_several_fingers_is_no_sample_of_one() -> None:
    """The four fingers of a hand on one plate, code 13, have to be cut apart first."""
    data = bytearray(LEFT_THUMB)
    data[16 + 4 + 9 + 5 + 6] = 13

    assert {"sample.positions-many"} == placed(Finger.LEFT_THUMB, bytes(data))


@pytest.mark.parametrize("kind", MADE)
def test_a_file_cut_short_anywhere_is_found(kind: Format) -> None:
    """However little is missing, and however little is left after what names the format."""
    data = made(kind)
    cuts = [*range(12, 200), *range(200, len(data) - 1, 37), len(data) - 2, len(data) - 1]

    found = [cut for cut in cuts if not faults(data[:cut])]

    # A PDF's last line feed belongs to its end mark for some programs only.
    assert ([len(data) - 1] if kind is Format.PDF else []) == found


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind is not Format.PDF])
def test_a_file_that_ends_in_zeros_is_found(kind: Format) -> None:
    """After a power cut a file may have its size and none of its last pages."""
    data = made(kind, 20_000)

    assert faults(data[:-4096] + bytes(4096))


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (8, struct.pack(">I", 1400), "sample.longer"),
        (8, struct.pack(">I", 1600), "sample.truncated"),
        (12, struct.pack(">H", 0), "sample.damaged"),
        (12, struct.pack(">H", 2), "sample.truncated"),
        (16, struct.pack(">I", 0), "sample.damaged"),
        (16, struct.pack(">I", 9999), "sample.truncated"),
        (4, b"010\0", "sample.edition-unread"),
        (52, b"\x02", "sample.content-differs"),
        (52, b"\x05", "sample.content-differs"),
        (52, b"\x63", "sample.damaged"),
        (54, struct.pack(">HH", 17, 24), "sample.size-differs"),
        (54, struct.pack(">HH", 0, 0), "sample.damaged"),
        (58, struct.pack(">I", 99_999), "sample.truncated"),
    ],
)
def test_a_header_that_does_not_hold_is_found(offset: int, value: bytes, code: str) -> None:
    """Lengths, counts, compression and size in pixels are compared with what is there."""
    data = LEFT_THUMB[:offset] + value + LEFT_THUMB[offset + len(value) :]

    assert code in faults(data)


def test_uncompressed_pixels_are_counted() -> None:
    """A record of raw pixels has as many bytes as its size in pixels asks for."""
    head = LEFT_THUMB[16 + 4 : 16 + 4 + 31]
    for missing, expected in ((0, []), (1, ["sample.truncated"])):
        pixels = bytes(16 * 10 - missing)
        body = head + struct.pack(">BBBHHI", 8, 0, 29, 16, 10, len(pixels)) + pixels
        general = struct.pack(">4s4sIHBB", b"FIR\0", b"020\0", 20 + len(body), 1, 0, 1)
        assert expected == faults(general + struct.pack(">I", 4 + len(body)) + body)


def test_a_record_may_hold_wsq() -> None:
    """Its size in pixels is compared with the WSQ's own."""
    wsq = made(Format.WSQ)
    found = {}
    for width, height in ((256, 300), (300, 256)):
        body = LEFT_THUMB[20:51] + struct.pack(">BBBHHI", 8, 2, 29, width, height, len(wsq)) + wsq
        general = struct.pack(">4s4sIHBB", b"FIR\0", b"020\0", 20 + len(body), 1, 0, 1)
        found[width, height] = faults(general + struct.pack(">I", 4 + len(body)) + body)

    assert {(256, 300): [], (300, 256): ["sample.size-differs"]} == found


def test_a_record_with_certificates_is_read() -> None:
    """Certification blocks stand before the position (ISO/IEC 19794-4:2011, table 4)."""
    at = 16 + 4 + 9 + 5 + 6
    certificates = b"\x02" + b"\x00\x40\x02" * 2
    body = LEFT_THUMB[20:at] + certificates + LEFT_THUMB[at:]
    data = struct.pack(">4s4sIHBB", b"FIR\0", b"020\0", 20 + len(body), 1, 1, 1)
    data += struct.pack(">I", 4 + len(body)) + body

    content = inspect(data)

    assert content is not None
    assert (Finger.LEFT_THUMB, ()) == (content.position, content.faults)


def test_minutiae_are_kept_with_their_length_checked() -> None:
    """ISO/IEC 19794-2 holds no picture; what it says of its length is compared."""
    record = b"FMR\0 20\0" + struct.pack(">I", 40) + bytes(28)

    assert [[], ["sample.truncated"], ["sample.longer"]] == [
        faults(data) for data in (record, record[:-1], record + b"\0")
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(60), "sample.truncated"),
        (b"\xff\xa0" + bytes(60), "sample.damaged"),
        (b"\xff\xa0\xff\xa8\x00\x02\xff\xa3\x00\x03\x00\xff\xa1", "sample.damaged"),
        (b"%PDF-1.4\n", "sample.truncated"),
        (
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 0, 0, 8, 0, 0, 0, 0)
            + struct.pack(">I", zlib.crc32(b"IHDR" + struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0)))
            + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")),
            "sample.damaged",
        ),
    ],
)
def test_what_only_starts_like_a_picture_is_found(data: bytes, code: str) -> None:
    """The first bytes alone make no sample."""
    assert [code] == faults(data)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_a_picture_wherever_it_is_used(kind: Format) -> None:
    """JPEG, JPEG 2000 and PNG are taken at fingers, eyes, face and signature."""
    assert [set(), set()] == [placed(place, made(kind)) for place in (Finger.LEFT_RING, Eye.LEFT)]


def test_a_progressive_jpeg_is_followed_through_all_its_scans() -> None:
    """It has several, each with markers of its own; a cut between them is found."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (64, 64), Random(1).randbytes(64 * 64)).save(file, "JPEG", progressive=True)
    data = file.getvalue()

    assert [] == faults(data + b"trailing bytes of a camera")
    cuts = range(100, len(data) - 1)
    assert [["sample.truncated"]] * len(cuts) == [faults(data[:cut]) for cut in cuts]


def test_a_record_of_two_pictures_is_of_one_finger() -> None:
    """Several representations of a finger are one sample; of two fingers they are not."""
    other = make_sample(Format.FINGER_IMAGE, size=1500, random=Random(2), place=Finger.LEFT_INDEX)

    def together(*samples: bytes) -> bytes:
        body = b"".join(sample[16:] for sample in samples)
        return struct.pack(">4s4sIHBB", b"FIR\0", b"020\0", 16 + len(body), len(samples), 0, 1) + body

    assert [[], ["sample.positions-many"]] == [
        faults(together(LEFT_THUMB, LEFT_THUMB)),
        faults(together(LEFT_THUMB, other)),
    ]


@pytest.mark.parametrize(("kind", "offset"), [(Format.FACE_IMAGE, 59), (Format.IRIS_IMAGE, 44)])
def test_a_kind_of_picture_that_no_edition_knows_is_damage(kind: Format, offset: int) -> None:
    """The number of the compression is none of the standard's."""
    data = bytearray(made(kind))
    before = faults(bytes(data))
    data[offset] = 99

    assert ([], ["sample.damaged"]) == (before, faults(bytes(data)))


def test_a_jpeg_may_have_fill_bytes_and_markers_without_length() -> None:
    """Both are allowed by ITU-T T.81, annex B.1.1."""
    data = made(Format.JPEG)

    assert is_complete(Format.JPEG, data[:2] + b"\xff\xff\xff" + data[2:])
    assert is_complete(Format.JPEG, data[:2] + b"\xff\x01" + data[2:])
    assert not is_complete(Format.JPEG, data[:2] + b"\x00" + data[2:])


def test_a_bare_jpeg_2000_codestream_is_read() -> None:
    """Without the boxes of a JP2 file, as some devices give it."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (32, 24), Random(1).randbytes(32 * 24)).save(file, "JPEG2000", no_jp2=True)
    data = file.getvalue()
    content = inspect(data)

    assert content is not None
    assert (Format.JPEG_2000, 32, 24, ()) == (content.format, content.width, content.height, content.faults)
    assert [["sample.truncated"]] * 50 == [faults(data[:-cut]) for cut in range(1, 51)]


def test_boxes_of_jpeg_2000_may_be_long_or_open() -> None:
    """A length of eight bytes, and the length 0 that means "to the end" (ITU-T T.800, annex I.4)."""
    data = made(Format.JPEG_2000)
    at = data.index(b"jp2c") - 4
    stream = data[at + 8 :]
    long = data[:at] + struct.pack(">I4sQ", 1, b"jp2c", len(stream) + 16) + stream
    unended = data[:at] + struct.pack(">I4s", 0, b"jp2c") + stream
    senseless = data[:at] + struct.pack(">I4s", 7, b"jp2c") + stream

    assert [[], [], ["sample.truncated"], ["sample.truncated"]] == [
        faults(one) for one in (long, unended, long[:-1], senseless)
    ]


EXPECTED = {
    "exception_photo": (Format.FACE_IMAGE, None, (600, 400)),
    "face": (Format.FACE_IMAGE, None, (240, 320)),
    "left_index": (Format.FINGER_IMAGE, Finger.LEFT_INDEX, (280, 448)),
    "left_iris": (Format.IRIS_IMAGE, Eye.LEFT, (417, 313)),
    "left_little": (Format.FINGER_IMAGE, Finger.LEFT_LITTLE, (259, 441)),
    "left_middle": (Format.FINGER_IMAGE, Finger.LEFT_MIDDLE, (287, 434)),
    "left_ring": (Format.FINGER_IMAGE, Finger.LEFT_RING, (252, 462)),
    "left_thumb": (Format.FINGER_IMAGE, Finger.LEFT_THUMB, (350, 427)),
    "right_index": (Format.FINGER_IMAGE, Finger.RIGHT_INDEX, (308, 413)),
    "right_iris": (Format.IRIS_IMAGE, Eye.RIGHT, (423, 317)),
    "right_little": (Format.FINGER_IMAGE, Finger.RIGHT_LITTLE, (273, 399)),
    "right_middle": (Format.FINGER_IMAGE, Finger.RIGHT_MIDDLE, (238, 357)),
    "right_ring": (Format.FINGER_IMAGE, Finger.RIGHT_RING, (273, 504)),
    "right_thumb": (Format.FINGER_IMAGE, Finger.RIGHT_THUMB, (357, 504)),
}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs real samples, which are not part of the project")
def test_real_samples_are_read_right() -> None:
    """Records of mock devices at registration quality, and WSQ files: format, position, pixels; cut, they are found."""
    found = {}
    for path in sorted((REAL / "iso19794").iterdir()):
        data = path.read_bytes()
        content = inspect(data)
        assert content is not None
        assert () == content.faults, path
        assert faults(data[: len(data) // 2]), path
        assert faults(data[:-1]), path
        found[path.stem] = (content.format, content.position, (content.width, content.height))

    assert EXPECTED == found
    wsq = [inspect(path.read_bytes()) for path in sorted((REAL / "wsq").iterdir())]
    assert 10 == len(wsq)
    assert {(Format.WSQ, 316, 354, ())} == {
        (one.format, one.width, one.height, one.faults) for one in wsq if one is not None
    }


@pytest.mark.skipif(not REAL.is_dir(), reason="needs real samples, which are not part of the project")
@pytest.mark.parametrize("folder", ["iso19794", "wsq"])
def test_an_enrollment_of_real_samples_has_no_problems(folder: str) -> None:
    """Each file in its own place, stamped with its made-up person."""
    assert () == records.problems(make_enrollment(1, sample_dir=REAL / folder))
