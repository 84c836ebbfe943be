"""``enrollment.json``, schema ``ktpsync.enrollment/1``: in and out, with the samples as files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final, cast

import cattrs
from attrs import frozen

from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records._biometrics import Missing, Sample
from ktpsync.records._converter import CodedError, new_records_converter, problems_of
from ktpsync.records._enrollment import Document, DocumentKind, Enrollment
from ktpsync.records._formats import Format
from ktpsync.structure import ExpectedError

SCHEMA: Final = "ktpsync.enrollment/1"

Read = Callable[[str], bytes]
"""Returns the bytes of a named file; raises FileNotFoundError where there is none."""


@frozen(kw_only=True)
class _FileEntry:
    """How a sample stands in the JSON: a file's name, and what is said of its bytes."""

    file: str
    format: Format | None = None
    sha256: str | None = None
    size: int | None = None
    quality: int | None = None
    device: str | None = None
    captured_at: datetime | None = None


_reader: ContextVar[Read] = ContextVar("_reader")
_names: ContextVar[Mapping[int, str]] = ContextVar("_names")


def to_json(enrollment: Enrollment) -> tuple[bytes, dict[str, bytes]]:
    """Return ``enrollment.json`` and the files it names, by name; always the same for the same enrollment.

    Args:
        enrollment: The enrollment.

    Returns:
        The JSON's bytes, and the bytes of each named file (not copied).
    """
    samples = dict(_named_samples(enrollment))
    token = _names.set({id(sample): name for name, sample in samples.items()})
    try:
        body = _CONVERTER.unstructure(enrollment)
        named = set(_names.get().values())
    finally:
        _names.reset(token)
    text = json.dumps({"schema": SCHEMA, **body}, ensure_ascii=False, indent=1)
    return text.encode("utf-8"), {
        name: sample.data for name, sample in sorted(samples.items()) if name in named
    }


def from_json(data: bytes, read: Read) -> Enrollment:
    """Return the enrollment that the JSON describes. Rules beyond its structure are not checked here.

    Args:
        data: The bytes of ``enrollment.json``.
        read: Returns the bytes of a named file; raises FileNotFoundError where there is none, ValueError
            where the name leaves the folder, OSError where it cannot be read.

    Raises:
        SchemaError: It is not JSON, or not of a schema version that this release reads.
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed.
    """
    body = _parse(data)
    token = _reader.set(read)
    try:
        return _CONVERTER.structure(body, Enrollment)
    except cattrs.BaseValidationError as error:
        raise ValidationError(list(problems_of(error))) from None
    finally:
        _reader.reset(token)


def _parse(data: bytes) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise SchemaError(f"The enrollment is not readable JSON in UTF-8{where}; export it again.") from None
    found = document.pop("schema", None) if isinstance(document, dict) else None
    if found != SCHEMA:
        said = f"says {str(found)[:40]!r}" if found is not None else "has no field 'schema'"
        raise SchemaError(
            f"The JSON {said}; this release reads {SCHEMA!r}. If it comes from a newer ktpsync, upgrade this one."
        )
    return cast("dict[str, object]", document)


def _named_samples(enrollment: Enrollment) -> Iterator[tuple[str, Sample]]:
    """Yield the canonical file name and the sample of every place that has one."""
    biometrics = enrollment.biometrics
    entries: list[tuple[str, Sample | Missing]] = [
        *((f"biometrics/finger-{finger.value}", entry) for finger, entry in biometrics.fingers.items()),
        *((f"biometrics/iris-{eye.value}", entry) for eye, entry in biometrics.irises.items()),
        ("biometrics/face", biometrics.face),
        ("biometrics/signature", biometrics.signature),
    ]
    for stem, entry in entries:
        if isinstance(entry, Sample):
            yield f"{stem}.{_ending(entry)}", entry
    for number, document in enumerate(enrollment.documents, start=1):
        yield f"documents/{document.kind.value}-{number}.{_ending(document.scan)}", document.scan


def _ending(sample: Sample) -> str:
    return "bin" if sample.format is None else sample.format.value


def _load(value: object) -> Sample:
    entry = _CONVERTER.structure(value, _FileEntry)
    try:
        data = _reader.get()(entry.file)
    except FileNotFoundError:
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
    entry = _FileEntry(
        file=_names.get()[id(sample)],
        format=sample.format,
        sha256=sample.sha256,
        size=len(sample.data),
        quality=sample.quality,
        device=sample.device,
        captured_at=sample.captured_at,
    )
    return cast("dict[str, object]", _CONVERTER.unstructure(entry))


def _load_entry(value: object, _: object) -> Sample | Missing:
    if isinstance(value, Mapping) and "missing" in value and len(value) == 1:
        return _CONVERTER.structure(value["missing"], Missing)
    return _load(value)


def _describe_entry(entry: Sample | Missing) -> dict[str, object]:
    if isinstance(entry, Missing):
        return {"missing": _CONVERTER.unstructure(entry)}
    return _describe(entry)


def _load_document(value: object, _: object) -> Document:
    if not isinstance(value, Mapping):
        raise ExpectedError("an object with fields")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return Document(kind=_CONVERTER.structure(value.get("kind"), DocumentKind), scan=_load(rest))


def _describe_document(document: Document) -> dict[str, object]:
    return {"kind": document.kind.value, **_describe(document.scan)}


def _is_entry(kind: object) -> bool:
    return bool(kind == Sample | Missing)


_CONVERTER: Final = new_records_converter()
_CONVERTER.register_structure_hook_func(_is_entry, _load_entry)
_CONVERTER.register_unstructure_hook_func(_is_entry, _describe_entry)
_CONVERTER.register_structure_hook(Document, _load_document)
_CONVERTER.register_unstructure_hook(Document, _describe_document)
