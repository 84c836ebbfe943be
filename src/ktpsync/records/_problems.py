"""A problem of an enrollment: where, what, how bad, and a sentence in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal

from attrs import evolve, field, frozen

from ktpsync.records._catalogue import CATALOGUE

Language = Literal["en", "id"]


class Severity(StrEnum):
    """Whether a problem blocks ``submit``."""

    ERROR = "error"
    """Blocks."""

    WARNING = "warning"
    """Travels with the packet; a person may want to look."""


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong with an enrollment. Holds no personal data.

    Args:
        path: Where, such as ``biodata.nik`` or ``biometrics.fingers.left-thumb``.
        code: Stable code; ``docs/reference/problems.md`` lists all.
        severity: Whether it blocks.
        message: A sentence for a person.
        values: What the message names, for :meth:`translated`.
    """

    path: str
    code: str
    severity: Severity
    message: str = field(eq=False)
    values: Mapping[str, object] = field(factory=dict, eq=False, repr=False)

    def translated(self, language: Language) -> Problem:
        """Return the same problem with its message in another language.

        Args:
            language: ``en`` or ``id``.
        """
        return evolve(self, message=_sentence(self.code, language, self.values))

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.code}]"


def problem(
    path: str, code: str, values: Mapping[str, object] | None = None, *, language: Language = "en"
) -> Problem:
    """Return the problem with this code at this path.

    Args:
        path: Where.
        code: What; from the catalogue.
        values: What the message names.
        language: ``en`` or ``id``.
    """
    values = {} if values is None else values
    severity = Severity(CATALOGUE[code].severity)
    return Problem(
        path=path, code=code, severity=severity, message=_sentence(code, language, values), values=values
    )


def without_misspelt(found: Sequence[Problem]) -> list[Problem]:
    """Return the problems without those of samples that are absent only because their place's name is misspelt."""
    meant = {
        f"{one.path.rpartition('.')[0]}.{one.values['suggestion']:%s}"
        for one in found
        if one.code == "json.field-unknown"
    }
    return [one for one in found if one.code != "biometrics.absent" or one.path not in meant]


class Perhaps(str):
    """A value that a message names only if there is one: ``{name:; perhaps '%s'}``."""

    __slots__ = ()

    def __format__(self, clause: str) -> str:
        """Return the clause with the value in it, or nothing."""
        return clause % self if self else ""


def _sentence(code: str, language: Language, values: Mapping[str, object]) -> str:
    texts = CATALOGUE[code]
    return (texts.indonesian if language == "id" else texts.english).format(**values)
