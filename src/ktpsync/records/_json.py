"""``enrollment.json``, schema ``ktpsync.enrollment/1``: in and out, with the samples as files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final, cast

import cattrs
from attrs import frozen

from ktpsync.discreet import discreet
from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records import _versions
from ktpsync.records._biometrics import Missing, Sample
from ktpsync.records._converter import CodedError, new_records_converter, problems_of
from ktpsync.records._enrollment import Document, DocumentKind, Enrollment
from ktpsync.records._formats import Format
from ktpsync.records._kinds import kind_findings
from ktpsync.records._partial import partial
from ktpsync.records._problems import Problem, Severity, without_misspelt
from ktpsync.records._readable import readable

SCHEMA: Final = f"{_versions.FAMILY}/{_versions.CURRENT}"

Read = Callable[[str], bytes]
"""Returns the bytes of a named file; raises FileNotFoundError or KeyError where there is none."""


@frozen(kw_only=True)
class FileEntry:
    """How a sample stands in the JSON: a file's name, and what is said of its bytes.

    What is said and does not hold is an error; what is not said is not checked.
    """

    file: str
    format: Format | None = None
    sha256: str | None = None
    size: int | None = None
    quality: int | None = None
    device: str | None = None
    captured_at: datetime | None = None


@frozen(kw_only=True)
class DocumentEntry(FileEntry):
    """How a document stands in the JSON."""

    kind: DocumentKind


@frozen(kw_only=True)
class _MissingEntry:
    """How a missing sample stands in the JSON."""

    missing: Missing


_reader: ContextVar[Read] = ContextVar("_reader")


def to_json(enrollment: Enrollment) -> tuple[bytes, dict[str, bytes]]:
    """Return ``enrollment.json`` and the files it names, by name; always the same for the same enrollment.

    Args:
        enrollment: The enrollment; it must be valid.

    Returns:
        The JSON's bytes, and the bytes of each named file (not copied).
    """
    files: dict[str, bytes] = {}
    body = cast("dict[str, object]", _CONVERTER.unstructure(enrollment))
    for stem, entry, described in _places(enrollment, body):
        described["file"] = name = f"{stem}.{'bin' if entry.format is None else entry.format.value}"
        files[name] = entry.data
    text = json.dumps({"schema": SCHEMA, **body}, ensure_ascii=False, indent=1)
    return text.encode("utf-8"), dict(sorted(files.items()))


@discreet
def from_json(data: bytes | str, read: Read) -> Enrollment:
    """Return the enrollment that the JSON describes. Where its structure is right, its rules are not checked here.

    Args:
        data: The bytes of ``enrollment.json``, or its text.
        read: Returns the bytes of a named file, as the ``__getitem__`` of a dictionary does; raises FileNotFoundError
            or KeyError where there is none, ValueError where the name leaves the folder, OSError where it cannot be
            read.

    Raises:
        SchemaError: It is not JSON, or not of a schema version that this release reads.
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed, with what is wrong
            by :func:`validate` in the rest.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if not isinstance(data, bytes):
        raise TypeError(
            f"the JSON is bytes or text, not {type(data).__name__}; json.dumps makes it of a dictionary"
        )
    return structured(_versions.upgraded(_parse(data)), read)


def structured(body: Mapping[str, object], read: Read) -> Enrollment:
    """Return the enrollment that a document of the current version describes; see :func:`from_json`.

    Args:
        body: Its fields.
        read: Returns the bytes of a named file.

    Raises:
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed.
    """
    token = _reader.set(read)
    try:
        return _CONVERTER.structure(body, Enrollment)
    except cattrs.BaseValidationError as error:
        found = without_misspelt([*problems_of(error), *_problems_of_the_rest(body)])
    finally:
        _reader.reset(token)
    # Raised out here, it keeps no hold of what cattrs says of the values.
    raise ValidationError(found)


def _problems_of_the_rest(body: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the errors that rules find in what could be read: a person corrects all in one go."""
    from ktpsync.records._validation import problems  # noqa: PLC0415 - needed where something is wrong only

    rest = partial(body, _CONVERTER)
    unread = readable(path for path, _, _ in kind_findings(rest, ""))
    yield from (one for one in problems(rest) if one.severity is Severity.ERROR and unread(one.path))


def _parse(data: bytes) -> object:
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_no_field_twice)
        # A lone half of a surrogate pair is no character; nothing that holds one can be written again.
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise SchemaError(f"The enrollment is not readable JSON in UTF-8{where}; export it again.") from None
    return document


def _no_field_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Two programs would each take another one of the two.
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _places(
    enrollment: Enrollment, body: dict[str, object]
) -> Iterator[tuple[str, Sample, dict[str, object]]]:
    """Yield the canonical file name without ending, the sample, and its place in the JSON."""
    biometrics = enrollment.biometrics
    places = cast("dict[str, dict[str, object]]", body["biometrics"])
    entries: list[tuple[str, Sample | Missing, object]] = [
        *(
            (f"biometrics/finger-{finger.value}", entry, places["fingers"][finger.value])
            for finger, entry in biometrics.fingers.items()
        ),
        *(
            (f"biometrics/iris-{eye.value}", entry, places["irises"][eye.value])
            for eye, entry in biometrics.irises.items()
        ),
        ("biometrics/face", biometrics.face, places["face"]),
        ("biometrics/signature", biometrics.signature, places["signature"]),
    ]
    for stem, entry, described in entries:
        if isinstance(entry, Sample):
            yield stem, entry, cast("dict[str, object]", described)
    described_documents = cast("list[dict[str, object]]", body.get("documents", []))
    for number, (document, described) in enumerate(
        zip(enrollment.documents, described_documents, strict=True), start=1
    ):
        yield f"documents/{document.kind.value}-{number}", document.scan, described


def _sample_of(entry: FileEntry) -> Sample:
    try:
        data = _reader.get()(entry.file)
    except CodedError:
        raise
    except (FileNotFoundError, KeyError):
        raise CodedError("file.missing") from None
    except ValueError:
        raise CodedError("file.outside") from None
    except OSError:
        raise CodedError("file.unreadable") from None
    sample = Sample(data=data, quality=entry.quality, device=entry.device, captured_at=entry.captured_at)
    if (entry.size is not None and entry.size != len(data)) or (
        entry.sha256 is not None and entry.sha256 != sample.sha256
    ):
        raise CodedError("file.digest-differs")
    if entry.format is not None and entry.format is not sample.format:
        raise CodedError("file.format-differs")
    return sample


def _describe(sample: Sample) -> dict[str, object]:
    described = {
        "file": "",  # its name follows from its place
        "format": sample.format and sample.format.value,
        "sha256": sample.sha256,
        "size": len(sample.data),
        "quality": sample.quality,
        "device": sample.device,
        "captured_at": sample.captured_at and _CONVERTER.unstructure(sample.captured_at),
    }
    return {name: value for name, value in described.items() if value is not None}


def _load_entry(value: object, _: object) -> Sample | Missing:
    if isinstance(value, Mapping) and "missing" in value and len(value) == 1:
        return _CONVERTER.structure(value, _MissingEntry).missing
    return _sample_of(_CONVERTER.structure(value, FileEntry))


def _describe_entry(entry: Sample | Missing) -> dict[str, object]:
    if isinstance(entry, Missing):
        return {"missing": _CONVERTER.unstructure(entry)}
    return _describe(entry)


def _load_document(value: object, _: object) -> Document:
    entry = _CONVERTER.structure(value, DocumentEntry)
    return Document(kind=entry.kind, scan=_sample_of(entry))


def _describe_document(document: Document) -> dict[str, object]:
    return {"kind": document.kind.value, **_describe(document.scan)}


def _is_entry(kind: object) -> bool:
    return bool(kind == Sample | Missing)


_CONVERTER: Final = new_records_converter()
_CONVERTER.register_structure_hook_func(_is_entry, _load_entry)
_CONVERTER.register_unstructure_hook_func(_is_entry, _describe_entry)
_CONVERTER.register_structure_hook(Document, _load_document)
_CONVERTER.register_unstructure_hook(Document, _describe_document)
