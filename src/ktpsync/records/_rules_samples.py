"""Rules of samples and documents: all there, what they say they are, in their right place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.records._biometrics import Missing, MissingReason, Sample
from ktpsync.records._formats import DOCUMENT_FORMATS, FACE_FORMATS, FINGER_FORMATS, IRIS_FORMATS, PICTURES
from ktpsync.records._places import Eye, Finger
from ktpsync.records._shape import shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ktpsync.records._biometrics import Biometrics
    from ktpsync.records._enrollment import Enrollment
    from ktpsync.records._finding import Finding
    from ktpsync.records._formats import Format
    from ktpsync.records._readable import Readable

MAX_SAMPLE_MIB: Final = 16
MAX_DOCUMENT_MIB: Final = 8
MAX_DOCUMENTS: Final = 20
MAX_TOTAL_MIB: Final = 64
"""Well within what a packet may have."""

_OF_FINGERS: Final = frozenset(MissingReason) - {MissingReason.BLIND}
_OF_EYES: Final = frozenset(MissingReason) - {MissingReason.AMPUTATED, MissingReason.WORN}
_OF_FACES: Final = frozenset({MissingReason.INJURED, MissingReason.BANDAGED, MissingReason.OTHER})
_OF_SIGNATURES: Final = frozenset(MissingReason) - {MissingReason.WORN}


def sample_findings(enrollment: Enrollment, readable: Readable) -> Iterator[Finding]:
    """Yield what is wrong or unusual about the biometrics and the documents.

    Args:
        enrollment: The enrollment.
        readable: Which parts can be looked at.
    """
    samples: list[tuple[str, Sample]] = []
    places = _places(enrollment.biometrics, readable) if readable("biometrics") else ()
    for path, place, found, formats, reasons in places:
        if not readable(path):
            continue
        if found is None:
            yield path, "biometrics.absent", {}
        elif isinstance(found, Missing):
            yield from _missing(path, found, reasons)
        else:
            samples.append((path, found))
            yield from _sample(path, found, formats, place=place)
    yield from _repeated(samples)
    documents = enrollment.documents if readable("documents") else ()
    if len(documents) > MAX_DOCUMENTS:
        yield "documents", "documents.too-many", {"limit": MAX_DOCUMENTS}
    scans = [
        (path, document.scan)
        for path, document in ((f"documents[{number}]", one) for number, one in enumerate(documents))
        if readable(path)
    ]
    for path, scan in scans:
        yield from _sample(
            path,
            scan,
            DOCUMENT_FORMATS,
            limit=MAX_DOCUMENT_MIB,
            unsuited="document.format-unsuited",
        )
    total = sum(len(sample.data) for _, sample in [*samples, *scans])
    if total > MAX_TOTAL_MIB << 20:
        yield "biometrics", "enrollment.too-large", {"limit": MAX_TOTAL_MIB}


_Place = tuple[
    str, Finger | Eye | None, Sample | Missing | None, frozenset["Format"], frozenset[MissingReason]
]


def _places(biometrics: Biometrics, readable: Readable) -> Iterator[_Place]:
    for finger in Finger if readable("biometrics.fingers") else ():
        found = biometrics.fingers.get(finger)
        yield f"biometrics.fingers.{finger.value}", finger, found, FINGER_FORMATS, _OF_FINGERS
    for eye in Eye if readable("biometrics.irises") else ():
        yield f"biometrics.irises.{eye.value}", eye, biometrics.irises.get(eye), IRIS_FORMATS, _OF_EYES
    yield "biometrics.face", None, biometrics.face, FACE_FORMATS, _OF_FACES
    yield "biometrics.signature", None, biometrics.signature, PICTURES, _OF_SIGNATURES


def _missing(path: str, missing: Missing, reasons: frozenset[MissingReason]) -> Iterator[Finding]:
    yield from shape(missing, f"{path}.missing")
    if missing.reason is MissingReason.OTHER and not missing.note.strip():
        yield path, "missing.note-needed", {}
    if missing.reason not in reasons:
        yield path, "missing.reason-unsuited", {}


def _sample(
    path: str,
    sample: Sample,
    formats: frozenset[Format],
    *,
    place: Finger | Eye | None = None,
    limit: int = MAX_SAMPLE_MIB,
    unsuited: str = "sample.format-unsuited",
) -> Iterator[Finding]:
    yield from shape(sample, path)
    if not sample.data:
        yield path, "sample.empty", {}
    elif len(sample.data) > limit << 20:
        yield path, "sample.too-large", {"limit": limit}
    content = sample.content
    if content is None:
        if sample.data:
            yield path, "sample.format-unknown", {}
        return
    if content.format not in formats:
        yield path, unsuited, {"found": content.format.value}
        return
    for fault in content.faults:
        yield path, fault.code, dict(fault.values)
    if content.position is not None and content.position is not place:
        yield path, "sample.position-differs", {"found": content.position.value}


def _repeated(samples: Sequence[tuple[str, Sample]]) -> Iterator[Finding]:
    """A device or a program that hands out the last picture again is a common fault."""
    seen: dict[str, str] = {}
    for path, sample in samples:
        other = seen.setdefault(sample.sha256, path)
        if other != path and sample.data:
            yield path, "sample.repeated", {"other": other}
