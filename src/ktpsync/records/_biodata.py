"""Biodata: what stands on the card and on form F-1.01."""

from __future__ import annotations

from datetime import date

from attrs import field, frozen

from ktpsync.records._nik import Nik
from ktpsync.records._terms import BloodType, Citizenship, Education, MaritalStatus, Religion, Sex


@frozen(kw_only=True)
class Address:
    """Alamat.

    Args:
        street: Alamat: street, house number, hamlet.
        rt: RT, three digits.
        rw: RW, three digits.
        village: Kelurahan or desa.
        district: Kecamatan.
        regency: Kabupaten or kota.
        province: Provinsi.
        postal_code: Kode pos, five digits.
    """

    street: str = field(repr=False)
    rt: str = field(repr=False)
    rw: str = field(repr=False)
    village: str = field(repr=False)
    district: str = field(repr=False)
    regency: str = field(repr=False)
    province: str
    postal_code: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Occupation:
    """Pekerjaan: published lists differ between years, so code, text and list are kept together.

    Args:
        text: The occupation in words.
        code: Its number in the list, where it is from one.
        list_version: Which list.
    """

    text: str = field(repr=False)
    code: int | None = field(default=None, repr=False)
    list_version: str | None = None


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
        valid_until: Masa berlaku of a foreigner's card; ``None``: for life (``SEUMUR HIDUP``).
    """

    nik: Nik
    family_card_number: str = field(repr=False)
    full_name: str = field(repr=False)
    place_of_birth: str = field(repr=False)
    date_of_birth: date = field(repr=False)
    sex: Sex = field(repr=False)
    address: Address = field(repr=False)
    religion: Religion = field(repr=False)
    marital_status: MaritalStatus = field(repr=False)
    occupation: Occupation = field(repr=False)
    citizenship: Citizenship = Citizenship.INDONESIAN
    blood_type: BloodType = field(default=BloodType.UNKNOWN, repr=False)
    education: Education | None = field(default=None, repr=False)
    valid_until: date | None = field(default=None, repr=False)
