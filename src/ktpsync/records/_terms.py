"""Terms with their codes, as on the card, on form F-1.01 and in village administration software.

Source of the codes: OpenSID's enumerations (``app/Enums`` of github.com/OpenSID/OpenSID); that the ministry's own
register uses the same is unverified.
"""

from __future__ import annotations

from typing import Self

from ktpsync.records._choice import Choice


class Term(Choice):
    """A term of a form: the value is the Indonesian term, ``code`` its number."""

    code: int

    def __new__(cls, term: str, code: int = 0) -> Self:
        """Make a member from the term and its number; called with the term alone, a class returns its member."""
        member = str.__new__(cls, term)
        member._value_ = term
        member.code = code
        return member


class Sex(Term):
    """Jenis kelamin."""

    MALE = ("LAKI-LAKI", 1)
    FEMALE = ("PEREMPUAN", 2)


class BloodType(Term):
    """Golongan darah."""

    A = ("A", 1)
    B = ("B", 2)
    AB = ("AB", 3)
    O = ("O", 4)  # noqa: E741 - the blood type's name
    A_POSITIVE = ("A+", 5)
    A_NEGATIVE = ("A-", 6)
    B_POSITIVE = ("B+", 7)
    B_NEGATIVE = ("B-", 8)
    AB_POSITIVE = ("AB+", 9)
    AB_NEGATIVE = ("AB-", 10)
    O_POSITIVE = ("O+", 11)
    O_NEGATIVE = ("O-", 12)
    UNKNOWN = ("TIDAK TAHU", 13)


class Religion(Term):
    """Agama; the seventh since the constitutional ruling of 2017."""

    ISLAM = ("ISLAM", 1)
    PROTESTANT = ("KRISTEN", 2)
    CATHOLIC = ("KATOLIK", 3)
    HINDU = ("HINDU", 4)
    BUDDHIST = ("BUDDHA", 5)
    CONFUCIAN = ("KONGHUCU", 6)
    BELIEF = ("KEPERCAYAAN TERHADAP TUHAN YME", 7)


class MaritalStatus(Term):
    """Status perkawinan."""

    SINGLE = ("BELUM KAWIN", 1)
    MARRIED = ("KAWIN", 2)
    DIVORCED = ("CERAI HIDUP", 3)
    WIDOWED = ("CERAI MATI", 4)


class FamilyRelation(Term):
    """Status hubungan dalam keluarga, as on the family card."""

    HEAD = ("KEPALA KELUARGA", 1)
    HUSBAND = ("SUAMI", 2)
    WIFE = ("ISTRI", 3)
    CHILD = ("ANAK", 4)
    CHILD_IN_LAW = ("MENANTU", 5)
    GRANDCHILD = ("CUCU", 6)
    PARENT = ("ORANG TUA", 7)
    PARENT_IN_LAW = ("MERTUA", 8)
    OTHER_RELATIVE = ("FAMILI LAIN", 9)
    HOUSEHOLD_HELP = ("PEMBANTU", 10)
    OTHER = ("LAINNYA", 11)


class Disability(Term):
    """Penyandang disabilitas."""

    PHYSICAL = ("FISIK", 1)
    BLIND = ("NETRA", 2)
    DEAF_OR_MUTE = ("RUNGU/WICARA", 3)
    MENTAL = ("MENTAL", 4)
    PHYSICAL_AND_MENTAL = ("FISIK DAN MENTAL", 5)
    OTHER = ("LAINNYA", 6)
    NONE = ("TIDAK", 7)


class Citizenship(Term):
    """Kewarganegaraan."""

    INDONESIAN = ("WNI", 1)
    FOREIGN = ("WNA", 2)
    DUAL = ("DUA KEWARGANEGARAAN", 3)
    """Of children only, until 18 or married (UU 12/2006 art. 6)."""


class StayPermit(Choice):
    """Izin tinggal of a foreigner."""

    TEMPORARY = "KITAS"
    PERMANENT = "KITAP"


class Education(Term):
    """Pendidikan terakhir: highest completed, or what comes closest."""

    NONE = ("TIDAK/BELUM SEKOLAH", 1)
    SOME_PRIMARY = ("BELUM TAMAT SD/SEDERAJAT", 2)
    PRIMARY = ("TAMAT SD/SEDERAJAT", 3)
    LOWER_SECONDARY = ("SLTP/SEDERAJAT", 4)
    UPPER_SECONDARY = ("SLTA/SEDERAJAT", 5)
    DIPLOMA_I_II = ("DIPLOMA I/II", 6)
    DIPLOMA_III = ("AKADEMI/DIPLOMA III/SARJANA MUDA", 7)
    BACHELOR = ("DIPLOMA IV/STRATA I", 8)
    MASTER = ("STRATA II", 9)
    DOCTOR = ("STRATA III", 10)
