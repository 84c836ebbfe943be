"""NIK: every case of the domain's list, by its rule."""

from __future__ import annotations

import itertools
import re
from datetime import date

import pytest

from ktpsync import records
from ktpsync.errors import NikError
from ktpsync.records import Nik, Sex
from ktpsync.records._nik import PATTERN

MALE, FEMALE = Sex.MALE, Sex.FEMALE


@pytest.mark.parametrize(
    ("digits", "sex", "born"),
    [
        ("3171011708900001", MALE, [date(1990, 8, 17)]),
        ("3171015708900001", FEMALE, [date(1990, 8, 17)]),
        ("3171012902000001", MALE, [date(2000, 2, 29)]),
        ("3171016902040002", FEMALE, [date(1904, 2, 29), date(2004, 2, 29)]),
        ("3578014405920001", FEMALE, [date(1992, 5, 4)]),
        ("9404011708900001", MALE, [date(1990, 8, 17)]),
        ("9601015708950003", FEMALE, [date(1995, 8, 17)]),
        ("6501011203010001", MALE, [date(1901, 3, 12), date(2001, 3, 12)]),
        ("9501010101900001", MALE, [date(1990, 1, 1)]),
        ("9109011708900001", MALE, [date(1990, 8, 17)]),
        ("9204011503850001", MALE, [date(1985, 3, 15)]),
        ("9271010101900001", MALE, [date(1990, 1, 1)]),
        ("3199011708900001", MALE, [date(1990, 8, 17)]),
    ],
)
def test_a_nik_tells_sex_and_possible_birth_dates(digits: str, sex: Sex, born: list[date]) -> None:
    """Valid numbers are accepted, whatever today's regions are; what lies in the future is no birth date."""
    nik = Nik(digits)

    assert sex is nik.sex
    assert tuple(born) == nik.possible_birth_dates(by=date(2026, 11, 25))
    assert all(nik.may_be_born_on(day) for day in born)
    assert digits == nik.digits


def test_a_nik_shows_its_region_alone() -> None:
    """A log line, an f-string and a repr tell nobody whose it is; who needs all digits asks for them."""
    nik = Nik("3578014405920042")

    shown = "357801**********"
    assert [shown, f"  {shown}", f"Nik('{shown}')"] == [str(nik), f"{nik:>18}", repr(nik)]
    assert [shown] * 3 == [f"{nik}", "%s" % nik, "{}".format(nik)]  # noqa: UP031, UP032 - ways to say it
    assert "3578014405920042" == nik.digits


def test_without_a_day_the_possible_dates_are_those_until_today() -> None:
    """An app that asks for no day means now."""
    assert (date(1990, 8, 17),) == Nik("3171011708900001").possible_birth_dates()


def test_a_nik_has_parts() -> None:
    """Region of three depths, and the serial number; the names come from today's list."""
    nik = Nik("3578014405920042")

    assert ("35", "3578", "357801", 42) == (nik.province, nik.regency, nik.region, nik.serial)
    assert ["Jawa Timur", "Kota Surabaya"] == [
        records.region_name(code) for code in (nik.province, nik.regency)
    ]
    assert "Karang" in str(records.region_name(nik.region))
    assert records.region_name("319901") is None


@pytest.mark.parametrize(
    "digits", ["9404011708900001", "9601015708950003", "9501010101900001", "6501011203010001"]
)
def test_regions_made_since_2012_are_known(digits: str) -> None:
    """The new provinces of Papua and Kalimantan are in today's list."""
    assert records.region_name(Nik(digits).region) is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("3171013102990001", "nik.day"),
        ("3171012902010001", "nik.day"),
        ("3171014008900001", "nik.day"),
        ("3171017208900001", "nik.day"),
        ("3171018108900001", "nik.day"),
        ("3171011713900001", "nik.month"),
        ("3171011708900000", "nik.serial"),
        ("317101170890000", "nik.digits"),
        ("31710117O8900001", "nik.digits"),
        ("٣١٧١٠١١٧٠٨٩٠٠٠٠١", "nik.digits"),
        ("３１７１０１１７０８９００００１", "nik.digits"),  # noqa: RUF001 - full-width digits are the case
        ("3,17101E+15", "nik.digits"),
        ("", "nik.digits"),
    ],
)
def test_what_cannot_be_a_nik_is_refused_without_repeating_it(text: str, code: str) -> None:
    """Impossible dates, serial 0000 and other than 16 ASCII digits are errors; the message tells no digit."""
    with pytest.raises(NikError, match="NIK") as caught:
        Nik(text)

    assert isinstance(caught.value, ValueError)
    assert code == caught.value.code
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


@pytest.mark.parametrize("year", [0, 1, 2, 3, 4, 90, 96, 99])
def test_the_schema_s_pattern_is_the_same_rule(year: int) -> None:
    """Every day and month, and serials around zero: the regular expression says what the code says."""
    differ = []
    for day, month, serial in itertools.product(
        range(100), range(14), ("0000", "0001", "0010", "0100", "1000")
    ):
        digits = f"317101{day:02}{month:02}{year:02}{serial}"
        try:
            accepted = bool(Nik(digits))
        except NikError:
            accepted = False
        if accepted != bool(re.fullmatch(PATTERN, digits)):
            differ.append(digits)

    assert [] == differ
