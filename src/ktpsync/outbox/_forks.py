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

from ktpsync.errors import OutboxError
from ktpsync.outbox._sqlite import SqliteFile

if TYPE_CHECKING:
    import sqlalchemy as sa

_watched: Final[weakref.WeakSet[ForkedEngine]] = weakref.WeakSet()
_torn: Final[set[str]] = set()
"""Databases that a thread of the parent was working with when this process was forked."""


class ForkedEngine:
    """An engine whose connections no forked child inherits.

    Args:
        engine: The engine.
        address: What it leads to, for messages.
    """

    def __init__(self, engine: sa.Engine | SqliteFile, address: str) -> None:
        self._engine = engine
        self._address = address
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
        if isinstance(self._engine, SqliteFile):
            self._engine.close()
        else:
            self._engine.dispose()

    def begin_anew(self) -> None:
        """Forget the parent's connections, in the child."""
        if not isinstance(self._engine, SqliteFile):
            self._engine.dispose(close=False)
        # Asked only here: a thread of the parent may have begun to work after the others were closed.
        elif self._engine.abandon():
            _torn.add(self._address)


def _before() -> None:
    for one in list(_watched):
        one.let_go()


def _in_child() -> None:
    for one in list(_watched):
        one.begin_anew()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_before, after_in_child=_in_child)
