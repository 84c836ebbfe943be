"""The rules, and what shows of a person."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from attrs import evolve

from ktpsync import records
from ktpsync.errors import ValidationError
from ktpsync.records import (
    Citizenship,
    Enrollment,
    Eye,
    Finger,
    Kind,
    Missing,
    MissingReason,
    Sample,
    Severity,
)
from ktpsync.records._problems import CATALOGUE
from ktpsync.testing import make_enrollment

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)


def changed(**biodata: object) -> Enrollment:
    """Return a valid enrollment with other biodata."""
    enrollment = make_enrollment(1)
    return evolve(enrollment, biodata=evolve(enrollment.biodata, **biodata))


def with_fingers(entry: Sample | Missing) -> Enrollment:
    """Return a valid enrollment with another left thumb."""
    enrollment = make_enrollment(1)
    fingers = {**enrollment.biometrics.fingers, Finger.LEFT_THUMB: entry}
    return evolve(enrollment, biometrics=evolve(enrollment.biometrics, fingers=fingers))


def codes(enrollment: Enrollment) -> set[tuple[str, str]]:
    """Return paths and codes of all problems."""
    return {(problem.path, problem.code) for problem in records.problems(enrollment)}


def test_made_up_enrollments_have_no_problems() -> None:
    """The factory's people are valid to the last warning."""
    assert [()] * 30 == [records.problems(make_enrollment(seed)) for seed in range(30)]


@pytest.mark.parametrize(
    ("enrollment", "path", "code"),
    [
        (changed(full_name=" "), "biodata.full_name", "name.empty"),
        (changed(full_name="A" * 61), "biodata.full_name", "name.too-long"),
        (changed(family_card_number="123"), "biodata.family_card_number", "text.digits"),
        (changed(date_of_birth=date(2030, 1, 1)), "biodata.date_of_birth", "birth-date.future"),
        (changed(citizenship=Citizenship.FOREIGN), "biodata.valid_until", "foreigner.expiry-missing"),
        (changed(place_of_birth=""), "biodata.place_of_birth", "text.empty"),
        (with_fingers(Sample(data=b"")), "biometrics.fingers.left-thumb", "sample.empty"),
        (with_fingers(Sample(data=b"???")), "biometrics.fingers.left-thumb", "sample.format-unknown"),
        (
            with_fingers(Sample(data=b"FAC\0" + bytes(40))),
            "biometrics.fingers.left-thumb",
            "sample.format-unsuited",
        ),
        (
            with_fingers(Sample(data=JPEG, quality=101)),
            "biometrics.fingers.left-thumb",
            "sample.quality-range",
        ),
        (
            with_fingers(Missing(reason=MissingReason.OTHER)),
            "biometrics.fingers.left-thumb",
            "missing.note-needed",
        ),
        (evolve(make_enrollment(1), kind=Kind.CORRECTION), "replaces", "replaces.needed"),
        (evolve(make_enrollment(1), replaces="x"), "replaces", "replaces.not-a-packet-id"),
        (evolve(make_enrollment(1), reference="x" * 201), "reference", "reference.too-long"),
        (
            evolve(make_enrollment(1), reference=f"no {make_enrollment(1).nik}"),
            "reference",
            "reference.personal",
        ),
    ],
)
def test_errors_block(enrollment: Enrollment, path: str, code: str) -> None:
    """Each rule is found at its place and refuses the enrollment."""
    assert (path, code) in codes(enrollment)
    with pytest.raises(ValidationError, match=code):
        records.validate(enrollment)


@pytest.mark.parametrize(
    ("enrollment", "code"),
    [
        (changed(full_name="SUKARNO"), "name.one-word"),
        (changed(full_name="H. AHMAD SUBARJO"), "name.characters"),
        (changed(date_of_birth=date(1950, 12, 31)), "nik.birth-date-differs"),
    ],
)
def test_warnings_do_not_block(enrollment: Enrollment, code: str) -> None:
    """Older names and corrected birth dates are accepted."""
    assert code in {problem.code for problem in records.problems(enrollment)}
    records.validate(enrollment)


def test_a_finger_is_never_silently_absent() -> None:
    """Each of the ten fingers and both eyes needs a sample or a reason."""
    enrollment = make_enrollment(1)
    biometrics = evolve(enrollment.biometrics, fingers={}, irises={})

    found = codes(evolve(enrollment, biometrics=biometrics))

    expected = {(f"biometrics.fingers.{finger.value}", "biometrics.absent") for finger in Finger}
    assert expected | {(f"biometrics.irises.{eye.value}", "biometrics.absent") for eye in Eye} == found


def test_a_missing_finger_with_a_reason_is_fine() -> None:
    """An amputated thumb is recorded as such."""
    assert () == records.problems(with_fingers(Missing(reason=MissingReason.AMPUTATED, permanent=True)))


def test_a_wrong_clock_warns() -> None:
    """A recording in the future is kept; somebody should look at the clock."""
    enrollment = make_enrollment(1)
    future = datetime.now(UTC) + timedelta(days=2)

    found = records.problems(evolve(enrollment, capture=evolve(enrollment.capture, captured_at=future)))

    assert [("capture.future", Severity.WARNING)] == [(problem.code, problem.severity) for problem in found]


def test_naive_times_are_refused() -> None:
    """A time without a zone means another moment at every office."""
    with pytest.raises(ValueError, match="time zone"):
        evolve(make_enrollment(1).capture, captured_at=datetime(2017, 3, 17))  # noqa: DTZ001 - the case


def test_messages_come_in_indonesian() -> None:
    """Every code has both languages, and they differ."""
    (english,) = records.problems(changed(full_name="SUKARNO"))
    (indonesian,) = records.problems(changed(full_name="SUKARNO"), language="id")

    assert english == indonesian
    assert english.message != indonesian.message
    assert all(en and id_ and en != id_ for _, en, id_ in CATALOGUE.values())


def test_repr_tells_nothing_of_the_person() -> None:
    """Neither name, nor NIK, nor address, nor bytes stand in a log line."""
    enrollment = make_enrollment(1)
    shown = repr(enrollment)

    biodata = enrollment.biodata
    private = [str(biodata.nik), biodata.full_name, biodata.address.street, biodata.family_card_number]
    assert [] == [text for text in private if text in shown]
    assert "PNG" not in shown


def test_the_same_person_has_the_same_biometrics_and_others_do_not() -> None:
    """Duplicates can be made on purpose, and only on purpose."""
    first, again, other = make_enrollment(1), make_enrollment(7, person=1), make_enrollment(2)

    assert first.nik == again.nik
    assert first.biometric_digests() == again.biometric_digests()
    assert first != again
    assert first.nik != other.nik
    assert not set(first.biometric_digests()) & set(other.biometric_digests())
    assert 12 == len(set(first.biometric_digests()))
