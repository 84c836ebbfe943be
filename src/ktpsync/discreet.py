"""Keeping secrets out of what error reporters collect."""

from __future__ import annotations

import functools
import sys
import traceback
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")


def discreet(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function whose errors carry no local variables of it and of what it calls.

    Some error reporters and loggers send the variables of every frame of a traceback. With keys, passphrases and
    plaintext among them, an error about a damaged file would give away what the file protects.

    What was already being handled when the function was called belongs to the caller and stays as it is.
    """

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        handled = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            link: BaseException | None = error
            while link is not None and link is not handled:
                traceback.clear_frames(link.__traceback__)
                link = link.__cause__ or link.__context__
            raise

    return call
