"""Every problem that an enrollment can have: stable code, severity, and the message in two languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Texts:
    """What is said of a code.

    Args:
        severity: ``error`` blocks, ``warning`` travels with the packet.
        english: The message; ``{...}`` stands for a detail.
        indonesian: The same in Indonesian.
    """

    severity: Literal["error", "warning"]
    english: str
    indonesian: str


def _error(english: str, indonesian: str) -> Texts:
    return Texts("error", english, indonesian)


def _warning(english: str, indonesian: str) -> Texts:
    return Texts("warning", english, indonesian)


_JSON: Final = {
    "json.field-missing": _error("This field is missing.", "Kolom ini belum ada."),
    "json.field-unknown": _error(
        "This field is not known{suggestion:; perhaps '%s' is meant}.",
        "Kolom ini tidak dikenal{suggestion:; mungkin maksudnya '%s'}.",
    ),
    "json.not-text": _error("This is not a text.", "Ini bukan teks."),
    "json.not-a-whole-number": _error("This is not a whole number.", "Ini bukan bilangan bulat."),
    "json.not-yes-or-no": _error("This is neither true nor false.", "Ini bukan true atau false."),
    "json.not-an-object": _error("This is not an object with fields.", "Ini bukan objek berisi kolom."),
    "json.not-a-list": _error("This is not a list.", "Ini bukan daftar."),
    "json.not-a-date": _error(
        "This is not a date of the calendar, written like 1990-08-17.",
        "Ini bukan tanggal kalender yang ditulis seperti 1990-08-17.",
    ),
    "json.not-a-time": _error(
        "This is not a time with its zone, written like 2017-03-17T09:30:00+07:00.",
        "Ini bukan waktu dengan zonanya, ditulis seperti 2017-03-17T09:30:00+07:00.",
    ),
    "json.not-a-choice": _error("This is not one of: {choices}.", "Ini bukan salah satu dari: {choices}."),
    "json.value-invalid": _error("This value cannot be used here.", "Nilai ini tidak dapat dipakai di sini."),
}

_IMPORT: Final = {
    "file.missing": _error("The file it names is not there.", "Berkas yang disebut tidak ada."),
    "file.outside": _error(
        "The file's name leaves the folder; name files inside it.",
        "Nama berkas keluar dari folder; sebutkan berkas di dalamnya.",
    ),
    "file.unreadable": _error("The file it names cannot be read.", "Berkas yang disebut tidak dapat dibaca."),
    "file.digest-differs": _error(
        "The file's bytes do not have the stated SHA-256 or size; copy it again.",
        "Isi berkas tidak sesuai dengan SHA-256 atau ukuran yang dinyatakan; salin lagi.",
    ),
    "file.format-differs": _error(
        "The file is not in the stated format.", "Format berkas tidak sesuai dengan yang dinyatakan."
    ),
    "import.reference-needed": _error(
        "An import needs a reference of your own for each person, so that running it again records nobody twice.",
        "Impor memerlukan referensi sendiri untuk setiap orang, agar impor ulang tidak merekam dua kali.",
    ),
    "import.reference-repeated": _error(
        "Another one in this import has the same reference: {other}.",
        "Data lain dalam impor ini memakai referensi yang sama: {other}.",
    ),
    "import.column-repeated": _error("This column is there twice.", "Kolom ini ada dua kali."),
    "import.row-longer": _error(
        "The row has more cells than there are columns; look for a stray separator.",
        "Baris ini memiliki sel lebih banyak daripada kolom; periksa pemisah yang berlebih.",
    ),
}

_BIODATA: Final = {
    "nik.digits": _error(
        "A NIK has 16 digits, 0 to 9. A spreadsheet may have turned it into a rounded number: format the column as text.",
        "NIK terdiri dari 16 angka, 0 sampai 9. Lembar kerja mungkin membulatkannya: format kolom sebagai teks.",
    ),
    "nik.serial": _error(
        "A NIK's serial number, its last four digits, starts at 0001.",
        "Nomor urut NIK, empat angka terakhir, dimulai dari 0001.",
    ),
    "nik.month": _error(
        "A NIK's digits 9 and 10 are a month, 01 to 12.",
        "Angka ke-9 dan ke-10 NIK adalah bulan, 01 sampai 12.",
    ),
    "nik.day": _error(
        "A NIK's digits 7 to 10 are a day and month of the calendar; women's days are plus 40.",
        "Angka ke-7 sampai ke-10 NIK adalah tanggal dan bulan kalender; tanggal perempuan ditambah 40.",
    ),
    "nik.birth-date-differs": _warning(
        "The NIK's digits give another birth date than the stated one. A NIK is for life and may keep an old date.",
        "Tanggal lahir menurut NIK berbeda dari yang dinyatakan. NIK berlaku seumur hidup dan dapat memuat tanggal lama.",
    ),
    "nik.sex-differs": _warning(
        "The NIK's digits give another sex than the stated one.",
        "Jenis kelamin menurut NIK berbeda dari yang dinyatakan.",
    ),
    "nik.region-unknown": _warning(
        "The NIK's region code is not in today's list. It may be an old region's; the NIK stays valid.",
        "Kode wilayah NIK tidak ada dalam daftar saat ini. Mungkin wilayah lama; NIK tetap berlaku.",
    ),
    "name.empty": _error("The name is empty.", "Nama kosong."),
    "name.too-long": _error(
        "The name has more than 60 characters (Permendagri 73/2022).",
        "Nama lebih dari 60 karakter (Permendagri 73/2022).",
    ),
    "name.one-word": _warning(
        "The name has one word; newly recorded names have two (Permendagri 73/2022). Older names stay valid.",
        "Nama hanya satu kata; nama baru minimal dua kata (Permendagri 73/2022). Nama lama tetap berlaku.",
    ),
    "name.characters": _warning(
        "The name has characters other than Latin letters and spaces (Permendagri 73/2022).",
        "Nama memuat karakter selain huruf Latin dan spasi (Permendagri 73/2022).",
    ),
    "text.empty": _error("This is empty.", "Kolom ini kosong."),
    "text.too-long": _error(
        "This has more than {limit} characters.", "Kolom ini lebih dari {limit} karakter."
    ),
    "text.characters": _error(
        "This has characters that cannot be shown, such as a line break or a tab.",
        "Kolom ini memuat karakter yang tidak dapat ditampilkan, seperti ganti baris atau tab.",
    ),
    "text.digits": _error("This is not {count} digits.", "Ini bukan {count} angka."),
    "number.range": _error("This is not {low} to {high}.", "Nilainya bukan {low} sampai {high}."),
    "region.codes-disagree": _error(
        "This code does not start with the code of {above}.", "Kode ini tidak diawali kode {above}."
    ),
    "region.code-missing": _warning(
        "The district's code is missing; machines compare addresses by it.",
        "Kode kecamatan belum ada; komputer membandingkan alamat menurut kode ini.",
    ),
    "region.code-unknown": _warning(
        "This code is not in today's list of regions.", "Kode ini tidak ada dalam daftar wilayah saat ini."
    ),
    "region.name-differs": _warning(
        "The name is not the one that its code has in today's list.",
        "Nama tidak sesuai dengan kodenya dalam daftar saat ini.",
    ),
    "birth-date.future": _error(
        "The birth date is after the recording.", "Tanggal lahir setelah tanggal perekaman."
    ),
    "age.below-16": _warning(
        "The person was younger than 16 when recorded, and never married.",
        "Usia saat perekaman di bawah 16 tahun dan belum pernah kawin.",
    ),
    "date.impossible": _error(
        "This date is before the person's birth or after the recording.",
        "Tanggal ini sebelum tanggal lahir atau setelah perekaman.",
    ),
    "occupation.code-unknown": _warning(
        "This code is not in the list of occupations; it is kept.",
        "Kode ini tidak ada dalam daftar pekerjaan; tetap disimpan.",
    ),
    "occupation.text-differs": _warning(
        "The text is not the one that its code has in the list.",
        "Teks tidak sesuai dengan kodenya dalam daftar.",
    ),
    "foreigner.data-missing": _error(
        "A foreigner needs nationality, passport and stay permit.",
        "Orang asing memerlukan kebangsaan, paspor, dan izin tinggal.",
    ),
    "foreigner.expiry-missing": _error(
        "A foreigner's card needs its date of expiry.", "KTP orang asing memerlukan tanggal masa berlaku."
    ),
    "foreigner.expiry-after-permit": _warning(
        "The card would outlast the stay permit (UU 23/2006 art. 64).",
        "Masa berlaku KTP melebihi izin tinggal (UU 23/2006 pasal 64).",
    ),
    "foreigner.permit-temporary": _warning(
        "The card is for holders of a permanent permit, KITAP (UU 23/2006 art. 63).",
        "KTP diperuntukkan bagi pemegang izin tinggal tetap, KITAP (UU 23/2006 pasal 63).",
    ),
    "foreigner.expired": _warning(
        "It had ended before the recording.", "Masa berlakunya habis sebelum perekaman."
    ),
    "citizen.foreigner-data": _warning(
        "This is for foreigners only; a citizen's card is valid for life.",
        "Kolom ini hanya untuk orang asing; KTP WNI berlaku seumur hidup.",
    ),
}

_BIOMETRICS: Final = {
    "biometrics.absent": _error(
        "Neither a sample nor the reason why it is missing is given.",
        "Tidak ada sampel maupun alasan ketiadaannya.",
    ),
    "sample.not-bytes": _error(
        "The sample's data is not bytes; read its file first.",
        "Data sampel bukan byte; baca dahulu berkasnya.",
    ),
    "sample.empty": _error("The sample has no bytes.", "Sampel kosong."),
    "sample.too-large": _error("The sample has more than {limit} MiB.", "Sampel lebih dari {limit} MiB."),
    "sample.format-unknown": _error(
        "The sample's bytes are in no known format; capture it again.",
        "Format isi sampel tidak dikenal; rekam ulang.",
    ),
    "sample.format-unsuited": _error(
        "The sample is in a format that is not used here: {found}.",
        "Sampel memakai format yang tidak dipakai di sini: {found}.",
    ),
    "sample.truncated": _error(
        "The sample ends too early: its file was cut short. Copy or capture it again.",
        "Sampel terpotong sebelum akhir. Salin atau rekam ulang.",
    ),
    "sample.damaged": _error(
        "The sample's header is damaged; copy or capture it again.",
        "Header berkas sampel rusak; salin atau rekam ulang.",
    ),
    "sample.longer": _error(
        "The sample has {count} bytes after the end that it states.",
        "Sampel memiliki {count} byte setelah akhir yang dinyatakannya.",
    ),
    "sample.content-differs": _error(
        "The picture in the record is not in the format that the record states.",
        "Gambar di dalam rekaman tidak berformat seperti yang dinyatakan rekaman.",
    ),
    "sample.size-differs": _error(
        "The record states {stated} pixels, its picture has {found}.",
        "Rekaman menyatakan {stated} piksel, gambarnya {found}.",
    ),
    "sample.edition-unread": _warning(
        "The record is of an edition whose header is not read here ({edition}); it is kept unchecked.",
        "Header rekaman edisi ini tidak dibaca di sini ({edition}); disimpan tanpa diperiksa.",
    ),
    "sample.position-differs": _error(
        "The record says that it is another one: {found}. Put it in its place or capture it again.",
        "Rekaman menyatakan posisi lain: {found}. Tempatkan dengan benar atau rekam ulang.",
    ),
    "sample.positions-many": _error(
        "The record shows several fingers or eyes; each has its own sample.",
        "Rekaman memuat beberapa jari atau mata; masing-masing memiliki sampelnya.",
    ),
    "sample.repeated": _warning(
        "The sample has the same bytes as another one: {other}.",
        "Isi sampel sama dengan sampel lain: {other}.",
    ),
    "sample.quality-range": _error("Quality is 0 to 100.", "Mutu bernilai 0 sampai 100."),
    "missing.note-needed": _error(
        "The reason 'other' needs a note.", "Alasan 'other' (lainnya) memerlukan catatan."
    ),
    "missing.reason-unsuited": _warning(
        "This reason does not belong to this part of the body.",
        "Alasan ini tidak sesuai untuk bagian tubuh ini.",
    ),
    "document.format-unsuited": _error(
        "A document is a PDF, JPEG or PNG, not {found}.", "Dokumen berupa PDF, JPEG, atau PNG, bukan {found}."
    ),
    "documents.too-many": _error(
        "There are more than {limit} documents.", "Dokumen lebih dari {limit} berkas."
    ),
    "enrollment.too-large": _error(
        "All samples and documents together have more than {limit} MiB.",
        "Semua sampel dan dokumen bersama lebih dari {limit} MiB.",
    ),
}

_CAPTURE: Final = {
    "capture.office-unknown": _warning(
        "The office's code is not a regency's or city's in today's list.",
        "Kode kantor bukan kabupaten/kota dalam daftar saat ini.",
    ),
    "capture.future": _warning(
        "The recording lies in the future; check this machine's clock.",
        "Waktu perekaman di masa depan; periksa jam komputer ini.",
    ),
    "replaces.needed": _error(
        "This kind of enrollment names the packet that it replaces.",
        "Jenis perekaman ini menyebut paket yang digantikannya.",
    ),
    "replaces.not-for-first": _error(
        "A first recording replaces no packet; use another kind.",
        "Perekaman pertama tidak menggantikan paket; pilih jenis lain.",
    ),
    "replaces.not-a-packet-id": _error("This is not a packet id.", "Ini bukan ID paket."),
    "replaces.other-person": _warning(
        "The packet to be replaced is of another person; check its id.",
        "Paket yang digantikan adalah milik orang lain; periksa ID-nya.",
    ),
    "replaces.unknown": _warning(
        "The packet to be replaced is not in this outbox. Another station may have made it; check its id.",
        "Paket yang digantikan tidak ada dalam antrean ini. Mungkin dibuat di tempat lain; periksa ID-nya.",
    ),
    "reference.personal": _error(
        "The reference holds a NIK, the family card number or a name of the person or a parent. It is kept in clear; use a "
        "number of your own.",
        "Referensi memuat NIK, nomor KK, atau nama orang atau orang tuanya. Referensi disimpan terbuka; pakai nomor sendiri.",
    ),
    "reference.name-part": _warning(
        "The reference holds a word of the person's or a parent's name. It is kept in clear; use a number of your own.",
        "Referensi memuat sebagian nama orang atau orang tuanya. Referensi disimpan terbuka; pakai nomor sendiri.",
    ),
}

CATALOGUE: Final[Mapping[str, Texts]] = {**_JSON, **_IMPORT, **_BIODATA, **_BIOMETRICS, **_CAPTURE}
"""Code to what is said of it."""

IN_SCHEMA: Final = frozenset(
    {
        *(code for code in _JSON if code != "json.value-invalid"),
        "nik.digits",
        "nik.serial",
        "nik.month",
        "nik.day",
        "name.empty",
        "name.too-long",
        "text.empty",
        "text.too-long",
        "text.characters",
        "text.digits",
        "number.range",
        "biometrics.absent",
        "sample.quality-range",
        "documents.too-many",
        "replaces.not-a-packet-id",
    }
)
"""The codes whose rules the published JSON Schema states too: of one field at a time, without files."""
