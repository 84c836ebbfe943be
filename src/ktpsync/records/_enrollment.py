"""The enrollment: one person, recorded at one office at one time."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from attrs import Factory, field, frozen

from ktpsync.records._biodata import Biodata
from ktpsync.records._biometrics import Biometrics, Sample
from ktpsync.records._moment import aware

if TYPE_CHECKING:
    from ktpsync.records._nik import Nik


class Kind(Enum):
    """Why the person is recorded."""

    FIRST = "first"
    RE_RECORDING = "re-recording"
    """After a failure status; names the packet it replaces."""

    CORRECTION = "correction"
    """Of wrong data; names the packet it replaces."""

    REPLACEMENT = "replacement"
    """Of a lost or damaged card."""


class DocumentKind(Enum):
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

    kind: DocumentKind
    scan: Sample


@frozen(kw_only=True)
class Capture:
    """Who recorded, where and when.

    Args:
        office: The regency's or city's code, four digits.
        station: The capture machine's name.
        operator: The operator's login or number.
        captured_at: When (aware).
        supervisor: Who approved it, where that is done.
        software: Name and version of the capture program.
    """

    office: str
    station: str
    operator: str = field(repr=False)
    captured_at: datetime = field(validator=aware)
    supervisor: str | None = field(default=None, repr=False)
    software: str | None = None


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

    biodata: Biodata
    biometrics: Biometrics
    capture: Capture
    kind: Kind = Kind.FIRST
    documents: tuple[Document, ...] = Factory(tuple)
    reference: str | None = None
    replaces: str | None = None

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
