"""Made-up people: valid enrollments, the same for the same seed."""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from ktpsync import records
from ktpsync.records import (
    Address,
    Biodata,
    Biometrics,
    BloodType,
    Capture,
    Disability,
    Education,
    Enrollment,
    Eye,
    FamilyRelation,
    Finger,
    Format,
    MaritalStatus,
    Nik,
    Occupation,
    Parent,
    Religion,
    Sample,
    Sex,
)
from ktpsync.records._nik import birth_digits
from ktpsync.testing import _people
from ktpsync.testing._images import SMALLEST_SAMPLE, make_sample, stamped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_BYTES: Final = 200_000
_WORD: Final = re.compile(r"[A-Z]?[a-z]+")
_IN_BRACKETS: Final = re.compile(r" *\([^)]*\)")


def make_enrollment(
    seed: int, *, size: int | None = None, sample_dir: Path | None = None, person: int | None = None
) -> Enrollment:
    """Return a valid enrollment of a made-up person, always the same for the same arguments.

    Fingers are ISO/IEC 19794-4 records, irises 19794-6 records, each declaring its position; face and signature are
    PNG. The pictures are noise.

    Args:
        seed: Which enrollment.
        size: Bytes of all synthetic biometrics together; default 200,000, at least 4,000.
        sample_dir: A folder of real samples named like ``left_thumb.iso`` or ``rightIris.jp2``. Each is
            used with its capture time or comment changed, so that no two people share bytes. What the folder
            lacks is synthetic.
        person: Which person; default: one for each seed. The same person has the same NIK and samples.
    """
    person = seed if person is None else person
    random = Random(f"person {person}")  # noqa: S311 - reproducible, not secret
    biodata = _biodata(random, person)
    office = biodata.address.regency_code
    assert office is not None  # made-up people live somewhere
    moment = datetime(2017, 3, 17, 1, tzinfo=UTC) + timedelta(minutes=seed % 100_000)
    return Enrollment(
        biodata=biodata,
        biometrics=_biometrics(random, person, size or DEFAULT_BYTES, sample_dir),
        capture=Capture(
            office=office,
            station="station-1",
            operator="operator-1",
            captured_at=moment,
            software="ktpsync demo",
        ),
        reference=f"made-up-{seed}",
    )


def make_nik(region: str, born: date, sex: Sex, serial: int) -> Nik:
    """Return the NIK with these parts.

    Args:
        region: Six digits of the district.
        born: The birth date, 1900 to 2099.
        sex: The sex.
        serial: 1 to 9999.
    """
    return Nik(f"{region}{birth_digits(born, sex)}{serial:04}")


def _biodata(random: Random, person: int) -> Biodata:
    region, regency, address = _address(random)
    sex = random.choice((Sex.MALE, Sex.FEMALE))
    born = date(1950, 1, 1) + timedelta(days=random.randrange(365 * 48))
    status = random.choice(tuple(MaritalStatus))
    wed = born + timedelta(days=365 * 17 + random.randrange(300))
    return Biodata(
        nik=make_nik(region, born, sex, person % 9999 + 1),
        family_card_number=f"{region}{born:%d%m}15{random.randrange(1, 10_000):04}",
        full_name=_name(random, sex, region),
        place_of_birth=regency.removeprefix("KOTA "),
        date_of_birth=born,
        sex=sex,
        address=address,
        religion=random.choice(tuple(Religion)),
        marital_status=status,
        occupation=Occupation.of(random.choice(_people.OCCUPATION_CODES)),
        blood_type=random.choice(tuple(BloodType)),
        education=random.choice(tuple(Education)),
        family_relation=random.choice(tuple(FamilyRelation)),
        disability=Disability.NONE,
        birth_certificate=f"{region[:4]}-LT-{born:%d%m%Y}-{random.randrange(1, 10_000):04}",
        marriage_date=None if status is MaritalStatus.SINGLE else wed,
        father=Parent(full_name=_name(random, Sex.MALE, region)),
        mother=Parent(full_name=_name(random, Sex.FEMALE, region)),
    )


def _name(random: Random, sex: Sex, region: str) -> str:
    last = _people.LAST_BY_PROVINCE.get(region[:2], _people.LAST)
    given = random.sample(_people.GIVEN[sex], random.choice((1, 1, 2)))
    return " ".join([*given, random.choice(last)])


def _address(random: Random) -> tuple[str, str, Address]:
    """Return the district's code, the regency's name, and an address there."""
    district = random.choice(_districts())
    regency = _form_name(district[:4]).removeprefix("KAB. ")
    return (
        district,
        regency,
        Address(
            street=f"JL. {random.choice(_people.STREETS)} NO. {random.randrange(1, 200)}",
            rt=f"{random.randrange(1, 20):03}",
            rw=f"{random.randrange(1, 20):03}",
            village=f"{random.choice(_people.VILLAGES)} {random.choice(_people.VILLAGES)}",
            district=_form_name(district),
            regency=regency,
            province=_form_name(district[:2]),
            postal_code=f"{random.randrange(10_000, 100_000)}",
            province_code=district[:2],
            regency_code=district[:4],
            district_code=district,
            village_code=f"{district}{random.choice((1, 2))}{random.randrange(1, 30):03}",
        ),
    )


@functools.cache
def _districts() -> tuple[str, ...]:
    from ktpsync.records._regions import regions  # noqa: PLC0415 - loaded with the first person

    return tuple(sorted(code for code in regions() if len(code) == 6))  # noqa: PLR2004 - a district's digits


def _form_name(code: str) -> str:
    name = records.region_name(code)
    assert name is not None  # the codes are from the same list
    return _IN_BRACKETS.sub("", name).upper()


def _biometrics(random: Random, person: int, size: int, sample_dir: Path | None) -> Biometrics:
    real = {} if sample_dir is None else _samples(sample_dir)
    # A face takes about a third of an enrollment, an iris a twelfth, a finger a twentieth.
    iris, finger, signature = (max(size // part, SMALLEST_SAMPLE) for part in (12, 21, 60))
    face = max(size - 10 * finger - 2 * iris - signature, SMALLEST_SAMPLE)

    def sample(
        name: str, kind: Format, synthetic: int, place: Finger | Eye | None = None, quality: int | None = None
    ) -> Sample:
        if name in real:
            data = stamped(real[name], person)
        else:
            data = make_sample(kind, size=synthetic, random=random, place=place, quality=quality or 80)
        return Sample(data=data, quality=quality, device="made-up device")

    return Biometrics(
        fingers={
            place: sample(place.value, Format.FINGER_IMAGE, finger, place, random.randrange(40, 100))
            for place in Finger
        },
        irises={place: sample(f"{place.value}-iris", Format.IRIS_IMAGE, iris, place) for place in Eye},
        face=sample("face", Format.PNG, face),
        signature=sample("signature", Format.PNG, signature),
    )


@functools.cache
def _samples(folder: Path) -> Mapping[str, bytes]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            data = path.read_bytes()
            if records.Format.of(data) is not None:
                found["-".join(word.lower() for word in _WORD.findall(path.stem))] = data
    return found
