"""Coverage-guided fuzzing of everything that reads records: JSON, tables, samples, packets' contents, NIKs.

It runs for ever, or as libFuzzer's options say::

    python tests/fuzz/fuzz_records.py -max_total_time=600 corpus/

``test_fuzz_records.py`` runs it for a bounded number of inputs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

import atheris
from fuzz_memory import bound_memory
from fuzz_run import main

with atheris.instrument_imports(include=["ktpsync.records", "ktpsync.packet", "ktpsync.structure"]):
    from ktpsync import packet, records
    from ktpsync.packet import _container, _manifest
from ktpsync import age
from ktpsync.clock import SystemClock
from ktpsync.errors import KtpsyncError
from ktpsync.keys import StationKey
from ktpsync.records import Enrollment, Eye, Finger, Format
from ktpsync.testing import make_enrollment, make_sample

MAX_GROWTH = 256 << 20
"""Bytes that all inputs together may take: a packet's limit is half of it."""

IDENTITY = age.generate_identity("x25519")
STATION = StationKey.generate()
DOCUMENT, FILES = records.to_json(make_enrollment(1, size=4000))
TABLE = Path(tempfile.mkdtemp(prefix="ktpsync-fuzz-"), "people.csv")


def use(enrollment: Enrollment) -> None:
    """Do with an enrollment what every program does with it; a valid one is written and read unchanged."""
    found = records.problems(enrollment)
    for problem in found:
        str(problem.translated("id"))
    if any(problem.severity is records.Severity.ERROR for problem in found):
        return
    document, files = records.to_json(enrollment)
    assert enrollment == records.from_json(document, files.__getitem__)


def fuzz_json(data: bytes) -> None:
    """Read any bytes as a document."""
    use(records.from_json(data, FILES.__getitem__))


def fuzz_field(data: bytes) -> None:
    """Read the document with any JSON in one of its fields."""
    body = json.loads(DOCUMENT)
    place = body
    for choice in data[:4]:
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        if not inner or choice % 3 == 0:
            break
        place = inner[choice % len(inner)]
    text = data[5:].decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    place[list(place)[data[4] % len(place)] if len(data) > 4 else "x"] = value
    use(records.from_json(json.dumps(body).encode("utf-8", "surrogatepass"), FILES.__getitem__))


def fuzz_sample(data: bytes) -> None:
    """Look into any bytes as a sample."""
    content = records.inspect(data)
    if content is not None and not content.faults and content.format is not Format.PDF:
        assert content.format is Format.FINGER_MINUTIAE or (content.width and content.height)


def fuzz_table(data: bytes) -> None:
    """Read any bytes as a CSV file."""
    TABLE.write_bytes(data)
    for one in records.check_sources(records.find_sources(TABLE)):
        str(one.error)


def fuzz_container(data: bytes) -> None:
    """Open any bytes as the inside of a packet that somebody else sealed."""
    sealed = age.encrypt(data, [IDENTITY.recipient])
    packet.open(sealed, [IDENTITY], stations=[STATION.public])


def fuzz_manifest(data: bytes) -> None:
    """Read any bytes as a manifest."""
    _manifest.read(data)


def fuzz_nik(data: bytes) -> None:
    """Read any text as a NIK."""
    nik = records.Nik(data.decode("utf-8", "surrogateescape"))
    assert nik.possible_birth_dates()
    assert nik == records.Nik(nik.digits)


TARGETS = (fuzz_json, fuzz_field, fuzz_sample, fuzz_table, fuzz_container, fuzz_manifest, fuzz_nik)


def fuzz_one(data: bytes) -> None:
    """Let the first byte choose what reads the others; nothing but errors of ktpsync may come of it."""
    bound_memory(MAX_GROWTH)
    if data:
        try:
            TARGETS[data[0] % len(TARGETS)](data[1:])
        except KtpsyncError:
            return


def seeds() -> list[bytes]:
    """Return inputs that reach far: the fuzzer changes them."""
    sealing = packet.seal(
        make_enrollment(1, size=4000),
        recipients=[IDENTITY.recipient],
        station_key=STATION,
        clock=SystemClock(),
    )
    container = age.decrypt(sealing.sealed, IDENTITY)
    samples = [
        make_sample(kind, size=1300, random=Random(1), place=place)
        for kind, place in (
            (Format.PNG, None),
            (Format.JPEG, None),
            (Format.JPEG_2000, None),
            (Format.WSQ, None),
            (Format.PDF, None),
            (Format.FACE_IMAGE, None),
            (Format.FINGER_IMAGE, Finger.LEFT_THUMB),
            (Format.IRIS_IMAGE, Eye.LEFT),
        )
    ]
    fields = [b"\1\1\0\0\0" + str(number).encode() for number in range(8)]
    return [
        b"\0" + DOCUMENT,
        *(b"\1" + bytes([1, choice, 0, 0, number]) + b'"x"' for choice in (1, 2, 4) for number in range(12)),
        *(b"\1" + field for field in fields),
        *(b"\2" + sample for sample in samples),
        b"\3biodata.nik,biodata.full_name,reference\n3578014405920001,DEWI LESTARI,1\n",
        b"\4" + container,
        b"\5" + _container.read(container)["manifest.json"],
        b"\x063578014405920001",
    ]


if __name__ == "__main__":
    main(fuzz_one, seeds)
