"""All rules in one pass. What blocks and what only warns is told by the catalogue of problems."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ktpsync.errors import ValidationError
from ktpsync.records._biometrics import Eye, Finger, Missing, MissingReason, Sample
from ktpsync.records._enrollment import Kind
from ktpsync.records._formats import Format
from ktpsync.records._problems import Language, Problem, Severity, problem
from ktpsync.records._regions import is_known_region
from ktpsync.records._terms import Citizenship

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from ktpsync.records._biodata import Biodata
    from ktpsync.records._biometrics import Biometrics
    from ktpsync.records._enrollment import Enrollment

MAX_SAMPLE_MIB: Final = 16
MAX_NAME: Final = 60
MAX_REFERENCE: Final = 200
MINIMUM_AGE: Final = 16
"""Who is younger may be recorded if married; recording from 16 is common practice, printing from 17."""

_IMAGES: Final = frozenset({Format.JPEG, Format.JPEG_2000, Format.PNG})
_FINGER_FORMATS: Final = _IMAGES | {Format.WSQ, Format.FINGER_IMAGE, Format.FINGER_MINUTIAE}
_IRIS_FORMATS: Final = _IMAGES | {Format.IRIS_IMAGE}
_FACE_FORMATS: Final = _IMAGES | {Format.FACE_IMAGE}
_SCAN_FORMATS: Final = frozenset({Format.PDF, Format.JPEG, Format.PNG})
_NAME_CHARACTERS: Final = re.compile(r"[A-Za-z ]+")
_REPLACING: Final = frozenset({Kind.RE_RECORDING, Kind.CORRECTION})

_Found = tuple[str, str, dict[str, object]]


def problems(enrollment: Enrollment, *, language: Language = "en") -> tuple[Problem, ...]:
    """Return everything that is wrong or unusual about an enrollment.

    Args:
        enrollment: The enrollment.
        language: ``en`` or ``id``, for the messages.
    """
    found = [
        *_biodata(enrollment.biodata, enrollment.captured_at.date()),
        *_biometrics(enrollment.biometrics),
        *_documents(enrollment),
        *_capture(enrollment),
        *_links(enrollment),
    ]
    return tuple(problem(path, code, language=language, **values) for path, code, values in found)


def validate(enrollment: Enrollment) -> None:
    """Refuse an enrollment that has errors; warnings are no reason.

    Raises:
        ValidationError: It has errors; all of them are listed.
    """
    errors = [found for found in problems(enrollment) if found.severity is Severity.ERROR]
    if errors:
        raise ValidationError(errors)


def _biodata(biodata: Biodata, recorded: date) -> Iterator[_Found]:
    nik = biodata.nik
    if not nik.may_be_born_on(biodata.date_of_birth) and nik.sex is biodata.sex:
        yield "biodata.nik", "nik.birth-date-differs", {}
    if nik.sex is not biodata.sex:
        yield "biodata.nik", "nik.sex-differs", {}
    if not is_known_region(nik.region):
        yield "biodata.nik", "nik.region-unknown", {}
    yield from _digits("biodata.family_card_number", biodata.family_card_number, 16)
    yield from _name("biodata.full_name", biodata.full_name)
    address = biodata.address
    texts = {
        "biodata.place_of_birth": biodata.place_of_birth,
        "biodata.occupation.text": biodata.occupation.text,
        "biodata.address.street": address.street,
        "biodata.address.village": address.village,
        "biodata.address.district": address.district,
        "biodata.address.regency": address.regency,
        "biodata.address.province": address.province,
    }
    for path, text in texts.items():
        if not text.strip():
            yield path, "text.empty", {}
    yield from _digits("biodata.address.rt", address.rt, 3)
    yield from _digits("biodata.address.rw", address.rw, 3)
    if address.postal_code is not None:
        yield from _digits("biodata.address.postal_code", address.postal_code, 5)
    born = biodata.date_of_birth
    if born > recorded:
        yield "biodata.date_of_birth", "birth-date.future", {}
    elif recorded.year - born.year - ((recorded.month, recorded.day) < (born.month, born.day)) < MINIMUM_AGE:
        yield "biodata.date_of_birth", "age.below-16", {}
    if biodata.citizenship is Citizenship.FOREIGN and biodata.valid_until is None:
        yield "biodata.valid_until", "foreigner.expiry-missing", {}


def _name(path: str, name: str) -> Iterator[_Found]:
    if not name.strip():
        yield path, "name.empty", {}
        return
    if len(name) > MAX_NAME:
        yield path, "name.too-long", {}
    if len(name.split()) == 1:
        yield path, "name.one-word", {}
    if not _NAME_CHARACTERS.fullmatch(name):
        yield path, "name.characters", {}


def _digits(path: str, text: str, count: int) -> Iterator[_Found]:
    if not (len(text) == count and text.isascii() and text.isdigit()):
        yield path, "text.digits", {"count": count}


def _biometrics(biometrics: Biometrics) -> Iterator[_Found]:
    for finger in Finger:
        yield from _entry(
            f"biometrics.fingers.{finger.value}", biometrics.fingers.get(finger), _FINGER_FORMATS
        )
    for eye in Eye:
        yield from _entry(f"biometrics.irises.{eye.value}", biometrics.irises.get(eye), _IRIS_FORMATS)
    yield from _entry("biometrics.face", biometrics.face, _FACE_FORMATS)
    yield from _entry("biometrics.signature", biometrics.signature, _IMAGES)


def _entry(path: str, entry: Sample | Missing | None, formats: frozenset[Format]) -> Iterator[_Found]:
    if entry is None:
        yield path, "biometrics.absent", {}
    elif isinstance(entry, Missing):
        if entry.reason is MissingReason.OTHER and not entry.note.strip():
            yield path, "missing.note-needed", {}
    else:
        yield from _sample(path, entry, formats)


def _sample(
    path: str, sample: Sample, formats: frozenset[Format], unsuited: str = "sample.format-unsuited"
) -> Iterator[_Found]:
    if not sample.data:
        yield path, "sample.empty", {}
    elif sample.format is None:
        yield path, "sample.format-unknown", {}
    elif sample.format not in formats:
        yield path, unsuited, {"found": sample.format.value}
    if len(sample.data) > MAX_SAMPLE_MIB << 20:
        yield path, "sample.too-large", {"limit": MAX_SAMPLE_MIB}
    if sample.quality is not None and not 0 <= sample.quality <= 100:  # noqa: PLR2004 - the scale
        yield path, "sample.quality-range", {}


def _documents(enrollment: Enrollment) -> Iterator[_Found]:
    for number, document in enumerate(enrollment.documents):
        yield from _sample(f"documents[{number}]", document.scan, _SCAN_FORMATS, "document.format-unsuited")


def _capture(enrollment: Enrollment) -> Iterator[_Found]:
    yield from _digits("capture.office", enrollment.capture.office, 4)
    for name in ("station", "operator"):
        if not getattr(enrollment.capture, name).strip():
            yield f"capture.{name}", "text.empty", {}
    if enrollment.captured_at > datetime.now(UTC):
        yield "capture.captured_at", "capture.future", {}


def _links(enrollment: Enrollment) -> Iterator[_Found]:
    if enrollment.replaces is None:
        if enrollment.kind in _REPLACING:
            yield "replaces", "replaces.needed", {}
    elif not _is_packet_id(enrollment.replaces):
        yield "replaces", "replaces.not-a-packet-id", {}
    reference = enrollment.reference
    if reference is None:
        return
    if not reference.strip():
        yield "reference", "text.empty", {}
    if len(reference) > MAX_REFERENCE:
        yield "reference", "reference.too-long", {}
    digits = re.sub(r"\D", "", reference)
    if str(enrollment.nik) in digits or (
        enrollment.biodata.family_card_number and enrollment.biodata.family_card_number in digits
    ):
        yield "reference", "reference.personal", {}


def _is_packet_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
