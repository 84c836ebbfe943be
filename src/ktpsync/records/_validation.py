"""All rules in one pass. What blocks and what only warns is told by the catalogue of problems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from ktpsync.discreet import discreet
from ktpsync.errors import ValidationError
from ktpsync.records._enrollment import Enrollment, Kind
from ktpsync.records._kinds import kind_findings
from ktpsync.records._problems import Language, Problem, Severity, problem, without_misspelt
from ktpsync.records._readable import Readable, readable
from ktpsync.records._regions import is_known_region
from ktpsync.records._rules_biodata import biodata_findings
from ktpsync.records._rules_reference import reference_findings
from ktpsync.records._rules_samples import sample_findings
from ktpsync.records._shape import shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktpsync.records._enrollment import Capture
    from ktpsync.records._finding import Finding

_REPLACING: Final = frozenset({Kind.RE_RECORDING, Kind.CORRECTION})
_EASTERNMOST: Final = timezone(timedelta(hours=9))
"""Waktu Indonesia Timur: what is today anywhere in the country is not in the future."""


def problems(
    enrollment: Enrollment, *, language: Language = "en", now: datetime | None = None
) -> tuple[Problem, ...]:
    """Return everything that is wrong or unusual about an enrollment.

    Args:
        enrollment: The enrollment.
        language: ``en`` or ``id``, for the messages.
        now: The time (aware) by which a recording lies in the future; default: this machine's.
    """
    if not isinstance(enrollment, Enrollment):
        raise TypeError(
            f"an Enrollment is needed, not {type(enrollment).__name__}; records.from_json makes one of JSON"
        )
    now = datetime.now(UTC) if now is None else now
    wrong = list(kind_findings(enrollment, ""))
    found = [*wrong, *rule_findings(enrollment, readable(path for path, _, _ in wrong), now)]
    return tuple(
        without_misspelt([problem(path, code, values, language=language) for path, code, values in found])
    )


@discreet
def validate(enrollment: Enrollment, *, now: datetime | None = None) -> tuple[Problem, ...]:
    """Refuse an enrollment that has errors; warnings are no reason.

    Args:
        enrollment: The enrollment.
        now: The time (aware) by which a recording lies in the future; default: this machine's.

    Returns:
        The warnings.

    Raises:
        ValidationError: It has errors; all of them are listed.
    """
    found = problems(enrollment, now=now)
    errors = [one for one in found if one.severity is Severity.ERROR]
    if errors:
        raise ValidationError(errors)
    return found


def rule_findings(enrollment: Enrollment, can_be_read: Readable, now: datetime) -> Iterator[Finding]:
    """Yield what the rules find in the parts of an enrollment that hold what they should hold.

    Args:
        enrollment: The enrollment.
        can_be_read: Which parts the rules may look at.
        now: The time (aware) by which a recording lies in the future.
    """
    # Whatever is of another type has a length and a pattern that nobody asked for.
    yield from (found for found in shape(enrollment, "") if can_be_read(found[0]))
    recorded = None
    if can_be_read("capture.captured_at"):
        recorded = enrollment.captured_at.astimezone(_EASTERNMOST).date()
    if can_be_read("biodata"):
        yield from biodata_findings(enrollment.biodata, recorded, can_be_read)
    yield from sample_findings(enrollment, can_be_read)
    if can_be_read("capture"):
        yield from _capture(enrollment.capture, can_be_read, now)
    if can_be_read("replaces", "kind"):
        yield from _replaces(enrollment)
    if can_be_read("reference", "biodata") and enrollment.reference is not None:
        yield from reference_findings(enrollment.reference, enrollment.biodata, can_be_read)


def _capture(capture: Capture, can_be_read: Readable, now: datetime) -> Iterator[Finding]:
    office = capture.office
    four = can_be_read("capture.office") and len(office) == 4  # noqa: PLR2004 - another length is an error already
    if four and not is_known_region(office):
        yield "capture.office", "capture.office-unknown", {}
    if can_be_read("capture.captured_at") and capture.captured_at > now:
        yield "capture.captured_at", "capture.future", {}


def _replaces(enrollment: Enrollment) -> Iterator[Finding]:
    if enrollment.replaces is None:
        if enrollment.kind in _REPLACING:
            yield "replaces", "replaces.needed", {}
    elif enrollment.kind is Kind.FIRST:
        yield "replaces", "replaces.not-for-first", {}
