"""Made-up people and samples for the tests of apps."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings

import ktpsync.testing
from ktpsync import records
from ktpsync.records import Enrollment, Finger, Format, Sample, Severity
from ktpsync.testing import enrollments, make_enrollment, make_sample


def size_of(enrollment: Enrollment) -> int:
    """Return the bytes of all biometrics together."""
    biometrics = enrollment.biometrics
    entries = [
        *biometrics.fingers.values(),
        *biometrics.irises.values(),
        biometrics.face,
        biometrics.signature,
    ]
    return sum(len(entry.data) for entry in entries if isinstance(entry, Sample))


@pytest.mark.parametrize("size", [4000, 200_000, 1_300_000])
def test_the_biometrics_have_the_chosen_size(size: int) -> None:
    """To the byte, so that a benchmark measures what it says."""
    assert size == size_of(make_enrollment(1, size=size))


def test_the_same_seed_is_the_same_enrollment() -> None:
    """In another process and another hash seed too: bytes and biodata."""
    code = "from ktpsync import records; from ktpsync.testing import make_enrollment; import hashlib;"
    code += "print(hashlib.sha256(records.to_json(make_enrollment(7))[0]).hexdigest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert 1 == len(digests)
    assert make_enrollment(7) == make_enrollment(7)


def test_people_live_all_over_the_country() -> None:
    """Names, regions and occupations vary, and codes and names of regions belong together."""
    people = [make_enrollment(seed, size=4000).biodata for seed in range(200)]

    assert len({person.full_name for person in people}) > 180
    assert len({person.address.province for person in people}) > 25
    assert len({person.occupation.code for person in people}) > 10
    assert all(person.nik.region == person.address.district_code for person in people)
    assert {()} == {records.problems(make_enrollment(seed, size=4000)) for seed in range(200)}


def test_fingers_and_eyes_declare_their_place() -> None:
    """Records with true headers, so that a mixed-up form is noticed in an app's tests."""
    biometrics = make_enrollment(1, size=4000).biometrics

    declared = {
        place: entry.content.position
        for entries in (biometrics.fingers, biometrics.irises)
        for place, entry in entries.items()  # type: ignore[attr-defined]
        if isinstance(entry, Sample) and entry.content is not None
    }
    assert 12 == len(declared)
    assert all(place is position for place, position in declared.items())


@pytest.mark.parametrize("kind", [Format.FINGER_IMAGE, Format.IRIS_IMAGE, Format.FACE_IMAGE])
def test_the_picture_in_a_record_can_be_decoded(kind: Format) -> None:
    """Pillow opens what is inside."""
    import io

    from PIL import Image

    data = make_sample(kind, size=9000, random=Random(1))
    content = records.inspect(data)

    with Image.open(io.BytesIO(data[data.index(b"\x89PNG") :])) as image:
        image.load()
        assert content is not None
        assert (content.width, content.height) == image.size


@pytest.mark.parametrize(
    ("kind", "size"), [(Format.PNG, 100), (Format.JPEG, 800), (Format.FINGER_MINUTIAE, 5000)]
)
def test_what_cannot_be_made_is_refused(kind: Format, size: int) -> None:
    """A sample too small for its headers, and minutiae, which hold no picture."""
    with pytest.raises(ValueError, match="cannot make"):
        make_sample(kind, size=size, random=Random(1), place=Finger.LEFT_RING)


@given(enrollments())
@settings(max_examples=20)
def test_the_strategy_gives_valid_enrollments(enrollment: Enrollment) -> None:
    """They may have warnings; errors never."""
    assert {Severity.WARNING} >= {found.severity for found in records.problems(enrollment)}


@pytest.mark.parametrize(("name", "package"), [("enrollments", "hypothesis"), ("BackendContract", "pytest")])
def test_what_is_not_installed_is_named(name: str, package: str) -> None:
    """The message says what to install; everything else works without it."""
    code = f"import sys; sys.modules[{package!r}] = None; import ktpsync.testing as t; t.make_enrollment(1); t.{name}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert f'ktpsync.testing.{name} needs {package}: pip install "ktpsync[testing]"' in done.stderr


def test_every_public_name_is_there() -> None:
    """What ``__all__`` promises can be imported."""
    assert [] == [name for name in ktpsync.testing.__all__ if getattr(ktpsync.testing, name, None) is None]
