"""Enrollments of every kind: JSON, packets and the published schema."""

from __future__ import annotations

import copy
import json
from datetime import date
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktpsync import age, packet, records
from ktpsync.clock import SystemClock
from ktpsync.errors import AgeError, SchemaError, ValidationError
from ktpsync.keys import StationKey
from ktpsync.records import (
    Document,
    DocumentKind,
    Finger,
    Foreigner,
    Kind,
    Missing,
    MissingReason,
    Parent,
    Problem,
    Sample,
    Severity,
    StayPermit,
)
from ktpsync.records._catalogue import IN_SCHEMA
from ktpsync.testing import enrollments, make_enrollment, make_nik, niks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.records import Enrollment, Nik

IDENTITY = age.generate_identity("x25519")
STATION = StationKey.generate()
SCHEMA = jsonschema_rs.validator_for(records.json_schema(), validate_formats=True)
SEALED = packet.seal(
    make_enrollment(1, size=4000), recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock()
).sealed

few = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(enrollments())
@few
def test_a_valid_enrollment_survives_json(enrollment: Enrollment) -> None:
    """It has no errors, comes back as it was, gives the same bytes again, and fits the published schema."""
    assert [] == errors(records.problems(enrollment))
    document, files = records.to_json(enrollment)

    read = records.from_json(document, files.__getitem__)

    assert enrollment == read
    assert (document, files) == records.to_json(read)
    assert records.problems(enrollment) == records.problems(read)
    SCHEMA.validate(json.loads(document))


@given(enrollments())
@settings(parent=few, max_examples=30)
def test_a_valid_enrollment_survives_a_packet(enrollment: Enrollment) -> None:
    """What the centre opens is what the office captured, and the warnings that it had."""
    sealing = packet.seal(
        enrollment, recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock()
    )

    opened = packet.open(sealing.sealed, [IDENTITY], stations=[STATION.public])

    assert enrollment == opened.enrollment
    assert [(one.path, one.code) for one in records.problems(enrollment)] == [
        (one.path, one.code) for one in opened.manifest.warnings
    ]


@given(niks())
def test_a_nik_is_put_together_from_its_parts(nik: Nik) -> None:
    """What it tells of itself makes the same number again."""
    assert all(
        make_nik(nik.region, born, nik.sex, nik.serial) == nik and nik.may_be_born_on(born)
        for born in nik.possible_birth_dates()
    )
    assert nik.possible_birth_dates()


@given(st.integers(0, len(SEALED)), st.integers(0, 300), st.binary(max_size=40))
def test_any_mutation_of_a_packet_is_noticed(position: int, removed: int, added: bytes) -> None:
    """Bytes changed, put in, taken out, cut off or put behind: it does not open."""
    changed = SEALED[:position] + added + SEALED[position + removed :]
    if changed == SEALED:
        return

    try:
        packet.open(changed, [IDENTITY], stations=[STATION.public])
    except AgeError:
        return
    raise AssertionError


def errors(found: tuple[Problem, ...]) -> list[Problem]:
    """Return the problems that block."""
    return [one for one in found if one.severity is Severity.ERROR]


# What a program that writes enrollment.json may put into a field.
VALUES = (
    *(None, True, False, -1, 0, 1, 88, 100, 101, 999, 1000, 80.0, 80.5, [], {}, [1], {"x": 1}),
    *("", " ", "\t", "x", "1", "12", "123", "1234", "12345", "123456", "1234567890", "１２３"),  # noqa: RUF001 - the case
    *(
        "A B",
        "A" * 21,
        "A" * 31,
        "A" * 51,
        "A" * 60,
        "A" * 61,
        "A" * 200,
        "A" * 201,
        "ANI\nWATI",
        "ANI\n",
        "\u200b",
        "é",
    ),
    *(
        "2017-02-28",
        "2017-02-29",
        "2017-2-3",
        "20170203",
        "0000-01-01",
        "2017-02-03\n",
        "2017-02-03T00:00:00Z",
    ),
    *("2017-03-17T09:30:00+07:00", "2017-03-17T09:30:00.123456-23:59", "2017-03-17T09:30:00.5Z"),
    *("2017-03-17T09:30:00", "2017-03-17T24:00:00Z", "2017-03-17t09:30:00z", "2017-03-17T09:30:60Z"),
    *(
        "2017-03-17T09:30:00.1234567Z",
        "2017-13-17T09:30:00Z",
        "1817-03-17T09:30:00Z",
        "2017-03-17T09:30:00+7",
    ),
    *("3171012902000001", "3171012902010001", "3171010000000001", "3171010101900000", "3171 0129 0200 0001"),
    *(
        "LAKI-LAKI",
        "laki-laki",
        "KAWIN",
        "O+",
        "S1",
        "first",
        "correction",
        "other",
        "passport",
        "KITAP",
        "wsq",
        "bin",
    ),
    *("0" * 64, "F" * 64, "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001", "0190F5C4-7A30-7C11-9D1B-5BE2A1A0C001"),
)


def full_enrollment() -> Enrollment:
    """Return an enrollment with every field filled."""
    enrollment = make_enrollment(1, size=4000)
    biodata = evolve(
        enrollment.biodata,
        valid_until=date(2031, 5, 31),
        marriage_certificate="1",
        marriage_date=date(2000, 1, 1),
        divorce_certificate="2",
        divorce_date=date(2001, 1, 1),
        father=Parent(full_name="A B", nik=enrollment.nik),
        foreigner=Foreigner(
            nationality="JEPANG",
            passport_number="T1",
            permit=StayPermit.PERMANENT,
            permit_number="2",
            permit_expires=date(2031, 5, 31),
            passport_expires=date(2030, 1, 1),
        ),
    )
    face = enrollment.biometrics.face
    assert isinstance(face, Sample)
    biometrics = evolve(
        enrollment.biometrics,
        fingers={
            **enrollment.biometrics.fingers,
            Finger.LEFT_RING: Missing(reason=MissingReason.OTHER, permanent=True, note="none"),
        },
        face=evolve(face, quality=50, captured_at=enrollment.captured_at),
    )
    return evolve(
        enrollment,
        biodata=biodata,
        biometrics=biometrics,
        capture=evolve(enrollment.capture, supervisor="s", witness="w"),
        kind=Kind.REPLACEMENT,
        replaces="0190f5c4-7a30-7c11-9d1b-5be2a1a0c001",
        documents=[Document(kind=DocumentKind.OTHER, scan=evolve(face, quality=1))],
    )


DOCUMENT, FILES = records.to_json(full_enrollment())


def verdicts(body: object) -> tuple[bool, list[str]]:
    """Return whether the schema takes a document, and the codes of the errors that the code finds in it."""
    try:
        enrollment = records.from_json(json.dumps(body).encode(), FILES.__getitem__)
    except ValidationError as error:
        found = [one for one in error.problems if isinstance(one, Problem)]
    except SchemaError:
        return SCHEMA.is_valid(body), ["json.value-invalid"]
    else:
        found = errors(records.problems(enrollment))
    return SCHEMA.is_valid(body), [one.code for one in found]


def agree(body: object) -> bool:
    """Whether what the schema refuses the code refuses, and what it takes has no problem that it speaks of."""
    valid, codes = verdicts(body)
    return not IN_SCHEMA.intersection(codes) if valid else bool(codes)


def objects(value: object) -> Iterator[dict[str, object]]:
    """Yield every object of a document; of fingers a sample and a missing one, which stand for all."""
    if isinstance(value, dict):
        yield value
        left_out = {finger.value for finger in Finger} - {"left-thumb", "left-ring"}
        for name, inner in value.items():
            if name not in left_out:
                yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


@pytest.mark.slow
def test_schema_and_code_agree_on_every_field() -> None:
    """Each field of each object: with every value of the list, taken away, misspelt, and with one beside it."""
    body = json.loads(DOCUMENT)
    assert (True, []) == verdicts(body)
    differ = []
    for one in list(objects(body)):
        for name, before in list(one.items()):
            for value in VALUES:
                one[name] = value
                if not agree(body):
                    differ.append((name, value))
            del one[name]
            if not agree(body):
                differ.append((name, "taken away"))
            one[f"{name}x"] = before
            if not agree(body):
                differ.append((name, "misspelt"))
            one[name] = before
            if not agree(body):
                differ.append((name, "with another"))
            del one[f"{name}x"]

    assert [] == differ


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """Return the document with several fields changed, taken away or moved."""
    body = json.loads(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(objects(body))))
        name = draw(st.sampled_from([*place, "x"]))
        match draw(st.sampled_from(["change", "take away", "move"])):
            case "change":
                # A copy: what is changed later must neither hold itself nor be there in the next document.
                place[name] = copy.deepcopy(draw(st.sampled_from(VALUES) | st.text(max_size=5)))
            case "take away":
                place.pop(name, None)
            case _:
                draw(st.sampled_from(list(objects(body))))[name] = place.pop(name, 1)
    return body


@given(mutated())
@settings(parent=few, max_examples=100)
def test_schema_and_code_agree_on_generated_documents(body: object) -> None:
    """Several mistakes together."""
    assert agree(body)
