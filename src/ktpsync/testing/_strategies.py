"""Hypothesis strategies of everything that a valid enrollment may be."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Final

from attrs import evolve
from hypothesis import strategies as st

from ktpsync.packet import new_packet_id
from ktpsync.records import (
    Address,
    Biodata,
    Biometrics,
    BloodType,
    Citizenship,
    Disability,
    Document,
    DocumentKind,
    Education,
    Enrollment,
    Eye,
    FamilyRelation,
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
    Religion,
    Sample,
    Sex,
    StayPermit,
)
from ktpsync.testing._factory import make_enrollment, make_nik
from ktpsync.testing._images import make_sample

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

_RECORDED: Final = datetime(2017, 3, 17, 2, 30, tzinfo=UTC)
_FINGER_KINDS: Final[tuple[Format, ...]] = (Format.FINGER_IMAGE, Format.WSQ, Format.PNG)
_EYE_KINDS: Final[tuple[Format, ...]] = (Format.IRIS_IMAGE, Format.PNG)


def texts(longest: int = 60) -> SearchStrategy[str]:
    """Return texts that a form takes: anything that can be shown, and not blank.

    Args:
        longest: Characters, at most.
    """
    shown = st.characters(exclude_categories=("Cs", "Cc"))
    return st.text(shown, min_size=1, max_size=longest).filter(lambda text: bool(text.strip()))


def niks() -> SearchStrategy[Nik]:
    """Return NIKs of any region, born 1900 to 2017."""
    return st.builds(
        make_nik,
        st.from_regex("[0-9]{6}", fullmatch=True),
        st.dates(date(1900, 1, 1), date(2017, 3, 16)),
        st.sampled_from(Sex),
        st.integers(1, 9999),
    )


def enrollments() -> SearchStrategy[Enrollment]:
    """Return valid enrollments: they may have warnings, and have no errors."""
    return _enrollments()


@st.composite
def _enrollments(draw: DrawFn) -> Enrollment:
    base = make_enrollment(draw(st.integers(0, 20)), size=4000)
    kind = draw(st.sampled_from(Kind))
    replaces = kind in {Kind.RE_RECORDING, Kind.CORRECTION} or (
        kind is Kind.REPLACEMENT and draw(st.booleans())
    )
    zone = timezone(timedelta(hours=draw(st.sampled_from((0, 7, 8, 9)))))
    captured_at = _RECORDED.astimezone(zone) + timedelta(microseconds=draw(st.integers(0, 10**12)))
    return Enrollment(
        biodata=draw(_biodata(base.biodata)),
        biometrics=draw(_biometrics()),
        capture=evolve(
            base.capture,
            station=draw(texts()),
            operator=draw(texts()),
            captured_at=captured_at,
            supervisor=draw(st.none() | texts()),
            witness=draw(st.none() | texts()),
            software=draw(st.none() | texts()),
        ),
        kind=kind,
        documents=draw(st.lists(_documents(), max_size=2)),
        reference=draw(st.none() | st.from_regex("[0-9]{1,6}(?:[/-][0-9]{1,6})?", fullmatch=True)),
        replaces=new_packet_id() if replaces else None,
    )


@st.composite
def _biodata(draw: DrawFn, base: Biodata) -> Biodata:
    foreign = draw(st.booleans())
    born = draw(st.dates(date(1920, 1, 1), date(2017, 3, 16)))
    later = st.none() | st.dates(born + timedelta(days=1), date(2017, 3, 17))
    return Biodata(
        nik=draw(niks()),
        family_card_number=draw(st.from_regex("[0-9]{16}", fullmatch=True)),
        full_name=draw(texts()),
        place_of_birth=draw(texts(200)),
        date_of_birth=born,
        sex=draw(st.sampled_from(Sex)),
        address=draw(_address(base.address)),
        religion=draw(st.sampled_from(Religion)),
        marital_status=draw(st.sampled_from(MaritalStatus)),
        occupation=Occupation(
            text=draw(texts()),
            code=draw(st.none() | st.integers(1, 999)),
            list_version=draw(st.none() | texts()),
        ),
        citizenship=Citizenship.FOREIGN if foreign else Citizenship.INDONESIAN,
        blood_type=draw(st.sampled_from(BloodType)),
        education=draw(st.none() | st.sampled_from(Education)),
        family_relation=draw(st.none() | st.sampled_from(FamilyRelation)),
        disability=draw(st.none() | st.sampled_from(Disability)),
        birth_certificate=draw(st.none() | texts(50)),
        marriage_date=draw(later),
        divorce_date=draw(later),
        father=draw(st.none() | st.builds(Parent, full_name=texts(), nik=st.none() | niks())),
        valid_until=draw(st.dates()) if foreign else None,
        foreigner=draw(_foreigners()) if foreign else None,
    )


def _foreigners() -> SearchStrategy[Foreigner]:
    return st.builds(
        Foreigner,
        nationality=texts(),
        passport_number=texts(20),
        permit=st.sampled_from(StayPermit),
        permit_number=texts(30),
        permit_expires=st.dates(),
        passport_expires=st.none() | st.dates(),
    )


@st.composite
def _address(draw: DrawFn, base: Address) -> Address:
    return evolve(
        base,
        street=draw(texts(200)),
        village=draw(texts()),
        postal_code=draw(st.none() | st.from_regex("[0-9]{5}", fullmatch=True)),
        village_code=draw(st.sampled_from((None, base.village_code))),
    )


@st.composite
def _biometrics(draw: DrawFn) -> Biometrics:
    random = Random(draw(st.integers(0, 1000)))  # noqa: S311 - reproducible, not secret
    return Biometrics(
        fingers={place: draw(_entry(random, place)) for place in Finger},
        irises={place: draw(_entry(random, place)) for place in Eye},
        face=draw(_entry(random, None)),
        signature=draw(_entry(random, None)),
    )


@st.composite
def _entry(draw: DrawFn, random: Random, place: Finger | Eye | None) -> Sample | Missing:
    if draw(st.integers(0, 9)) == 0:
        return Missing(
            reason=draw(st.sampled_from(MissingReason)), permanent=draw(st.booleans()), note=draw(texts())
        )
    kinds = _FINGER_KINDS if isinstance(place, Finger) else _EYE_KINDS if place else (Format.PNG,)
    moment = _RECORDED + timedelta(milliseconds=draw(st.integers(0, 10**9)))
    return Sample(
        data=make_sample(draw(st.sampled_from(kinds)), size=300, random=random, place=place),
        quality=draw(st.none() | st.integers(0, 100)),
        device=draw(st.sampled_from((None, "made-up device"))),
        captured_at=draw(st.sampled_from((None, moment))),
    )


@st.composite
def _documents(draw: DrawFn) -> Document:
    random = Random(draw(st.integers(0, 1000)))  # noqa: S311 - reproducible, not secret
    kind = draw(st.sampled_from((Format.PDF, Format.JPEG, Format.PNG)))
    return Document(
        kind=draw(st.sampled_from(DocumentKind)),
        scan=Sample(data=make_sample(kind, size=1500, random=random)),
    )
