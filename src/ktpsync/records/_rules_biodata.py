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

MINIMUM_AGE: Final = 16
"""Who is younger may be recorded if married; recording from 16 is common practice, printing from 17."""

_NAME_CHARACTERS: Final = re.compile(r"[A-Za-z ]+")


def biodata_findings(biodata: Biodata, recorded: date) -> Iterator[Finding]:
    """Yield what is wrong or unusual about a person's biodata.

    Args:
        biodata: The biodata.
        recorded: The day of the recording.
    """
    nik = biodata.nik
    if nik.sex is not biodata.sex:
        yield "biodata.nik", "nik.sex-differs", {}
    elif not nik.may_be_born_on(biodata.date_of_birth):
        yield "biodata.nik", "nik.birth-date-differs", {}
    if not is_known_region(nik.region):
        yield "biodata.nik", "nik.region-unknown", {}
    yield from _name("biodata.full_name", biodata.full_name)
    for parent in ("father", "mother"):
        person = getattr(biodata, parent)
        if person is not None:
            yield from _name(f"biodata.{parent}.full_name", person.full_name)
    yield from _address(biodata.address)
    yield from _occupation(biodata.occupation)
    yield from _dates(biodata, recorded)
    yield from _citizenship(biodata, recorded)


def _name(path: str, name: str) -> Iterator[Finding]:
    if not name.strip():
        return
    if len(name.split()) == 1:
        yield path, "name.one-word", {}
    if not _NAME_CHARACTERS.fullmatch(name):
        yield path, "name.characters", {}


def _address(address: Address) -> Iterator[Finding]:
    above, above_name = "", ""
    for level in ("province", "regency", "district", "village"):
        path = f"biodata.address.{level}_code"
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
        elif not is_name_of(getattr(address, level), code):
            yield f"biodata.address.{level}", "region.name-differs", {}


def _occupation(occupation: Occupation) -> Iterator[Finding]:
    if occupation.code is None:
        return
    listed = occupations().get(occupation.code)
    if listed is None:
        yield "biodata.occupation.code", "occupation.code-unknown", {}
    elif occupation.text.strip().upper() != listed:
        yield "biodata.occupation.text", "occupation.text-differs", {}


def _dates(biodata: Biodata, recorded: date) -> Iterator[Finding]:
    born = biodata.date_of_birth
    age = recorded.year - born.year - ((recorded.month, recorded.day) < (born.month, born.day))
    if born > recorded:
        yield "biodata.date_of_birth", "birth-date.future", {}
    elif age < MINIMUM_AGE and biodata.marital_status is MaritalStatus.SINGLE:
        yield "biodata.date_of_birth", "age.below-16", {}
    for name in ("marriage_date", "divorce_date"):
        day: date | None = getattr(biodata, name)
        if day is not None and not born < day <= recorded:
            yield f"biodata.{name}", "date.impossible", {}


def _citizenship(biodata: Biodata, recorded: date) -> Iterator[Finding]:
    if biodata.citizenship is not Citizenship.FOREIGN:
        for name in ("valid_until", "foreigner"):
            if getattr(biodata, name) is not None:
                yield f"biodata.{name}", "citizen.foreigner-data", {}
        return
    if biodata.valid_until is None:
        yield "biodata.valid_until", "foreigner.expiry-missing", {}
    if biodata.foreigner is None:
        yield "biodata.foreigner", "foreigner.data-missing", {}
    else:
        yield from _foreigner(biodata.foreigner, biodata.valid_until, recorded)


def _foreigner(foreigner: Foreigner, valid_until: date | None, recorded: date) -> Iterator[Finding]:
    if foreigner.permit is StayPermit.TEMPORARY:
        yield "biodata.foreigner.permit", "foreigner.permit-temporary", {}
    for name in ("permit_expires", "passport_expires"):
        day: date | None = getattr(foreigner, name)
        if day is not None and day < recorded:
            yield f"biodata.foreigner.{name}", "foreigner.expired", {}
    if valid_until is not None and valid_until > foreigner.permit_expires:
        yield "biodata.valid_until", "foreigner.expiry-after-permit", {}
