"""The enrollment: one person, recorded at one office at one time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from attrs import Factory, field, frozen

from ktpsync.records._biodata import Biodata
from ktpsync.records._biometrics import Biometrics, Sample
from ktpsync.records._choice import Choice
from ktpsync.records._entry import entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.records._nik import Nik

PACKET_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""A UUIDv7 in its canonical form (RFC 9562), as a regular expression."""


class Kind(Choice):
    """Why the person is recorded."""

    FIRST = "first"
    RE_RECORDING = "re-recording"
    """After a failure status; names the packet it replaces."""

    CORRECTION = "correction"
    """Of wrong data; names the packet it replaces."""

    REPLACEMENT = "replacement"
    """Of a lost or damaged card."""


class DocumentKind(Choice):
    """A scanned document."""

    FAMILY_CARD = "family-card"
    BIRTH_CERTIFICATE = "birth-certificate"
    MARRIAGE_CERTIFICATE = "marriage-certificate"
    PASSPORT = "passport"
    STAY_PERMIT = "stay-permit"
    POLICE_REPORT = "police-report"
    OTHER = "other"


@frozen(kw_only=True)
class Document:
    """A scan that belongs to the enrollment.

    Args:
        kind: What it shows.
        scan: PDF, JPEG or PNG.
    """

    kind: DocumentKind = field(metadata=entry("Jenis Dokumen", "family-card"))
    scan: Sample


def _in_a_row(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return the documents as a tuple. What is none of them is kept, to be told as a problem."""
    try:
        return tuple(documents)
    except TypeError:
        return cast("tuple[Document, ...]", documents)


@frozen(kw_only=True)
class Capture:
    """Who recorded, where and when.

    Args:
        office: The regency's or city's code, four digits.
        station: The capture machine's name.
        operator: The operator's login or number.
        captured_at: When (aware).
        supervisor: Who approved it, where that is done.
        witness: Who was present and vouches, such as for somebody who cannot sign.
        software: Name and version of the capture program.
    """

    office: str = field(
        metadata=entry("Kode Kantor", "3578", "Kemendagri's code of the regency or city.", digits=4)
    )
    station: str = field(metadata=entry("Nama Alat", "loket-2", longest=60))
    operator: str = field(repr=False, metadata=entry("Operator", "op-17", longest=60))
    captured_at: datetime = field(
        metadata=entry(
            "Waktu Perekaman", "2017-03-17T09:30:00+07:00", "With its time zone. A time in the future warns."
        ),
    )
    supervisor: str | None = field(
        default=None, repr=False, metadata=entry("Disetujui Oleh", "spv-3", longest=60)
    )
    witness: str | None = field(default=None, repr=False, metadata=entry("Saksi", "wit-9", longest=60))
    software: str | None = field(default=None, metadata=entry("Aplikasi", "Loket 4.2", longest=60))


@frozen(kw_only=True)
class Enrollment:
    """What the office captured of one person.

    Args:
        biodata: Who the person is.
        biometrics: Fingers, irises, face and signature.
        capture: Who recorded, where and when.
        kind: Why.
        documents: Scans.
        reference: The app's own id of this enrollment; unique per office, kept in clear, no personal data.
        replaces: The packet that this one replaces, for the kinds that do.
    """

    biodata: Biodata = field(metadata=entry("Biodata"))
    biometrics: Biometrics = field(metadata=entry("Biometrik"))
    capture: Capture = field(metadata=entry("Perekaman"))
    kind: Kind = field(default=Kind.FIRST, metadata=entry("Jenis Perekaman", "first", "Default: first."))
    documents: tuple[Document, ...] = field(
        default=Factory(tuple), converter=_in_a_row, metadata=entry("Dokumen", rule="At most 20.")
    )
    reference: str | None = field(
        default=None,
        metadata=entry(
            "Referensi",
            "2017-03-17/0042",
            "The app's own id, unique in the office. Kept in clear: never a NIK, family card number or name. An import needs it.",
        ),
    )
    replaces: str | None = field(
        default=None,
        metadata=entry(
            "Menggantikan Paket",
            "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001",
            "The packet id that is replaced; needed for re-recording and correction, empty for first.",
            pattern=(PACKET_ID, "replaces.not-a-packet-id"),
        ),
    )

    @property
    def nik(self) -> Nik:
        """The person's NIK."""
        return self.biodata.nik

    @property
    def captured_at(self) -> datetime:
        """When the person was recorded (aware)."""
        return self.capture.captured_at

    def biometric_digests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each fingerprint and iris sample, in hexadecimal."""
        entries = [*self.biometrics.fingers.values(), *self.biometrics.irises.values()]
        return tuple(entry.sha256 for entry in entries if isinstance(entry, Sample))
