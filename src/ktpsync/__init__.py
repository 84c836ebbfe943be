"""Record e-KTP enrolments through outages, and lose none.

The names here are loaded on first use: ``import ktpsync`` itself imports neither SQLAlchemy nor any backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktpsync import age, errors

_HOME = {
    "age": "ktpsync.age",
    "errors": "ktpsync.errors",
}
"""Public name to the module it lives in; a name that is itself a module maps to that module."""

__all__ = ["age", "errors"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ktpsync' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if _HOME[name] == f"ktpsync.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
