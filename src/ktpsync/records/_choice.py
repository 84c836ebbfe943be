"""Enumerations of the form: their members are their texts, and what is none of them is not repeated."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

from ktpsync.errors import UnknownTermError
from ktpsync.structure import choices


class Choice(StrEnum):
    """A choice of the form; equal to its text.

    Raises:
        UnknownTermError: The text given to it is none of its choices. The message does not hold the text.
    """

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:  # noqa: ARG003 - it may be a person's
        raise UnknownTermError(f"{cls.__name__} has no such choice. It is one of: {choices(cls)}.")
