"""What can be wrong with an enrollment: stable codes, and messages in two languages."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

Language = Literal["en", "id"]


class Severity(Enum):
    """Whether a problem blocks ``submit``."""

    ERROR = "error"
    """Blocks."""

    WARNING = "warning"
    """Travels with the packet; a person may want to look."""


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong with an enrollment. Holds no personal data.

    Args:
        path: Where, such as ``biodata.nik`` or ``biometrics.fingers.left-thumb``.
        code: Stable code; ``docs/reference/problems.md`` lists all.
        severity: Whether it blocks.
        message: A sentence for a person.
    """

    path: str
    code: str
    severity: Severity
    message: str = field(eq=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.code}]"


E, W = Severity.ERROR, Severity.WARNING

CATALOGUE: Final[Mapping[str, tuple[Severity, str, str]]] = {
    "json.field-missing": (E, "This field is missing.", "Kolom ini belum ada."),
    "json.field-unknown": (
        E,
        "This field is not known{suggestion}.",
        "Kolom ini tidak dikenal{suggestion}.",
    ),
    "json.value-invalid": (E, "The value is not {expected}.", "Nilainya bukan {expected}."),
    "file.missing": (E, "The file it names is not there.", "Berkas yang disebut tidak ada."),
    "file.outside": (
        E,
        "The file's name leaves the folder; name files inside it.",
        "Nama berkas keluar dari folder; sebutkan berkas di dalamnya.",
    ),
    "file.unreadable": (E, "The file it names cannot be read.", "Berkas yang disebut tidak dapat dibaca."),
    "file.digest-differs": (
        E,
        "The file's bytes do not have the stated SHA-256 or size.",
        "Isi berkas tidak sesuai dengan SHA-256 atau ukuran yang dinyatakan.",
    ),
    "file.format-differs": (
        E,
        "The file is not in the stated format.",
        "Format berkas tidak sesuai dengan yang dinyatakan.",
    ),
    "nik.birth-date-differs": (
        W,
        "The NIK's digits give another birth date than the stated one. A NIK is for life and may keep an old date.",
        "Tanggal lahir menurut NIK berbeda dari yang dinyatakan. NIK berlaku seumur hidup dan dapat memuat tanggal lama.",
    ),
    "nik.sex-differs": (
        W,
        "The NIK's digits give another sex than the stated one.",
        "Jenis kelamin menurut NIK berbeda dari yang dinyatakan.",
    ),
    "nik.region-unknown": (
        W,
        "The NIK's region code is not in today's list. It may be an old region's; the NIK stays valid.",
        "Kode wilayah NIK tidak ada dalam daftar saat ini. Mungkin wilayah lama; NIK tetap berlaku.",
    ),
    "name.empty": (E, "The name is empty.", "Nama kosong."),
    "name.too-long": (
        E,
        "The name has more than 60 characters (Permendagri 73/2022).",
        "Nama lebih dari 60 karakter (Permendagri 73/2022).",
    ),
    "name.one-word": (
        W,
        "The name has one word; newly recorded names have two (Permendagri 73/2022). Older names stay valid.",
        "Nama hanya satu kata; nama baru minimal dua kata (Permendagri 73/2022). Nama lama tetap berlaku.",
    ),
    "name.characters": (
        W,
        "The name has characters other than Latin letters and spaces (Permendagri 73/2022).",
        "Nama memuat karakter selain huruf Latin dan spasi (Permendagri 73/2022).",
    ),
    "text.empty": (E, "This is empty.", "Kolom ini kosong."),
    "text.digits": (E, "This is not {count} digits.", "Ini bukan {count} angka."),
    "birth-date.future": (
        E,
        "The birth date is after the recording.",
        "Tanggal lahir setelah tanggal perekaman.",
    ),
    "age.below-16": (
        W,
        "The person was younger than 16 when recorded.",
        "Usia saat perekaman di bawah 16 tahun.",
    ),
    "foreigner.expiry-missing": (
        E,
        "A foreigner's card needs its date of expiry.",
        "KTP orang asing memerlukan tanggal masa berlaku.",
    ),
    "biometrics.absent": (
        E,
        "Neither a sample nor the reason why it is missing is given.",
        "Tidak ada sampel maupun alasan ketiadaannya.",
    ),
    "sample.empty": (E, "The sample has no bytes.", "Sampel kosong."),
    "sample.too-large": (
        E,
        "The sample has more than {limit} MiB.",
        "Sampel lebih dari {limit} MiB.",
    ),
    "sample.format-unknown": (
        E,
        "The sample's bytes are in no known format; capture it again.",
        "Format isi sampel tidak dikenal; rekam ulang.",
    ),
    "sample.format-unsuited": (
        E,
        "The sample is in a format that is not used here: {found}.",
        "Sampel memakai format yang tidak dipakai di sini: {found}.",
    ),
    "sample.quality-range": (E, "Quality is 0 to 100.", "Mutu bernilai 0 sampai 100."),
    "missing.note-needed": (
        E,
        "The reason 'other' needs a note.",
        "Alasan 'lainnya' memerlukan catatan.",
    ),
    "document.format-unsuited": (
        E,
        "A document is a PDF, JPEG or PNG.",
        "Dokumen berupa PDF, JPEG, atau PNG.",
    ),
    "capture.future": (
        W,
        "The recording lies in the future; check this machine's clock.",
        "Waktu perekaman di masa depan; periksa jam komputer ini.",
    ),
    "replaces.needed": (
        E,
        "This kind of enrollment names the packet that it replaces.",
        "Jenis perekaman ini menyebut paket yang digantikannya.",
    ),
    "replaces.not-a-packet-id": (E, "This is not a packet id.", "Ini bukan ID paket."),
    "reference.too-long": (
        E,
        "The reference has more than 200 characters.",
        "Referensi lebih dari 200 karakter.",
    ),
    "reference.personal": (
        E,
        "The reference holds the person's NIK or family card number. It is kept in clear; use a number of your own.",
        "Referensi memuat NIK atau nomor KK. Referensi disimpan terbuka; pakai nomor sendiri.",
    ),
}
"""Code to severity, English message and Indonesian message."""


def problem(path: str, code: str, *, language: Language = "en", **values: object) -> Problem:
    """Return the problem with this code at this path."""
    severity, english, indonesian = CATALOGUE[code]
    text = indonesian if language == "id" else english
    return Problem(path=path, code=code, severity=severity, message=text.format(**values))


def reference_table() -> str:
    """Return all codes as a table in Markdown, for the documentation."""
    rows = [
        f"| `{code}` | {severity.value} | {english} | {indonesian} |"
        for code, (severity, english, indonesian) in sorted(CATALOGUE.items())
    ]
    return "\n".join(["| code | severity | English | Indonesian |", "|---|---|---|---|", *rows]) + "\n"
