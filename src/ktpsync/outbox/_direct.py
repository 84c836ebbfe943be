"""Transactions of a few statements straight on SQLite's driver."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from typing import TYPE_CHECKING

from ktpsync.outbox._failures import TranslatedErrors, translate

if TYPE_CHECKING:
    from types import TracebackType

    import sqlalchemy as sa
    from sqlalchemy.pool import PoolProxiedConnection

    Held = tuple[sqlite3.Connection, PoolProxiedConnection]
    """A connection and what it belongs to the pool by.

    Nothing but the transaction holds it: should an interruption, such as Ctrl+C, come between two steps, it goes back to
    the pool as soon as nobody has it, and the pool undoes what it has not committed.
    """


class DirectConnections:
    """Connections of an engine that go from one small transaction to the next, past its pool.

    Taking one from the pool and giving it back costs more than SQLite's part in some of these transactions.

    Args:
        engine: Where they come from.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._idle: deque[Held] = deque()

    def take(self) -> Held:
        """Return a connection that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            with TranslatedErrors():
                pooled = self._engine.raw_connection()
            driver = pooled.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            return driver, pooled

    def give_back(self, held: Held) -> None:
        """Take a connection back and undo what it has not committed."""
        driver, pooled = held
        if driver.in_transaction:
            try:
                driver.rollback()
            except sqlite3.Error:
                pooled.invalidate()  # closing it undoes it too
                return
        self._idle.append(held)

    def let_go(self) -> None:
        """Give the connections that nobody uses back to the pool."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()


class DirectTransaction:
    """A transaction that holds the write lock from its start; committed at the end, or undone after an error.

    Args:
        connections: Where its connection comes from.
    """

    # A class: a generator would take as long as a statement.

    __slots__ = ("_connections", "_held")

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    def __enter__(self) -> sqlite3.Connection:
        self._held = held = self._connections.take()
        try:
            held[0].execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._connections.give_back(held)
            translate(error)
            raise
        return held[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._held[0].commit()
        except sqlite3.Error as failure:
            translate(failure)
            raise
        finally:
            self._connections.give_back(self._held)
        if error is not None:
            translate(error)
