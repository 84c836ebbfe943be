"""Enrollments from a table: a CSV file whose columns are the fields of the form, with file names for samples."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from typing import TYPE_CHECKING, Final

from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records._folder import files_in
from ktpsync.records._form import FormField, form_fields
from ktpsync.records._json import structured
from ktpsync.records._nik import without_separators
from ktpsync.records._problems import Perhaps, problem
from ktpsync.records._terms import Term

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import Enum
    from pathlib import Path

    from ktpsync.records._enrollment import Enrollment

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


def enrollment_of(cells: Cells, folder: Path) -> Enrollment:
    """Return the enrollment in a row.

    Args:
        cells: The row's cells.
        folder: File names are relative to it.

    Raises:
        ValidationError: Fields or files are missing or malformed; all of them are listed.
    """
    body: dict[str, object] = {}
    for column, text in cells:
        found = _field(column)
        assert found is not None  # the columns were checked
        place = f"{column}.file" if found.kind == "file" and not column.endswith(".file") else column
        _put(body, place, _value(found, text))
    return structured(_with_lists(body), files_in(folder))


def _field(column: str) -> FormField | None:
    return _by_path().get(_INDEX.sub("[N]", column))


@functools.cache
def _by_path() -> Mapping[str, FormField]:
    return {field.path: field for field in form_fields()}


def _check_columns(columns: Sequence[str], path: Path) -> None:
    if not any(columns):
        raise SchemaError(f"{path} has no columns in its first line; name the fields there.")
    found = []
    known = _by_path()
    for number, column in enumerate(columns):
        if _field(column) is None:
            close = difflib.get_close_matches(column, known, n=1)
            # What is no plausible column could be data of a person and is not repeated.
            plausible = len(column) <= 60 and bool(re.fullmatch(r"[a-z_.\[\]0-9-]*[a-z_]", column))  # noqa: PLR2004
            shown = column if plausible else f"column {number + 1}"
            found.append(
                problem(shown, "json.field-unknown", {"suggestion": Perhaps(close[0] if close else "")})
            )
        elif column in columns[:number]:
            found.append(problem(column, "import.column-repeated"))
    if found:
        raise ValidationError(found)


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
