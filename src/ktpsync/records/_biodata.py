"""Biodata: what stands on the card and on form F-1.01."""

from __future__ import annotations

from datetime import date

from attrs import field, frozen

from ktpsync.errors import UnknownCodeError
from ktpsync.records._codes import occupations
from ktpsync.records._entry import entry
from ktpsync.records._nik import Nik
from ktpsync.records._terms import (
    BloodType,
    Citizenship,
    Disability,
    Education,
    FamilyRelation,
    MaritalStatus,
    Religion,
    Sex,
    StayPermit,
)

MAX_NAME = 60
"""Characters with spaces (Permendagri 73/2022)."""

OCCUPATION_LIST = "OpenSID"
"""The list that :meth:`Occupation.of` takes from."""

_NAME_RULE = (
    "At most 60 characters with spaces; two words and Latin letters for newly recorded names, older names stay "
    "valid (Permendagri 73/2022)."
)


@frozen(kw_only=True)
class Address:
    """Alamat.

    The codes are Kemendagri's. They are what machines compare, the names what people read; a code that does not lie
    inside the one above it is an error.

    Args:
        street: Alamat: street, house number, hamlet.
        rt: RT, three digits.
        rw: RW, three digits.
        village: Kelurahan or desa.
        district: Kecamatan.
        regency: Kabupaten or kota.
        province: Provinsi.
        postal_code: Kode pos, five digits.
        province_code: Two digits.
        regency_code: Four digits: province, and regency or city.
        district_code: Six digits: regency or city, and district.
        village_code: Ten digits: district, and village.
    """

    street: str = field(repr=False, metadata=entry("Alamat", "JL. MAWAR NO. 12"))
    rt: str = field(repr=False, metadata=entry("RT", "003", digits=3))
    rw: str = field(repr=False, metadata=entry("RW", "011", digits=3))
    village: str = field(repr=False, metadata=entry("Kelurahan/Desa", "KEBRAON"))
    district: str = field(repr=False, metadata=entry("Kecamatan", "KARANGPILANG"))
    regency: str = field(repr=False, metadata=entry("Kabupaten/Kota", "KOTA SURABAYA"))
    province: str = field(metadata=entry("Provinsi", "JAWA TIMUR"))
    postal_code: str | None = field(default=None, repr=False, metadata=entry("Kode Pos", "60222", digits=5))
    province_code: str | None = field(
        default=None, metadata=entry("Kode Provinsi", "35", "Kemendagri's code.", digits=2)
    )
    regency_code: str | None = field(
        default=None,
        repr=False,
        metadata=entry("Kode Kabupaten/Kota", "3578", "Starts with the province's code.", digits=4),
    )
    district_code: str | None = field(
        default=None,
        repr=False,
        metadata=entry("Kode Kecamatan", "357801", "Starts with the regency's or city's code.", digits=6),
    )
    village_code: str | None = field(
        default=None,
        repr=False,
        metadata=entry("Kode Kelurahan/Desa", "3578011001", "Starts with the district's code.", digits=10),
    )


@frozen(kw_only=True)
class Occupation:
    """Pekerjaan: published lists differ between years, so code, text and list are kept together.

    Args:
        text: The occupation in words.
        code: Its number in the list, where it is from one.
        list_version: Which list.
    """

    text: str = field(repr=False, metadata=entry("Pekerjaan", "WIRASWASTA"))
    code: int | None = field(
        default=None,
        repr=False,
        metadata=entry(
            "Kode Pekerjaan",
            "88",
            "From the list on this page; another is kept, with a warning.",
            bounds=(1, 999, "number.range"),
        ),
    )
    list_version: str | None = field(
        default=None, metadata=entry("Daftar Pekerjaan", OCCUPATION_LIST, "Which list the code is from.")
    )

    @classmethod
    def of(cls, code: int) -> Occupation:
        """Return the occupation with this code in the list that comes with ktpsync.

        Raises:
            UnknownCodeError: There is none.
        """
        text = occupations().get(code)
        if text is None:
            raise UnknownCodeError(
                f"The occupation's code is not in the list {OCCUPATION_LIST} that comes with ktpsync, "
                f"{min(occupations())} to {max(occupations())}. For a code of another list give text, code and "
                "list_version."
            )
        return cls(text=text, code=code, list_version=OCCUPATION_LIST)


@frozen(kw_only=True)
class Parent:
    """Orang tua.

    Args:
        full_name: Nama lengkap.
        nik: NIK, where it is known.
    """

    full_name: str = field(
        repr=False, metadata=entry("Nama Lengkap", "SRI WAHYUNI", _NAME_RULE, kind="name", longest=MAX_NAME)
    )
    nik: Nik | None = field(default=None, metadata=entry("NIK", "3578014107650002"))


@frozen(kw_only=True)
class Foreigner:
    """Orang asing: what is recorded of residents with another citizenship.

    Args:
        nationality: Kebangsaan.
        passport_number: Nomor paspor.
        permit: Izin tinggal; the card is for holders of a KITAP (UU 23/2006 art. 63).
        permit_number: Nomor KITAS/KITAP.
        permit_expires: When the permit ends.
        passport_expires: When the passport ends.
    """

    nationality: str = field(repr=False, metadata=entry("Kebangsaan", "JEPANG"))
    passport_number: str = field(
        repr=False,
        metadata=entry("Nomor Paspor", "TK1234567", longest=20),
    )
    permit: StayPermit = field(
        repr=False,
        metadata=entry(
            "Izin Tinggal", "KITAP", "The card is for holders of a KITAP (UU 23/2006 art. 63); KITAS warns."
        ),
    )
    permit_number: str = field(repr=False, metadata=entry("Nomor KITAS/KITAP", "2D41JE0001-T", longest=30))
    permit_expires: date = field(
        repr=False,
        metadata=entry("Tanggal Berakhir KITAS/KITAP", "2031-05-31", "Warns if before the recording."),
    )
    passport_expires: date | None = field(
        default=None,
        repr=False,
        metadata=entry("Tanggal Berakhir Paspor", "2029-10-01", "Warns if before the recording."),
    )


@frozen(kw_only=True)
class Biodata:
    """Who the person is. Its ``repr`` shows none of it.

    Args:
        nik: NIK; everybody who is recorded has one already.
        family_card_number: No. KK, 16 digits.
        full_name: Nama lengkap.
        place_of_birth: Tempat lahir.
        date_of_birth: Tanggal lahir.
        sex: Jenis kelamin.
        address: Alamat.
        religion: Agama.
        marital_status: Status perkawinan.
        occupation: Pekerjaan.
        citizenship: Kewarganegaraan.
        blood_type: Golongan darah.
        education: Pendidikan.
        family_relation: Status hubungan dalam keluarga.
        disability: Penyandang disabilitas.
        birth_certificate: Nomor akta kelahiran.
        marriage_certificate: Nomor akta perkawinan or buku nikah.
        marriage_date: Tanggal perkawinan.
        divorce_certificate: Nomor akta perceraian.
        divorce_date: Tanggal perceraian.
        father: Ayah.
        mother: Ibu.
        valid_until: Masa berlaku of a foreigner's card; ``None``: for life (``SEUMUR HIDUP``).
        foreigner: For residents with another citizenship only.
    """

    nik: Nik = field(
        metadata=entry(
            "NIK",
            "3578014405920001",
            "16 digits. Birth date and sex that differ from the stated ones, and a region that is not in today's list, "
            "only warn: a NIK never changes (PP 40/2019 art. 30(2)).",
        )
    )
    family_card_number: str = field(
        repr=False, metadata=entry("Nomor Kartu Keluarga", "3578010203150004", digits=16)
    )
    full_name: str = field(
        repr=False, metadata=entry("Nama Lengkap", "DEWI LESTARI", _NAME_RULE, kind="name", longest=MAX_NAME)
    )
    place_of_birth: str = field(repr=False, metadata=entry("Tempat Lahir", "SURABAYA"))
    date_of_birth: date = field(
        repr=False,
        metadata=entry(
            "Tanggal Lahir",
            "1992-05-04",
            "Not after the recording. Under 16 and never married warns: recording is from 16, the card from 17 or "
            "marriage (UU 24/2013 art. 63).",
        ),
    )
    sex: Sex = field(repr=False, metadata=entry("Jenis Kelamin", "PEREMPUAN"))
    address: Address = field(repr=False, metadata=entry("Alamat"))
    religion: Religion = field(repr=False, metadata=entry("Agama", "ISLAM"))
    marital_status: MaritalStatus = field(repr=False, metadata=entry("Status Perkawinan", "KAWIN"))
    occupation: Occupation = field(repr=False, metadata=entry("Pekerjaan"))
    citizenship: Citizenship = field(
        default=Citizenship.INDONESIAN, metadata=entry("Kewarganegaraan", "WNI", "Default: WNI.")
    )
    blood_type: BloodType = field(
        default=BloodType.UNKNOWN,
        repr=False,
        metadata=entry("Golongan Darah", "O", "Default: TIDAK TAHU."),
    )
    education: Education | None = field(
        default=None, repr=False, metadata=entry("Pendidikan Terakhir", "SLTA/SEDERAJAT")
    )
    family_relation: FamilyRelation | None = field(
        default=None, repr=False, metadata=entry("Status Hubungan Dalam Keluarga", "ISTRI")
    )
    disability: Disability | None = field(
        default=None, repr=False, metadata=entry("Penyandang Disabilitas", "TIDAK")
    )
    birth_certificate: str | None = field(
        default=None, repr=False, metadata=entry("Nomor Akta Kelahiran", "3578-LT-04051992-0012", longest=50)
    )
    marriage_certificate: str | None = field(
        default=None,
        repr=False,
        metadata=entry("Nomor Akta Perkawinan/Buku Nikah", "0123/045/VI/2015", longest=50),
    )
    marriage_date: date | None = field(
        default=None,
        repr=False,
        metadata=entry("Tanggal Perkawinan", "2015-06-20", "After birth, not after the recording."),
    )
    divorce_certificate: str | None = field(
        default=None, repr=False, metadata=entry("Nomor Akta Perceraian", "0456/AC/2019/PA.SBY", longest=50)
    )
    divorce_date: date | None = field(
        default=None,
        repr=False,
        metadata=entry("Tanggal Perceraian", "2019-02-11", "After birth, not after the recording."),
    )
    father: Parent | None = field(default=None, repr=False, metadata=entry("Ayah"))
    mother: Parent | None = field(default=None, repr=False, metadata=entry("Ibu"))
    valid_until: date | None = field(
        default=None,
        repr=False,
        metadata=entry(
            "Masa Berlaku",
            "2031-05-31",
            "For WNA only, where it is needed; empty for WNI: SEUMUR HIDUP. Warns if after the permit's end.",
        ),
    )
    foreigner: Foreigner | None = field(
        default=None, repr=False, metadata=entry("Orang Asing", rule="Needed for WNA.")
    )
