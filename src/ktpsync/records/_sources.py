"""Enrollments to import in bulk: folders, a folder of folders, or the rows of a CSV file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

from ktpsync.discreet import discreet
from ktpsync.errors import RecordError, SchemaError, ValidationError
from ktpsync.records._enrollment import Enrollment
from ktpsync.records._folder import ENROLLMENT_NAME, files_in, load_folder
from ktpsync.records._problems import Problem, Severity, problem
from ktpsync.records._table import enrollment_of, read_table, workbook
from ktpsync.records._validation import problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@frozen(kw_only=True)
class Source:
    """One enrollment to import.

    Args:
        name: Where it is, for people: a folder, or a file and its line.
        load: Returns the enrollment; raises RecordError where it cannot.
    """

    name: str
    load: Callable[[], Enrollment] = field(repr=False)


@frozen(kw_only=True)
class Checked:
    """What was found of a source.

    Args:
        source: The source.
        error: Why it cannot be submitted, if so.
        warnings: What a person may want to look at.
    """

    source: Source
    error: RecordError | None = None
    warnings: tuple[Problem, ...] = ()


def find_sources(path: Path) -> list[Source]:
    """Return the enrollments at a path, each to be loaded when it is wanted.

    Args:
        path: The folder of one enrollment, a folder of such folders, or a CSV file.

    Raises:
        SchemaError: It is none of them.
        ValidationError: The CSV file has columns that no enrollment has; all are listed.
    """
    if path.is_dir():
        folders = [path] if (path / ENROLLMENT_NAME).exists() else sorted(_folders_in(path)) or [path]
        return [Source(name=str(folder), load=functools.partial(load_folder, folder)) for folder in folders]
    if path.suffix.lower() in {".xlsx", ".xls", ".ods"}:
        raise workbook(path)
    if path.suffix.lower() != ".csv":
        raise SchemaError(f"{path} is neither a folder nor a CSV file.")
    return [
        Source(name=f"{path} line {line}", load=functools.partial(_load_row, row, path.parent))
        for line, row in read_table(path)
    ]


def _folders_in(path: Path) -> Iterator[Path]:
    return (child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def check_sources(
    sources: Iterable[Source], *, on_checked: Callable[[], None] = lambda: None
) -> list[Checked]:
    """Load and check every source, one at a time, and keep only what was found.

    Args:
        sources: The sources.
        on_checked: Called after each.

    Returns:
        One for each source. An import needs references, and each only once: without them, running it again after
        an interruption would record people twice.
    """
    found = []
    references: dict[str, str] = {}
    for source in sources:
        try:
            enrollment = source.load()
            told = problems(enrollment)
            wrong = [one for one in told if one.severity is Severity.ERROR]
            wrong += _reference_problems(enrollment.reference, source.name, references)
            if wrong:
                raise ValidationError(wrong)
            found.append(Checked(source=source, warnings=told))
        except RecordError as error:
            # The traceback would keep every bad enrollment in memory.
            found.append(Checked(source=source, error=error.with_traceback(None)))
        on_checked()
    return found


def _reference_problems(reference: str | None, name: str, seen: dict[str, str]) -> list[Problem]:
    if reference is None:
        return [problem("reference", "import.reference-needed")]
    other = seen.setdefault(reference, name)
    return [] if other == name else [problem("reference", "import.reference-repeated", {"other": other})]


@discreet
def _load_row(row: tuple[tuple[str, str], ...] | ValidationError, folder: Path) -> Enrollment:
    if isinstance(row, ValidationError):
        raise row
    return enrollment_of(row, files_in(folder))
