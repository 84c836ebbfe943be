"""What a fork must not carry into the child: open database connections.

SQLite keeps its view of file locks in the process. In a forked child it believes that it holds the parent's locks,
which the system did not give it: a third process then takes itself for the only one, removes the write-ahead log under
the child, and what the child commits is gone. That holds even for connections that the child opens itself, if the
parent had one open to the same file when it forked (https://sqlite.org/howtocorrupt.html, section 2.6). So idle
connections are closed before each fork; parent and child open new ones when they need them.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final

from sqlalchemy import event

from ktpsync.errors import OutboxError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ktpsync.outbox._direct import DirectConnections

_watched: Final[weakref.WeakSet[ForkedEngine]] = weakref.WeakSet()
_torn: Final[set[str]] = set()
"""Databases that a thread of the parent was working with when this process was forked."""

_kept: Final[list[object]] = []
"""The parent's connections: they must not be closed here, not even by the garbage collector."""


class ForkedEngine:
    """An engine whose connections no forked child inherits.

    Args:
        engine: The engine.
        address: What it leads to, for messages.
        direct: What keeps connections of its pool.
    """

    def __init__(self, engine: sa.Engine, address: str, direct: DirectConnections) -> None:
        self._engine = engine
        self._direct = direct
        self._address = address
        self._former: list[sa.Pool] = []
        self._open: set[object] = set()
        if engine.name == "sqlite":
            event.listen(engine, "connect", lambda driver, _record: self._open.add(driver))
            event.listen(engine, "close", lambda driver, _record: self._open.discard(driver))
        _watched.add(self)

    def check(self) -> None:
        """Refuse to work where a connection of the parent was in use during the fork.

        Raises:
            OutboxError: It was.
        """
        if self._address in _torn:
            raise OutboxError(
                f"This process was forked while a thread of its parent was working with {self._address}. SQLite cannot "
                "be used safely here, so nothing was stored. Fork before threads use the office, or start the "
                "process anew instead of forking it."
            )

    def let_go(self) -> None:
        """Close the connections that nobody uses, before a fork."""
        self._direct.let_go()
        self._former.append(self._engine.pool)
        self._engine.dispose()
        # What a thread was working with at an earlier fork came back to the pool of that time.
        for pool in self._former:
            pool.dispose()
        if not self._open:
            self._former.clear()

    def begin_anew(self) -> None:
        """Forget the parent's connections, in the child."""
        # Asked only here: a thread of the parent may have begun to work after the others were closed.
        if self._open:
            _torn.add(self._address)
            _kept.extend((self._open, self._former, self._engine.pool))
            self._open, self._former = set(), []
        self._engine.dispose(close=False)


def _before() -> None:
    for one in list(_watched):
        one.let_go()


def _in_child() -> None:
    for one in list(_watched):
        one.begin_anew()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_before, after_in_child=_in_child)
