"""Enrollments from a table: a CSV file whose columns are the fields of the form, with file names for samples."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from typing import TYPE_CHECKING, Final

from ktpsync.discreet import discreet
from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records._form import FormField, form_fields
from ktpsync.records._json import structured
from ktpsync.records._nik import without_separators
from ktpsync.records._problems import Perhaps, Problem, Severity, problem
from ktpsync.records._terms import Term
from ktpsync.records._validation import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from enum import Enum
    from pathlib import Path

    from ktpsync.records._enrollment import Enrollment
    from ktpsync.records._json import Read

_INDEX: Final = re.compile(r"\[([0-9]{1,2})\]")
_DELIMITERS: Final = ",;\t"
_YES, _NO = frozenset({"ya", "yes", "true", "1"}), frozenset({"tidak", "no", "false", "0"})

Cells = tuple[tuple[str, str], ...]
"""Column and text of the cells of a row that are not blank."""


def table_columns() -> list[str]:
    """Return the columns that a table may have, in the order of the form; of documents those of the first."""
    return [field.path.replace("[N]", "[0]") for field in form_fields()]


def read_table(path: Path) -> list[tuple[int, Cells | ValidationError]]:
    """Return the rows of a CSV file that are not blank, with the line that each ends at.

    Separators are commas, semicolons or tabs, whichever the first line has most of.

    Args:
        path: The file, in UTF-8, with or without byte order mark.

    Raises:
        SchemaError: It cannot be read as CSV, or has no rows.
        ValidationError: Its first line names columns that no enrollment has, or one twice; all are listed.
    """
    try:
        if _is_workbook(path):
            raise workbook(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=first.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(columns, path)
            rows = [
                (reader.line_num, _cells(columns, row)) for row in reader if any(cell.strip() for cell in row)
            ]
    except UnicodeDecodeError:
        raise SchemaError(f"{path} is not in UTF-8; save it again as 'CSV UTF-8'.") from None
    except csv.Error as error:
        raise SchemaError(f"{path} is not readable as CSV ({error}); save it again as 'CSV UTF-8'.") from None
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror}.") from error
    if not rows:
        raise SchemaError(f"{path} has no rows below its first line.")
    return rows


def workbook(path: Path) -> SchemaError:
    """Return what is said of a file of a spreadsheet program that is given for a CSV file."""
    return SchemaError(f"{path} is a workbook of a spreadsheet; save its sheet as 'CSV UTF-8'.")


def _is_workbook(path: Path) -> bool:
    """Return whether a file is one of Excel or LibreOffice, whatever its name."""
    with path.open("rb") as file:
        return file.read(8).startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"))


def from_row(row: Mapping[str, str | bytes | None], read: Read | None = None) -> Enrollment:
    """Return the enrollment of a flat form, such as a page on the web sends it, or of one row of a table.

    Texts become what the fields are, as in a table: ``ya`` and ``tidak``, the codes of choices, a NIK with spaces. A
    blank text or ``None`` is a field that was left empty.

    Args:
        row: By the field's path, such as ``biodata.full_name``, what was typed. A place, such as
            ``biometrics.fingers.left-thumb``, or ``documents[0].file`` has the sample's bytes, or the name of its file.
        read: Returns the bytes of a named file, as for :func:`from_json`.

    Raises:
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed, with what is wrong
            by :func:`validate` in the rest.
    """
    found: list[Problem] = []
    given: dict[str, bytes] = {}
    cells: list[tuple[str, str]] = []
    for column, value in row.items():
        form_field = _field(column)
        if form_field is None:
            found.append(_unknown(column, "row"))
        elif isinstance(value, bytes) and form_field.kind == "file":
            given[column] = value
            cells.append((column, column))
        elif isinstance(value, str):
            cells += [(column, value.strip())] if value.strip() else []
        elif value is not None:
            found.append(problem(column, "json.not-text"))

    def read_given(name: str) -> bytes:
        if name in given:
            return given[name]
        if read is None:
            raise FileNotFoundError(name)
        return read(name)

    return _with_problems(found, lambda: enrollment_of(tuple(cells), read_given))


@discreet
def _with_problems(found: list[Problem], make: Callable[[], Enrollment]) -> Enrollment:
    """Return what is made, unless there are problems; then raise all of them and what is wrong with it besides."""
    try:
        enrollment = make()
    except ValidationError as error:
        if not found:
            raise
        others = error.problems
    else:
        if not found:
            return enrollment
        others = tuple(one for one in problems(enrollment) if one.severity is Severity.ERROR)
    told = {one.path for one in found}
    raise ValidationError([*found, *(one for one in others if one.path not in told)])


def enrollment_of(cells: Cells, read: Read) -> Enrollment:
    """Return the enrollment in a row.

    Args:
        cells: The row's cells.
        read: Returns the bytes of a named file.

    Raises:
        ValidationError: Fields or files are missing or malformed; all of them are listed.
    """
    body: dict[str, object] = {}
    for column, text in cells:
        found = _field(column)
        assert found is not None  # the columns were checked
        place = f"{column}.file" if found.kind == "file" and not column.endswith(".file") else column
        _put(body, place, _value(found, text))
    return structured(_with_lists(body), read)


def _field(column: str) -> FormField | None:
    return _by_path().get(_INDEX.sub("[N]", column))


@functools.cache
def _by_path() -> Mapping[str, FormField]:
    return {field.path: field for field in form_fields()}


def _check_columns(columns: Sequence[str], path: Path) -> None:
    if not any(columns):
        raise SchemaError(f"{path} has no columns in its first line; name the fields there.")
    found = []
    for number, column in enumerate(columns):
        if _field(column) is None:
            found.append(_unknown(column, f"column {number + 1}"))
        elif column in columns[:number]:
            found.append(problem(column, "import.column-repeated"))
    if found:
        raise ValidationError(found)


def _unknown(column: str, instead: str) -> Problem:
    """Return the problem of a column that no enrollment has. What is no plausible column could be data of a person."""
    close = difflib.get_close_matches(column, _by_path(), n=1)
    plausible = len(column) <= 60 and bool(re.fullmatch(r"[a-z_.\[\]0-9-]*[a-z_]", column))  # noqa: PLR2004
    suggestion = Perhaps(close[0] if close else "")
    return problem(column if plausible else instead, "json.field-unknown", {"suggestion": suggestion})


def _cells(columns: Sequence[str], row: Sequence[str]) -> Cells | ValidationError:
    if any(cell.strip() for cell in row[len(columns) :]):
        return ValidationError([problem("row", "import.row-longer")])
    return tuple((column, cell.strip()) for column, cell in zip(columns, row, strict=False) if cell.strip())


def _value(field: FormField, text: str) -> object:
    """Return what the JSON would have; a text that is not of the field's type stays for the reader to refuse."""
    match field.kind:
        case "NIK":
            return without_separators(text)
        case "whole number":
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text  # noqa: PLR2004
        case "yes or no":
            return True if text.lower() in _YES else False if text.lower() in _NO else text
        case "choice":
            assert field.choices is not None
            return next((member.value for member in field.choices if _means(text, member)), text)
        case _:
            return text


def _means(text: str, member: Enum) -> bool:
    code = str(member.code) if isinstance(member, Term) else None
    return text.casefold() == str(member.value).casefold() or text == code


def _put(body: dict[str, object], path: str, value: object) -> None:
    *groups, last = path.split(".")
    for group in groups:
        inner = body.setdefault(group, {})
        assert isinstance(inner, dict)
        body = inner
    body[last] = value


def _with_lists(body: dict[str, object]) -> dict[str, object]:
    """Gather ``documents[0]``, ``documents[1]`` into a list."""
    numbered = sorted((int(match[1]), name) for name in body if (match := _INDEX.search(name)) is not None)
    documents = [body.pop(name) for _, name in numbered]
    return {**body, "documents": documents} if documents else body
