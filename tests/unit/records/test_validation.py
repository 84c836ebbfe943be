"""The rules, and what shows of a person."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest
from attrs import evolve

from ktpsync import records
from ktpsync.errors import ValidationError
from ktpsync.records import (
    Citizenship,
    Document,
    DocumentKind,
    Enrollment,
    Eye,
    Finger,
    Foreigner,
    Format,
    Kind,
    MaritalStatus,
    Missing,
    MissingReason,
    Nik,
    Occupation,
    Parent,
    Sample,
    Severity,
    StayPermit,
)
from ktpsync.records._catalogue import CATALOGUE, IN_SCHEMA
from ktpsync.testing import make_enrollment, make_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JPEG = make_sample(Format.JPEG, size=1500, random=Random(1))
PACKET_ID = "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001"
SCANS = (Format.PDF, Format.JPEG, Format.PNG)
FOREIGNER = Foreigner(
    nationality="JEPANG",
    passport_number="TK1234567",
    permit=StayPermit.PERMANENT,
    permit_number="2D41JE0001-T",
    permit_expires=date(2031, 5, 31),
    passport_expires=date(2029, 10, 1),
)
FOREIGN = {"citizenship": Citizenship.FOREIGN, "valid_until": date(2031, 5, 31), "foreigner": FOREIGNER}


def changed(**biodata: object) -> Enrollment:
    """Return a valid enrollment with other biodata."""
    enrollment = make_enrollment(1)
    return evolve(enrollment, biodata=evolve(enrollment.biodata, **biodata))


def with_fingers(entry: Sample | Missing) -> Enrollment:
    """Return a valid enrollment with another left thumb."""
    enrollment = make_enrollment(1)
    fingers = {**enrollment.biometrics.fingers, Finger.LEFT_THUMB: entry}
    return evolve(enrollment, biometrics=evolve(enrollment.biometrics, fingers=fingers))


def address(**parts: object) -> Enrollment:
    """Return a valid enrollment with another address."""
    return changed(address=evolve(make_enrollment(1).biodata.address, **parts))


def with_documents(*scans: Sample) -> Enrollment:
    """Return a valid enrollment with documents."""
    documents = [Document(kind=DocumentKind.FAMILY_CARD, scan=scan) for scan in scans]
    return evolve(make_enrollment(1), documents=documents)


def other_sex() -> records.Sex:
    """Return the sex that the person of the valid enrollment is not."""
    return records.Sex.MALE if make_enrollment(1).biodata.sex is records.Sex.FEMALE else records.Sex.FEMALE


REGENCY = make_enrollment(1).biodata.address.regency_code


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
            "biometrics.fingers.left-thumb.quality",
            "sample.quality-range",
        ),
        (
            with_fingers(Missing(reason=MissingReason.OTHER)),
            "biometrics.fingers.left-thumb",
            "missing.note-needed",
        ),
        (changed(citizenship=Citizenship.FOREIGN), "biodata.foreigner", "foreigner.data-missing"),
        (changed(marriage_date=date(1900, 1, 1)), "biodata.marriage_date", "date.impossible"),
        (changed(divorce_date=date(2030, 1, 1)), "biodata.divorce_date", "date.impossible"),
        (changed(mother=Parent(full_name="")), "biodata.mother.full_name", "name.empty"),
        (changed(mother=Parent(full_name="A" * 61)), "biodata.mother.full_name", "name.too-long"),
        (changed(full_name="ANI\nWATI"), "biodata.full_name", "text.characters"),
        (changed(full_name="ANI \ud800"), "biodata.full_name", "text.characters"),
        (changed(place_of_birth="A" * 201), "biodata.place_of_birth", "text.too-long"),
        (changed(occupation=Occupation(text="X", code=0)), "biodata.occupation.code", "number.range"),
        (address(rt="3"), "biodata.address.rt", "text.digits"),
        (address(postal_code="6O221"), "biodata.address.postal_code", "text.digits"),
        (address(province_code="32"), "biodata.address.regency_code", "region.codes-disagree"),
        (address(regency_code="3271"), "biodata.address.district_code", "region.codes-disagree"),
        (address(village_code="9999991001"), "biodata.address.village_code", "region.codes-disagree"),
        (
            with_fingers(Sample(data=JPEG + bytes(17 << 20))),
            "biometrics.fingers.left-thumb",
            "sample.too-large",
        ),
        (with_documents(Sample(data=b"GIF89a")), "documents[0]", "sample.format-unknown"),
        (with_documents(Sample(data=b"")), "documents[0]", "sample.empty"),
        (with_documents(Sample(data=b"\xff\xa0" + bytes(40))), "documents[0]", "document.format-unsuited"),
        (with_documents(Sample(data=JPEG[:-9])), "documents[0]", "sample.truncated"),
        (with_documents(Sample(data=JPEG + bytes(9 << 20))), "documents[0]", "sample.too-large"),
        (with_documents(*[Sample(data=JPEG)] * 21), "documents", "documents.too-many"),
        (with_documents(*[Sample(data=JPEG + bytes(7 << 20))] * 10), "biometrics", "enrollment.too-large"),
        (evolve(make_enrollment(1), kind=Kind.CORRECTION), "replaces", "replaces.needed"),
        (evolve(make_enrollment(1), kind=Kind.RE_RECORDING), "replaces", "replaces.needed"),
        (evolve(make_enrollment(1), replaces=PACKET_ID), "replaces", "replaces.not-for-first"),
        (
            evolve(make_enrollment(1), kind=Kind.CORRECTION, replaces="00000000-0000-4000-8000-000000000000"),
            "replaces",
            "replaces.not-a-packet-id",
        ),
        (evolve(make_enrollment(1), replaces="x"), "replaces", "replaces.not-a-packet-id"),
        (evolve(make_enrollment(1), reference="x" * 201), "reference", "text.too-long"),
        (
            evolve(make_enrollment(1), reference=f"no {make_enrollment(1).nik.digits}"),
            "reference",
            "reference.personal",
        ),
        *(
            (evolve(named, reference=reference), "reference", "reference.personal")
            for named in [
                changed(
                    full_name="Rénata Dewi LESTARI",
                    mother=Parent(full_name="SRI WAHYUNI", nik=Nik("3578014107650002")),
                )
            ]
            for reference in (
                named.biodata.full_name,
                "loket2-renata-dewi_lestari",
                "Lestari, Renata Dewi 17",
                "RenataDewiLestari001",
                "SRI WAHYUNI",
                "3578014107650002",
                named.biodata.family_card_number,
            )
        ),
        (evolve(changed(full_name="SUKARNO"), reference="sukarno/2"), "reference", "reference.personal"),
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
        (changed(sex=other_sex()), "nik.sex-differs"),
        (
            changed(date_of_birth=date(2002, 1, 1), marital_status=MaritalStatus.SINGLE, marriage_date=None),
            "age.below-16",
        ),
        (changed(father=Parent(full_name="SUKARNO")), "name.one-word"),
        (address(district_code=None, village_code=None), "region.code-missing"),
        (address(district_code=f"{REGENCY}99", village_code=None), "region.code-unknown"),
        (address(regency="SOMEWHERE ELSE"), "region.name-differs"),
        (changed(occupation=Occupation(text="X", code=500)), "occupation.code-unknown"),
        (changed(occupation=Occupation(text="X", code=88)), "occupation.text-differs"),
        (changed(valid_until=date(2020, 1, 1)), "citizen.foreigner-data"),
        (changed(foreigner=FOREIGNER), "citizen.foreigner-data"),
        (
            changed(**{**FOREIGN, "foreigner": evolve(FOREIGNER, permit=StayPermit.TEMPORARY)}),
            "foreigner.permit-temporary",
        ),
        (
            changed(**{**FOREIGN, "foreigner": evolve(FOREIGNER, passport_expires=date(2016, 1, 1))}),
            "foreigner.expired",
        ),
        (changed(**{**FOREIGN, "valid_until": date(2040, 1, 1)}), "foreigner.expiry-after-permit"),
        (with_fingers(Missing(reason=MissingReason.BLIND)), "missing.reason-unsuited"),
        *(
            (
                evolve(
                    make_enrollment(1),
                    biometrics=evolve(make_enrollment(1).biometrics, **{place: Missing(reason=reason)}),
                ),
                "missing.reason-unsuited",
            )
            for place, reason in (
                ("face", MissingReason.AMPUTATED),
                ("face", MissingReason.BLIND),
                ("face", MissingReason.WORN),
                ("signature", MissingReason.WORN),
            )
        ),
        (
            with_fingers(make_enrollment(1).biometrics.face),
            "sample.repeated",
        ),
        (
            evolve(make_enrollment(1), capture=evolve(make_enrollment(1).capture, office="9999")),
            "capture.office-unknown",
        ),
        (evolve(changed(full_name="DEWI LESTARI"), reference="loket-dewi-17"), "reference.name-part"),
    ],
)
def test_warnings_do_not_block(enrollment: Enrollment, code: str) -> None:
    """Older names and corrected birth dates are accepted."""
    assert code in {problem.code for problem in records.problems(enrollment)}
    records.validate(enrollment)


@pytest.mark.parametrize(
    "enrollment",
    [
        changed(**FOREIGN),
        changed(
            date_of_birth=date(2002, 1, 1),
            marital_status=MaritalStatus.MARRIED,
            nik=Nik("3578010101020001"),
            marriage_date=None,
        ),
        changed(occupation=Occupation(text="PENGRAJIN KERIS")),
        with_documents(*(Sample(data=make_sample(kind, size=1500, random=Random(2))) for kind in SCANS)),
        evolve(make_enrollment(1), kind=Kind.RE_RECORDING, replaces=PACKET_ID),
        evolve(make_enrollment(1), kind=Kind.CORRECTION, replaces=PACKET_ID),
        evolve(make_enrollment(1), kind=Kind.REPLACEMENT),
        evolve(make_enrollment(1), kind=Kind.REPLACEMENT, replaces=PACKET_ID),
        evolve(changed(full_name="ADI B SUKARNO"), reference="PADI-B-2017-03-17/0042"),
        evolve(changed(full_name="A B"), reference="a-b"),
    ],
)
def test_what_is_in_order_has_no_problems(enrollment: Enrollment) -> None:
    """Foreigners, the married young, occupations in words, documents, and each kind of recording."""
    found = [problem for problem in records.problems(enrollment) if not problem.code.startswith("nik.")]

    assert [] == found


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


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("face", MissingReason.INJURED),
        ("face", MissingReason.BANDAGED),
        ("signature", MissingReason.AMPUTATED),
        ("signature", MissingReason.BLIND),
    ],
)
def test_a_reason_that_suits_its_place_is_fine(place: str, reason: MissingReason) -> None:
    """Who has no hands or does not see may not sign; a face may be bandaged."""
    enrollment = make_enrollment(1)
    biometrics = evolve(enrollment.biometrics, **{place: Missing(reason=reason)})

    assert () == records.problems(evolve(enrollment, biometrics=biometrics))


def test_a_wrong_clock_warns() -> None:
    """A recording in the future is kept; somebody should look at the clock."""
    enrollment = make_enrollment(1)
    future = datetime.now(UTC) + timedelta(days=2)

    found = records.problems(evolve(enrollment, capture=evolve(enrollment.capture, captured_at=future)))

    assert [("capture.future", Severity.WARNING)] == [(problem.code, problem.severity) for problem in found]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2017, 3, 17),  # noqa: DTZ001 - the case
        datetime(1017, 3, 17, tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=9))),
        date(2017, 3, 17),
        "2017-03-17T09:30:00+07:00",
    ],
)
def test_what_is_no_moment_is_told(moment: object) -> None:
    """A time without a zone means another moment at every office; so does one of a sample."""
    enrollment = make_enrollment(1)
    capture = evolve(enrollment.capture, captured_at=moment)
    thumb = with_fingers(Sample(data=JPEG, captured_at=moment))  # type: ignore[arg-type]

    assert {("capture.captured_at", "json.not-a-time")} == codes(evolve(enrollment, capture=capture))
    assert {("biometrics.fingers.left-thumb.captured_at", "json.not-a-time")} == codes(thumb)


def test_messages_come_in_indonesian() -> None:
    """Every code has both languages, and they differ."""
    (english,) = records.problems(changed(full_name="SUKARNO"))
    (indonesian,) = records.problems(changed(full_name="SUKARNO"), language="id")

    assert english == indonesian
    assert english.message != indonesian.message
    assert english.translated("id").message == indonesian.message
    assert all(
        texts.english and texts.indonesian and texts.english != texts.indonesian
        for texts in CATALOGUE.values()
    )


def test_repr_tells_nothing_of_the_person() -> None:
    """Neither name, nor NIK, nor address, nor bytes stand in a log line."""
    enrollment = make_enrollment(1)
    shown = repr(enrollment)

    biodata = enrollment.biodata
    private = [biodata.nik.digits, biodata.full_name, biodata.address.street, biodata.family_card_number]
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


def test_every_code_is_of_one_severity_and_of_the_schema_or_not() -> None:
    """The published table and the published schema speak of the same codes."""
    assert IN_SCHEMA <= CATALOGUE.keys()
    assert {"error", "warning"} == {texts.severity for texts in CATALOGUE.values()}


def test_a_device_s_buffer_is_copied() -> None:
    """A capture library that uses its buffer again does not change what was recorded."""
    buffer = bytearray(JPEG)
    sample = Sample(data=memoryview(buffer))
    buffer[:] = bytes(len(buffer))

    assert JPEG == sample.data


@pytest.mark.parametrize(
    ("enrollment", "path", "code"),
    [
        (changed(full_name=None), "biodata.full_name", "json.not-text"),
        (changed(nik="3171011708900001"), "biodata.nik", "json.value-invalid"),
        (changed(date_of_birth="1990-08-17"), "biodata.date_of_birth", "json.not-a-date"),
        (
            changed(date_of_birth=datetime(1990, 8, 17, tzinfo=UTC)),
            "biodata.date_of_birth",
            "json.not-a-date",
        ),
        (changed(sex="LAKI-LAKI"), "biodata.sex", "json.not-a-choice"),
        (changed(address="JL. MAWAR"), "biodata.address", "json.not-an-object"),
        (changed(mother="SITI"), "biodata.mother", "json.not-an-object"),
        (
            changed(occupation=Occupation(text="X", code=True)),
            "biodata.occupation.code",
            "json.not-a-whole-number",
        ),
        (with_fingers(JPEG), "biometrics.fingers.left-thumb", "json.not-an-object"),  # type: ignore[arg-type]
        (
            with_fingers(Sample(data=JPEG, quality=80.0)),  # type: ignore[arg-type]
            "biometrics.fingers.left-thumb.quality",
            "json.not-a-whole-number",
        ),
        (with_documents(Sample(data=JPEG), JPEG), "documents[1]", "json.not-an-object"),  # type: ignore[arg-type]
        (
            with_fingers(Missing(reason=MissingReason.WORN, permanent="ya")),  # type: ignore[arg-type]
            "biometrics.fingers.left-thumb.missing.permanent",
            "json.not-yes-or-no",
        ),
        (evolve(make_enrollment(1), documents=["x"]), "documents[0]", "json.not-an-object"),
        (evolve(make_enrollment(1), documents=None), "documents", "json.not-a-list"),
        (with_fingers(Sample(data="abc")), "biometrics.fingers.left-thumb", "sample.not-bytes"),  # type: ignore[arg-type]
        (with_fingers(Sample(data=None)), "biometrics.fingers.left-thumb", "sample.not-bytes"),  # type: ignore[arg-type]
        (with_fingers(Sample(data=Path("x.wsq"))), "biometrics.fingers.left-thumb", "sample.not-bytes"),  # type: ignore[arg-type]
        (with_documents(Sample(data=[])), "documents[0]", "sample.not-bytes"),  # type: ignore[arg-type]
        (evolve(make_enrollment(1), kind="first"), "kind", "json.not-a-choice"),
        (evolve(make_enrollment(1), reference=7), "reference", "json.not-text"),
    ],
)
def test_values_of_another_type_are_told_like_any_problem(
    enrollment: Enrollment, path: str, code: str
) -> None:
    """A form's developer without a type checker gets a path and a sentence, never a crash of a rule."""
    assert {(path, code)} == codes(enrollment)


def test_places_may_be_named_as_in_the_json() -> None:
    """A form's developer without a type checker gives names; they are the same places, in their order."""
    biometrics = make_enrollment(1).biometrics
    fingers = {finger.value: biometrics.fingers[finger] for finger in reversed(Finger)}
    irises = {eye.value: biometrics.irises[eye] for eye in Eye}

    named = evolve(biometrics, fingers=fingers, irises=irises)

    assert biometrics == named
    assert list(Finger) == list(named.fingers)


@pytest.mark.parametrize(
    ("fingers", "path", "code", "message"),
    [
        (
            {"left-tumb": Missing(reason=MissingReason.WORN)},
            "biometrics.fingers.left-tumb",
            "json.field-unknown",
            "perhaps 'left-thumb' is meant",
        ),
        (
            {11: Missing(reason=MissingReason.WORN)},
            "biometrics.fingers.11",
            "json.field-unknown",
            "not known.",
        ),
        (None, "biometrics.fingers", "json.not-an-object", "not an object"),
    ],
)
def test_a_place_that_there_is_not_is_told(fingers: object, path: str, code: str, message: str) -> None:
    """What is given under a wrong name is neither dropped nor reported as missing."""
    enrollment = make_enrollment(1)
    whole = fingers if fingers is None else {**enrollment.biometrics.fingers, **fingers}  # type: ignore[dict-item]
    biometrics = evolve(enrollment.biometrics, fingers=whole)

    found = records.problems(evolve(enrollment, biometrics=biometrics))

    assert [(path, code)] == [(problem.path, problem.code) for problem in found]
    assert message in found[0].message


def test_what_is_no_enrollment_is_said_to_be_none() -> None:
    """There is nothing to look at."""
    with pytest.raises(TypeError, match="an Enrollment is needed, not dict"):
        records.problems({})  # type: ignore[arg-type]


def _everywhere(value: object, path: str = "") -> Iterator[tuple[str, Callable[[object], object]]]:
    """Yield each place in an enrollment, and a function that returns the enrollment with another value there."""
    assert attrs.has(type(value))
    for attribute in attrs.fields(type(value)):  # type: ignore[arg-type]
        inner = getattr(value, attribute.name)
        where = f"{path}.{attribute.name}"

        def put(new: object, name: str = attribute.name) -> object:
            return evolve(value, **{name: new})  # type: ignore[type-var]

        yield where, put
        if isinstance(inner, dict):
            for key in inner:
                yield f"{where}.{key}", lambda new, inner=inner, key=key, put=put: put({**inner, key: new})
        elif attrs.has(type(inner)) and not isinstance(inner, Nik):
            for below, change in _everywhere(inner, where):
                yield below, lambda new, change=change, put=put: put(change(new))


FULL = evolve(
    changed(
        **FOREIGN,
        father=Parent(full_name="BUDI SANTOSO", nik=Nik("3578010107650002")),
        mother=Parent(full_name="SRI WAHYUNI"),
        marriage_date=date(2015, 6, 20),
    ),
    reference="2017-03-17/0042",
    documents=with_documents(Sample(data=JPEG)).documents,
)


@pytest.mark.parametrize("wrong", [object(), "x", 7, None], ids=["object", "text", "number", "none"])
def test_a_value_of_another_type_hides_no_other_problem(wrong: object) -> None:
    """Wherever it is, no rule stumbles over it, and two others that have nothing to do with it are told with it."""
    places = dict(_everywhere(FULL))
    assert len(places) > 70
    for path, change in places.items():
        elsewhere = "capture" if path.startswith(".biodata") else "biodata"
        enrollment = change(wrong)
        assert isinstance(enrollment, Enrollment)
        if elsewhere == "capture" and not path.startswith(".capture"):
            enrollment = evolve(enrollment, capture=evolve(enrollment.capture, office="12"))
            expected = ("capture.office", "text.digits")
        else:
            enrollment = evolve(enrollment, biodata=evolve(enrollment.biodata, full_name=" "))
            expected = ("biodata.full_name", "name.empty")
        assert expected in codes(enrollment), path


def test_all_wrong_values_are_told_together() -> None:
    """One form, one answer: types, rules of one field and rules over several."""
    enrollment = changed(date_of_birth="31-02-1990", family_card_number="12", full_name="SITI" * 30)
    capture = evolve(enrollment.capture, captured_at=None, office="12")

    found = codes(evolve(enrollment, capture=capture, kind=Kind.CORRECTION))

    assert {
        ("biodata.date_of_birth", "json.not-a-date"),
        ("capture.captured_at", "json.not-a-time"),
        ("biodata.family_card_number", "text.digits"),
        ("biodata.full_name", "name.too-long"),
        ("capture.office", "text.digits"),
        ("replaces", "replaces.needed"),
    } <= found
