"""NIK: the number that every resident has for life."""

from __future__ import annotations

import calendar
import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from ktpsync.records._terms import Sex

if TYPE_CHECKING:
    from datetime import date

_SEPARATORS: Final = re.compile(r"[ .\-]")
_SIXTEEN_DIGITS: Final = re.compile(r"[0-9]{16}")
_FEMALE_OFFSET: Final = 40
_CENTURIES: Final = (1900, 2000)


def _digits(text: str) -> str:
    return _SEPARATORS.sub("", text)


def _check(_: object, __: object, digits: str) -> None:
    if not _SIXTEEN_DIGITS.fullmatch(digits):
        raise ValueError("a NIK has 16 digits")
    if digits[12:] == "0000":
        raise ValueError("a NIK's serial number, its last four digits, starts at 0001")
    day, month, year = int(digits[6:8]) % 100, int(digits[8:10]), int(digits[10:12])
    if day > _FEMALE_OFFSET:
        day -= _FEMALE_OFFSET
    if not 1 <= month <= 12:  # noqa: PLR2004 - months of a year
        raise ValueError("a NIK's digits 9 and 10 are a month, 01 to 12")
    longest = max(calendar.monthrange(century + year, month)[1] for century in _CENTURIES)
    if not 1 <= day <= longest:
        raise ValueError(
            "a NIK's digits 7 to 10 are a day and month of the calendar; women's days are plus 40"
        )


@frozen
class Nik:
    """A NIK: region of first issue, birth date, serial number.

    The region may be one that no longer exists and the date one that was corrected later: a NIK never
    changes (PP 40/2019 art. 30(2)). Both are reported as warnings by validation, never refused here.

    Args:
        digits: 16 digits; spaces, dots and hyphens are dropped.

    Raises:
        ValueError: It cannot be a NIK. The message holds no digit of it.
    """

    digits: str = field(converter=_digits, validator=_check)

    @property
    def region(self) -> str:
        """The six digits of province, regency or city, and district."""
        return self.digits[:6]

    @property
    def sex(self) -> Sex:
        """The sex that the day of birth stands for."""
        return Sex.FEMALE if int(self.digits[6:8]) > _FEMALE_OFFSET else Sex.MALE

    @property
    def serial(self) -> int:
        """The serial number among those born on that day in that district."""
        return int(self.digits[12:])

    def may_be_born_on(self, day: date) -> bool:
        """Return whether the digits stand for this date, in whatever century."""
        offset = _FEMALE_OFFSET if self.sex is Sex.FEMALE else 0
        return self.digits[6:12] == f"{day.day + offset:02}{day.month:02}{day.year % 100:02}"

    def __str__(self) -> str:
        return self.digits

    def __repr__(self) -> str:
        return f"Nik('{self.region}**********')"
