"""What the outbox uses of a connection: its own to SQLite and those of SQLAlchemy have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Scalars(Protocol):
    """One value of each row."""

    def __iter__(self) -> Iterator[Any]: ...

    def all(self) -> Sequence[Any]:
        """Return all values."""


class Result(Protocol):
    """What a statement returns; see SQLAlchemy's ``CursorResult``."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed, over all values."""

    def __iter__(self) -> Iterator[Any]: ...

    def all(self) -> Sequence[Any]:
        """Return all rows, their columns as attributes."""

    def first(self) -> Any:
        """Return the first row, or ``None``."""

    def one(self) -> Any:
        """Return the only row."""

    def scalar(self) -> Any:
        """Return the first value of the first row, or ``None``."""

    def scalar_one(self) -> Any:
        """Return the first value of the only row."""

    def scalars(self) -> Scalars:
        """Return the first value of each row instead of the row."""


class Connection(Protocol):
    """A connection in a transaction; see SQLAlchemy's ``Connection``."""

    def execute(self, statement: Any, parameters: Any = None, /) -> Result:
        """Execute a statement, with a list of values once for each."""

    def exec_driver_sql(self, statement: str, /) -> Result:
        """Execute the text of a statement."""

    def rollback(self) -> None:
        """End the transaction without its changes."""
