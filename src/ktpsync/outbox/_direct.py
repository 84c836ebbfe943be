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


class DirectConnections:
    """Connections of an engine that go from one small transaction to the next, past its pool.

    Taking one from the pool and giving it back costs more than SQLite's part in some of these transactions.

    Args:
        engine: Where they come from.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._idle: deque[sqlite3.Connection] = deque()
        self._pooled: dict[sqlite3.Connection, PoolProxiedConnection] = {}

    def take(self) -> sqlite3.Connection:
        """Return a connection that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            with TranslatedErrors():
                pooled = self._engine.raw_connection()
            driver = pooled.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            self._pooled[driver] = pooled
            return driver

    def give_back(self, driver: sqlite3.Connection) -> None:
        """Take a connection back and undo what it has not committed."""
        if driver.in_transaction:
            try:
                driver.rollback()
            except sqlite3.Error:
                self._pooled.pop(driver).invalidate()  # closing it undoes it too
                return
        self._idle.append(driver)

    def let_go(self) -> None:
        """Give the connections that nobody uses back to the pool."""
        with contextlib.suppress(IndexError):
            while True:
                self._pooled.pop(self._idle.pop()).close()


class DirectTransaction:
    """A transaction that holds the write lock from its start; committed at the end, or undone after an error.

    Args:
        connections: Where its connection comes from.
    """

    # A class: a generator would take as long as a statement.

    __slots__ = ("_connections", "_driver")

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    def __enter__(self) -> sqlite3.Connection:
        driver = self._connections.take()
        try:
            driver.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._connections.give_back(driver)
            translate(error)
            raise
        self._driver = driver
        return driver

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._driver.commit()
        except sqlite3.Error as failure:
            translate(failure)
            raise
        finally:
            self._connections.give_back(self._driver)
        if error is not None:
            translate(error)
