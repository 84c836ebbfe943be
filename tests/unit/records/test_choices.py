"""The choices of the form, and that the models can be kept in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ktpsync import records
from ktpsync.errors import UnknownTermError
from ktpsync.records import Finger, MissingReason, Religion, Sex
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from ktpsync.records._choice import Choice


@pytest.mark.parametrize("choice", [Sex, Religion, Finger, MissingReason, records.Kind, records.StayPermit])
def test_what_is_no_choice_is_not_repeated(choice: type[Choice]) -> None:
    """The text may be a person's; the error names the choices, and is a ValueError as from any enumeration."""
    with pytest.raises(UnknownTermError) as raised:
        choice("DEWI LESTARI")

    assert isinstance(raised.value, ValueError)
    told = f"{choice.__name__} has no such choice. It is one of: {', '.join(one.value for one in choice)}."
    assert told == str(raised.value)
    assert (None, None) == (raised.value.__cause__, raised.value.__context__)


def test_a_choice_is_its_text() -> None:
    """A form and a template compare and show texts; the codes are beside them."""
    assert "KRISTEN" == Religion("KRISTEN") == Religion.PROTESTANT
    assert "KRISTEN" == f"{Religion.PROTESTANT}"
    assert (2, "left-thumb") == (Religion.PROTESTANT.code, Finger.LEFT_THUMB)


def test_enrollments_can_be_kept_in_sets() -> None:
    """The same enrollment is the same key; every value in it is one, too."""
    enrollment = make_enrollment(1, size=3000)

    assert {enrollment} == {make_enrollment(1, size=3000), enrollment}
    assert 1 == len({enrollment.biometrics, make_enrollment(1, size=3000).biometrics})
    assert hash(enrollment.biodata) == hash(make_enrollment(1).biodata)
