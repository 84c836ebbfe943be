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
    Education,
    Enrollment,
    Eye,
    Finger,
    MaritalStatus,
    Nik,
    Occupation,
    Religion,
    Sample,
    Sex,
)
from ktpsync.testing._images import png, stamped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULT_BYTES: Final = 200_000
_GIVEN: Final = {
    Sex.MALE: ("AGUS", "BAMBANG", "DEDI", "EKO", "FAJAR", "HENDRA", "JOKO", "RIZKI", "SLAMET", "WAHYU"),
    Sex.FEMALE: ("AYU", "DEWI", "FITRI", "INDAH", "KARTIKA", "LESTARI", "NURUL", "PUTRI", "RATNA", "SITI"),
}
_FAMILY: Final = (
    "HIDAYAT",
    "KURNIAWAN",
    "NUGROHO",
    "PRATAMA",
    "SANTOSO",
    "SAPUTRA",
    "SETIAWAN",
    "WIBOWO",
    "WIJAYA",
)
_PLACES: Final = (
    ("357801", "KARANGPILANG", "KOTA SURABAYA", "JAWA TIMUR", "60221"),
    ("357802", "WONOCOLO", "KOTA SURABAYA", "JAWA TIMUR", "60237"),
    ("317101", "GAMBIR", "KOTA ADM. JAKARTA PUSAT", "DKI JAKARTA", "10110"),
    ("327301", "SUKASARI", "KOTA BANDUNG", "JAWA BARAT", "40151"),
)
_OCCUPATIONS: Final = (
    ("WIRASWASTA", 88),
    ("MENGURUS RUMAH TANGGA", 2),
    ("PELAJAR/MAHASISWA", 3),
    ("LAINNYA", 89),
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+")


def make_enrollment(
    seed: int, *, size: int | None = None, sample_dir: Path | None = None, person: int | None = None
) -> Enrollment:
    """Return a valid enrollment of a made-up person, always the same for the same arguments.

    Args:
        seed: Which enrollment.
        size: Bytes of all synthetic biometrics together, about; default 200,000.
        sample_dir: A folder of real samples named like ``left_thumb.iso`` or ``rightIris.jp2``. Each is
            used with its capture time or comment changed, so that no two people share bytes. What the folder
            lacks is synthetic.
        person: Which person; default: one for each seed. The same person has the same NIK and samples.
    """
    person = seed if person is None else person
    random = Random(f"person {person}")  # noqa: S311 - reproducible, not secret
    sex = random.choice((Sex.MALE, Sex.FEMALE))
    born = date(1950, 1, 1) + timedelta(days=random.randrange(365 * 48))
    region, district, regency, province, postal_code = random.choice(_PLACES)
    name = f"{random.choice(_GIVEN[sex])} {random.choice(_FAMILY)}"
    occupation, code = random.choice(_OCCUPATIONS)
    biodata = Biodata(
        nik=_nik(region, born, sex, person),
        family_card_number=f"{region}{random.randrange(10**10):010}",
        full_name=name,
        place_of_birth=regency.removeprefix("KOTA "),
        date_of_birth=born,
        sex=sex,
        address=Address(
            street=f"JL. MAWAR NO. {random.randrange(1, 200)}",
            rt=f"{random.randrange(1, 20):03}",
            rw=f"{random.randrange(1, 20):03}",
            village=district,
            district=district,
            regency=regency,
            province=province,
            postal_code=postal_code,
        ),
        religion=random.choice(tuple(Religion)),
        marital_status=random.choice(tuple(MaritalStatus)),
        occupation=Occupation(text=occupation, code=code, list_version="OpenSID"),
        blood_type=random.choice(tuple(BloodType)),
        education=random.choice(tuple(Education)),
    )
    moment = datetime(2017, 3, 17, 1, tzinfo=UTC) + timedelta(minutes=seed % 100_000)
    return Enrollment(
        biodata=biodata,
        biometrics=_biometrics(random, person, size or _DEFAULT_BYTES, sample_dir),
        capture=Capture(
            office=region[:4],
            station="station-1",
            operator="operator-1",
            captured_at=moment,
            software="ktpsync demo",
        ),
        reference=f"made-up-{seed}",
    )


def _nik(region: str, born: date, sex: Sex, person: int) -> Nik:
    day = born.day + (40 if sex is Sex.FEMALE else 0)
    return Nik(f"{region}{day:02}{born:%m%y}{person % 9999 + 1:04}")


def _biometrics(random: Random, person: int, size: int, sample_dir: Path | None) -> Biometrics:
    real = {} if sample_dir is None else _samples(sample_dir)
    # A face takes about a third of an enrollment, an iris a twelfth, a finger a twentieth.
    face, iris, finger, signature = size // 3, size // 12, size // 21, size // 60

    def sample(name: str, synthetic: int, quality: int | None = None) -> Sample:
        data = stamped(real[name], person) if name in real else png(random.randbytes(max(synthetic, 64)))
        return Sample(data=data, quality=quality, device="made-up device")

    return Biometrics(
        fingers={entry: sample(entry.value, finger, random.randrange(40, 100)) for entry in Finger},
        irises={entry: sample(f"{entry.value}-iris", iris) for entry in Eye},
        face=sample("face", face),
        signature=sample("signature", signature),
    )


@functools.cache
def _samples(folder: Path) -> Mapping[str, bytes]:
    found = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        if path.is_file() and records.Format.of(data) is not None:
            found["-".join(word.lower() for word in _WORD.findall(path.stem))] = data
    return found
