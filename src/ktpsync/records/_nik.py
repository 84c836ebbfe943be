"""NIK: the number that every resident has for life."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime
from typing import Final

from attrs import field, frozen

from ktpsync.errors import NikError
from ktpsync.records._problems import problem
from ktpsync.records._terms import Sex

_SEPARATORS: Final = re.compile(r"[ .\-]")
_SIXTEEN_DIGITS: Final = re.compile(r"[0-9]{16}")
_FEMALE_OFFSET: Final = 40
_CENTURIES: Final = (1900, 2000)

PATTERN: Final = (
    "[0-9]{6}"
    "(?:"
    "(?:0[1-9]|1[0-9]|2[0-8]|4[1-9]|5[0-9]|6[0-8])(?:0[1-9]|1[0-2])[0-9]{2}"
    "|(?:29|30|69|70)(?:0[13-9]|1[0-2])[0-9]{2}"
    "|(?:31|71)(?:0[13578]|1[02])[0-9]{2}"
    "|(?:29|69)02(?:[02468][048]|[13579][26])"
    ")"
    "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
)
"""The same rules as a regular expression, for the JSON Schema; of 1900 and 2000 only 2000 was a leap year."""


def without_separators(text: str) -> str:
    """Return what people type as a NIK without the spaces, dots and hyphens that they put between."""
    return _SEPARATORS.sub("", text)


def _check(_: object, __: object, digits: str) -> None:
    code = _wrong(digits)
    if code is not None:
        raise NikError(problem("nik", code).message, code=code)


def _wrong(digits: str) -> str | None:
    """Return the code of what is wrong with the digits, if anything is."""
    if not _SIXTEEN_DIGITS.fullmatch(digits):
        return "nik.digits"
    if digits[12:] == "0000":
        return "nik.serial"
    day, month, year = int(digits[6:8]), int(digits[8:10]), int(digits[10:12])
    if day > _FEMALE_OFFSET:
        day -= _FEMALE_OFFSET
    if not 1 <= month <= 12:  # noqa: PLR2004 - months of a year
        return "nik.month"
    longest = max(calendar.monthrange(century + year, month)[1] for century in _CENTURIES)
    return None if 1 <= day <= longest else "nik.day"


def birth_digits(born: date, sex: Sex) -> str:
    """Return the six digits that stand for a birth date and a sex: women's days are plus 40."""
    offset = _FEMALE_OFFSET if sex is Sex.FEMALE else 0
    return f"{born.day + offset:02}{born.month:02}{born.year % 100:02}"


@frozen
class Nik:
    """A NIK: region of first issue, birth date, serial number.

    The region may be one that no longer exists and the date one that was corrected later: a NIK never
    changes (PP 40/2019 art. 30(2)). Both are reported as warnings by validation, never refused here.

    As text, and in an f-string, it shows the region alone, so that no log line tells whose it is; ``digits`` has all.

    Args:
        digits: 16 digits; spaces, dots and hyphens are dropped.

    Raises:
        NikError: It cannot be a NIK. The message holds no digit of it.
    """

    digits: str = field(converter=without_separators, validator=_check)

    @property
    def region(self) -> str:
        """The six digits of province, regency or city, and district, where the number was first given."""
        return self.digits[:6]

    @property
    def province(self) -> str:
        """The two digits of the province."""
        return self.digits[:2]

    @property
    def regency(self) -> str:
        """The four digits of province and regency or city."""
        return self.digits[:4]

    @property
    def sex(self) -> Sex:
        """The sex that the day of birth stands for."""
        return Sex.FEMALE if int(self.digits[6:8]) > _FEMALE_OFFSET else Sex.MALE

    @property
    def serial(self) -> int:
        """The serial number among those born on that day in that district."""
        return int(self.digits[12:])

    def possible_birth_dates(self, *, by: date | None = None) -> tuple[date, ...]:
        """Return the dates that the digits can stand for, the earliest first: the year has two digits only.

        Args:
            by: No date after this one is possible; default: today in UTC.
        """
        last = datetime.now(UTC).date() if by is None else by
        day, month, year = int(self.digits[6:8]), int(self.digits[8:10]), int(self.digits[10:12])
        day -= _FEMALE_OFFSET if self.sex is Sex.FEMALE else 0
        years = (century + year for century in _CENTURIES)
        dates = (date(one, month, day) for one in years if day <= calendar.monthrange(one, month)[1])
        return tuple(one for one in dates if one <= last)

    def may_be_born_on(self, day: date) -> bool:
        """Return whether the digits stand for this date, in whatever century."""
        return self.digits[6:12] == birth_digits(day, self.sex)

    def __str__(self) -> str:
        return f"{self.region}**********"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __repr__(self) -> str:
        return f"Nik('{self}')"
