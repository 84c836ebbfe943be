"""How the models and ``enrollment.json`` become each other."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from ktpsync.clock import utc_text
from ktpsync.records._nik import Nik
from ktpsync.records._problems import Problem, problem
from ktpsync.structure import ExpectedError, UnknownFieldError, misfits, new_converter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import cattrs


class CodedError(ValueError):
    """A problem that has a code of its own in the catalogue.

    Args:
        code: The code.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def new_records_converter() -> cattrs.Converter:
    """Return a converter for the models, without samples."""
    converter = new_converter()
    converter.register_structure_hook(date, _date)
    converter.register_structure_hook(datetime, _moment)
    converter.register_structure_hook(Nik, _nik)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(datetime, utc_text)
    converter.register_unstructure_hook(Nik, str)
    return converter


def problems_of(error: BaseException) -> Iterator[Problem]:
    """Yield a problem for each thing that structuring found, with its path in the JSON."""
    for misfit in misfits(error):
        match misfit.error:
            case UnknownFieldError(suggestion=suggestion):
                words = f"; perhaps {suggestion!r}" if suggestion else ""
                yield problem(misfit.path, "json.field-unknown", suggestion=words)
            case KeyError():
                yield problem(misfit.path, "json.field-missing")
            case CodedError(code=code):
                yield problem(misfit.path, code)
            case found:
                expected = str(found) if isinstance(found, ExpectedError) else "of the right kind"
                yield problem(misfit.path or "enrollment", "json.value-invalid", expected=expected)


def _date(value: object, _: object) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ExpectedError("a date of the calendar such as 1990-08-17") from None


def _moment(value: object, _: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ExpectedError("a time with its zone such as 2017-03-17T09:30:00+07:00")
    return moment


def _nik(value: object, _: object) -> Nik:
    try:
        return Nik(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ExpectedError(f"a NIK: {error}") from None
