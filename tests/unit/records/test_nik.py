"""NIK: every case of the domain's list, by its rule."""

from __future__ import annotations

from datetime import date

import pytest

from ktpsync import records
from ktpsync.records import Nik, Sex

MALE, FEMALE = Sex.MALE, Sex.FEMALE


@pytest.mark.parametrize(
    ("digits", "sex", "born"),
    [
        ("3171011708900001", MALE, date(1990, 8, 17)),
        ("3171015708900001", FEMALE, date(1990, 8, 17)),
        ("3171012902000001", MALE, date(2000, 2, 29)),
        ("3171016902040002", FEMALE, date(1904, 2, 29)),
        ("3171016902040002", FEMALE, date(2004, 2, 29)),
        ("3578014405920001", FEMALE, date(1992, 5, 4)),
        ("9404011708900001", MALE, date(1990, 8, 17)),
        ("9601015708950003", FEMALE, date(1995, 8, 17)),
        ("6501011203010001", MALE, date(1901, 3, 12)),
        ("6501011203010001", MALE, date(2001, 3, 12)),
        ("9501010101900001", MALE, date(1990, 1, 1)),
        ("9109011708900001", MALE, date(1990, 8, 17)),
        ("9204011503850001", MALE, date(1985, 3, 15)),
        ("9271010101900001", MALE, date(1990, 1, 1)),
        ("3199011708900001", MALE, date(1990, 8, 17)),
    ],
)
def test_a_nik_tells_sex_and_possible_birth_dates(digits: str, sex: Sex, born: date) -> None:
    """Valid numbers are accepted, whatever today's regions are."""
    nik = Nik(digits)

    assert sex is nik.sex
    assert nik.may_be_born_on(born)
    assert digits == str(nik)


@pytest.mark.parametrize(
    "text",
    [
        "3171013102990001",
        "3171012902010001",
        "3171014008900001",
        "3171017208900001",
        "3171018108900001",
        "3171011713900001",
        "3171011708900000",
        "317101170890000",
        "31710117O8900001",
        "٣١٧١٠١١٧٠٨٩٠٠٠٠١",
        "３１７１０１１７０８９００００１",  # noqa: RUF001 - full-width digits are the case
        "",
    ],
)
def test_what_cannot_be_a_nik_is_refused_without_repeating_it(text: str) -> None:
    """Impossible dates, serial 0000 and other than 16 ASCII digits are errors; the message tells no digit."""
    with pytest.raises(ValueError, match="NIK") as caught:
        Nik(text)

    assert not text or text not in str(caught.value)


def test_separators_are_dropped() -> None:
    """People write NIKs with spaces, dots and hyphens."""
    assert Nik("3171011708900001") == Nik("317101.170890-0001") == Nik("3171 0117 0890 0001")


def test_repr_shows_the_region_only() -> None:
    """A NIK in a log line gives nobody away."""
    assert "Nik('317101**********')" == repr(Nik("3171011708900001"))


@pytest.mark.parametrize(
    "digits", ["9109011708900001", "9204011503850001", "9271010101900001", "3199011708900001"]
)
def test_an_old_or_unknown_region_is_a_warning(digits: str) -> None:
    """A NIK keeps its region's code for life: nobody is turned away for it."""
    from attrs import evolve

    from ktpsync.testing import make_enrollment

    enrollment = make_enrollment(1)
    enrollment = evolve(enrollment, biodata=evolve(enrollment.biodata, nik=Nik(digits)))

    found = {(problem.code, problem.severity) for problem in records.problems(enrollment)}

    assert ("nik.region-unknown", records.Severity.WARNING) in found
    records.validate(enrollment)
