"""Pages of the documentation that are made from the models, so that they cannot differ from them.

``python -m ktpsync.records._reference`` writes them anew, and the JSON Schema; run it in the project's folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.records._catalogue import CATALOGUE, IN_SCHEMA
from ktpsync.records._codes import occupations
from ktpsync.records._form import FormField, form_fields
from ktpsync.records._formats import (
    DOCUMENT_FORMATS,
    FACE_FORMATS,
    FINGER_FORMATS,
    IRIS_FORMATS,
    PICTURES,
    Format,
)
from ktpsync.records._places import LABELS, Finger
from ktpsync.records._rules_samples import MAX_DOCUMENT_MIB, MAX_DOCUMENTS, MAX_SAMPLE_MIB, MAX_TOTAL_MIB
from ktpsync.records._schema import FILE_NAME, schema_text
from ktpsync.records._terms import Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import Enum


_MARK: Final = "<!-- The rest of this page is made from the models. -->\n"
_GROUPS: Final = (
    ("biodata.address.", "Alamat: address"),
    ("biodata.occupation.", "Pekerjaan: occupation"),
    ("biodata.father.", "Ayah: father (optional)"),
    ("biodata.mother.", "Ibu: mother (optional)"),
    ("biodata.foreigner.", "Orang asing: foreigners only"),
    ("biodata.", "Biodata"),
    ("capture.", "Perekaman: capture"),
    ("", "The enrollment itself"),
)
_ORDER: Final = ("biodata.", *(prefix for prefix, _ in _GROUPS[:5]), "capture.", "")


def capture_form_page(page: str) -> str:
    """Return the page "capture form" with what is made from the models as the models are now.

    Args:
        page: The page as it is; what people wrote at its start is kept.
    """
    return _below_mark(page, "\n".join(_capture_form()))


def problems_page(page: str) -> str:
    """Return the page of problem codes as the catalogue is now.

    Args:
        page: The page as it is; what people wrote at its start is kept.
    """
    rows = [
        (
            f"`{code}`",
            texts.severity,
            "yes" if code in IN_SCHEMA else "",
            _plain_clauses(texts.english),
            _plain_clauses(texts.indonesian),
        )
        for code, texts in sorted(CATALOGUE.items())
    ]
    return _below_mark(
        page, "\n".join(_table(("code", "severity", "in the schema", "English", "Indonesian"), rows))
    )


def _below_mark(page: str, made: str) -> str:
    return f"{page.partition(_MARK)[0]}{_MARK}\n{made}\n"


def _plain_clauses(message: str) -> str:
    """Write a clause that is there only with its value as what it becomes."""
    return re.sub(r"\{\w+:(.*?)%s(.*?)\}", r"\1…\2", message)


def _capture_form() -> Iterable[str]:
    for prefix in _ORDER:
        yield f"## {dict(_GROUPS)[prefix]}"
        yield ""
        fields = [field for field in form_fields() if _group(field.path) == prefix]
        yield from _table(
            ("field", "label", "type", "needed", "rule", "example"),
            ((f"`{field.path}`", *_facts(field)) for field in fields),
        )
        yield ""
    yield from _biometrics()
    yield from _documents()
    yield from _lists()


def _group(path: str) -> str | None:
    if path.startswith(("biometrics", "documents")):
        return None
    return next(prefix for prefix, _ in _GROUPS if path.startswith(prefix))


def _facts(field: FormField) -> tuple[str, str, str, str, str]:
    entry = field.entry
    limits = []
    if entry.digits is not None:
        limits.append(f"{entry.digits} digits.")
    elif field.kind == "text" and entry.pattern is None and "characters" not in entry.rule:
        limits.append(f"At most {entry.longest} characters.")
    if entry.bounds is not None:
        low, high, _ = entry.bounds
        limits.append(f"{low} to {high}.")
    kind = field.kind if field.choices is None else f"[{field.kind}](#{field.choices.__name__.lower()})"
    example = f"`{entry.example}`" if entry.example else ""
    return (
        entry.label,
        kind,
        "yes" if field.required else "",
        " ".join(filter(None, [*limits, entry.rule])),
        example,
    )


def _biometrics() -> Iterable[str]:
    yield "## Biometrik: biometrics"
    yield ""
    yield (
        "Each place has a file, or the reason why it is missing; never neither. The format is read from the bytes, "
        "never from a file's name. Where the format carries a position, it must be this one. Headers, size in pixels "
        f"and the end of the file are checked. At most {MAX_SAMPLE_MIB} MiB each, {MAX_TOTAL_MIB} MiB together."
    )
    yield ""
    places = (
        *(
            (
                f"biometrics.{'fingers' if isinstance(place, Finger) else 'irises'}.{place.value}",
                label,
                _named(FINGER_FORMATS if isinstance(place, Finger) else IRIS_FORMATS),
            )
            for place, label in LABELS.items()
        ),
        ("biometrics.face", "Foto Wajah", _named(FACE_FORMATS)),
        ("biometrics.signature", "Tanda Tangan", _named(PICTURES)),
    )
    yield from _table(
        ("place", "label", "formats"), ((f"`{path}`", label, formats) for path, label, formats in places)
    )
    yield ""
    yield "Of each place:"
    yield ""
    prefix = "biometrics.face"
    yield from _table(
        ("field", "label", "type", "needed", "rule", "example"),
        (
            (f"`….{field.path.removeprefix(prefix)[1:]}`", *_facts(field))
            for field in form_fields()
            if field.path.startswith(f"{prefix}.")
        ),
    )
    yield ""


def _documents() -> Iterable[str]:
    yield "## Dokumen: scanned documents"
    yield ""
    yield (
        f"None to {MAX_DOCUMENTS} files, {_named(DOCUMENT_FORMATS)}, at most {MAX_DOCUMENT_MIB} MiB each. "
        "In a table the first is `documents[0]`."
    )
    yield ""
    yield from _table(
        ("field", "label", "type", "needed", "rule", "example"),
        (
            (f"`{field.path}`", *_facts(field))
            for field in form_fields()
            if field.path.startswith("documents[")
        ),
    )
    yield ""


def _lists() -> Iterable[str]:
    yield "## Lists to choose from"
    yield ""
    yield "The JSON holds the value. A table may hold the code instead."
    yield ""
    choices: Mapping[type[Enum], None] = {
        field.choices: None for field in form_fields() if field.choices is not None
    }
    for kind in choices:
        yield f"### {kind.__name__}"
        yield ""
        if issubclass(kind, Term):
            yield from _table(("code", "value"), ((str(one.code), f"`{one.value}`") for one in kind))
        else:
            yield from _table(("value",), ((f"`{one.value}`",) for one in kind))
        yield ""
    yield "### Occupations"
    yield ""
    yield from _table(("code", "text"), ((str(code), f"`{text}`") for code, text in occupations().items()))


_FORMATS: Final = {
    Format.FINGER_IMAGE: "ISO/IEC 19794-4",
    Format.FINGER_MINUTIAE: "ISO/IEC 19794-2",
    Format.FACE_IMAGE: "ISO/IEC 19794-5",
    Format.IRIS_IMAGE: "ISO/IEC 19794-6",
    Format.WSQ: "WSQ",
    Format.JPEG: "JPEG",
    Format.JPEG_2000: "JPEG 2000",
    Format.PNG: "PNG",
    Format.PDF: "PDF",
}


def _named(formats: frozenset[Format]) -> str:
    return ", ".join(words for one, words in _FORMATS.items() if one in formats)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [columns, ("---",) * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def main() -> None:
    """Write what is made from the models."""
    pages = Path("docs/reference")
    for name, make in (("capture-form.md", capture_form_page), ("problems.md", problems_page)):
        page = pages / name
        page.write_text(make(page.read_text(encoding="utf-8")), encoding="utf-8")
    Path("src/ktpsync/records", FILE_NAME).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
