"""Rules of the biodata that look at more than one field, or at lists of codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ktpsync.records._codes import occupations
from ktpsync.records._regions import is_known_region, is_name_of
from ktpsync.records._terms import Citizenship, MaritalStatus, StayPermit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from ktpsync.records._biodata import Address, Biodata, Foreigner, Occupation
    from ktpsync.records._finding import Finding
    from ktpsync.records._readable import Readable

MINIMUM_AGE: Final = 16
"""Who is younger may be recorded if married; recording from 16 is common practice, printing from 17."""

_NAME_CHARACTERS: Final = re.compile(r"[A-Za-z ]+")


def biodata_findings(biodata: Biodata, recorded: date | None, readable: Readable) -> Iterator[Finding]:
    """Yield what is wrong or unusual about a person's biodata.

    Args:
        biodata: The biodata.
        recorded: The day of the recording; ``None``: it could not be read.
        readable: Which parts can be looked at.
    """
    if readable("biodata.nik"):
        yield from _nik(biodata, readable)
    for path, person in (
        ("biodata", biodata),
        ("biodata.father", biodata.father),
        ("biodata.mother", biodata.mother),
    ):
        if readable(f"{path}.full_name") and person is not None:
            yield from _name(f"{path}.full_name", person.full_name)
    if readable("biodata.address"):
        yield from _address(biodata.address, readable)
    if readable("biodata.occupation", "biodata.occupation.code", "biodata.occupation.text"):
        yield from _occupation(biodata.occupation)
    if readable("biodata.date_of_birth") and recorded is not None:
        yield from _dates(biodata, recorded, readable)
    if readable("biodata.citizenship"):
        yield from _citizenship(biodata, recorded, readable)


def _nik(biodata: Biodata, readable: Readable) -> Iterator[Finding]:
    nik = biodata.nik
    if readable("biodata.sex") and nik.sex is not biodata.sex:
        yield "biodata.nik", "nik.sex-differs", {}
    elif readable("biodata.date_of_birth") and not nik.may_be_born_on(biodata.date_of_birth):
        yield "biodata.nik", "nik.birth-date-differs", {}
    if not is_known_region(nik.region):
        yield "biodata.nik", "nik.region-unknown", {}


def _name(path: str, name: str) -> Iterator[Finding]:
    if not name.strip():
        return
    if len(name.split()) == 1:
        yield path, "name.one-word", {}
    if not _NAME_CHARACTERS.fullmatch(name):
        yield path, "name.characters", {}


def _address(address: Address, readable: Readable) -> Iterator[Finding]:
    above, above_name = "", ""
    for level in ("province", "regency", "district", "village"):
        path = f"biodata.address.{level}_code"
        if not readable(path):
            continue
        code: str | None = getattr(address, f"{level}_code")
        if code is None:
            if level == "district":
                yield path, "region.code-missing", {}
            continue
        if not code.startswith(above):
            yield path, "region.codes-disagree", {"above": above_name}
        above, above_name = code, level
        if level == "village":
            continue  # no list has them
        if not is_known_region(code):
            yield path, "region.code-unknown", {}
        elif readable(f"biodata.address.{level}") and not is_name_of(getattr(address, level), code):
            yield f"biodata.address.{level}", "region.name-differs", {}


def _occupation(occupation: Occupation) -> Iterator[Finding]:
    if occupation.code is None:
        return
    listed = occupations().get(occupation.code)
    if listed is None:
        yield "biodata.occupation.code", "occupation.code-unknown", {}
    elif occupation.text.strip().upper() != listed:
        yield "biodata.occupation.text", "occupation.text-differs", {}


def _dates(biodata: Biodata, recorded: date, readable: Readable) -> Iterator[Finding]:
    born = biodata.date_of_birth
    age = recorded.year - born.year - ((recorded.month, recorded.day) < (born.month, born.day))
    if born > recorded:
        yield "biodata.date_of_birth", "birth-date.future", {}
    elif (
        age < MINIMUM_AGE
        and readable("biodata.marital_status")
        and biodata.marital_status is MaritalStatus.SINGLE
    ):
        yield "biodata.date_of_birth", "age.below-16", {}
    for name in ("marriage_date", "divorce_date"):
        day: date | None = getattr(biodata, name)
        if readable(f"biodata.{name}") and day is not None and not born < day <= recorded:
            yield f"biodata.{name}", "date.impossible", {}


def _citizenship(biodata: Biodata, recorded: date | None, readable: Readable) -> Iterator[Finding]:
    if biodata.citizenship is not Citizenship.FOREIGN:
        for name in ("valid_until", "foreigner"):
            if readable(f"biodata.{name}") and getattr(biodata, name) is not None:
                yield f"biodata.{name}", "citizen.foreigner-data", {}
        return
    if biodata.valid_until is None:
        yield "biodata.valid_until", "foreigner.expiry-missing", {}
    if biodata.foreigner is None:
        yield "biodata.foreigner", "foreigner.data-missing", {}
    elif readable("biodata.foreigner"):
        yield from _foreigner(biodata.foreigner, biodata.valid_until, recorded, readable)


def _foreigner(
    foreigner: Foreigner, valid_until: date | None, recorded: date | None, readable: Readable
) -> Iterator[Finding]:
    if foreigner.permit is StayPermit.TEMPORARY:
        yield "biodata.foreigner.permit", "foreigner.permit-temporary", {}
    for name in ("permit_expires", "passport_expires"):
        day: date | None = getattr(foreigner, name)
        if not readable(f"biodata.foreigner.{name}") or day is None or recorded is None:
            continue
        if day < recorded:
            yield f"biodata.foreigner.{name}", "foreigner.expired", {}
    compared = readable("biodata.valid_until", "biodata.foreigner.permit_expires")
    if compared and valid_until is not None and valid_until > foreigner.permit_expires:
        yield "biodata.valid_until", "foreigner.expiry-after-permit", {}
