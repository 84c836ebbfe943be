"""Whether an outbox is whole, so that there is nothing to make anew."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ktpsync.errors import OutboxError, SchemaVersionError
from ktpsync.outbox._outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.clock import Clock
    from ktpsync.outbox._folder_spool import FolderSpool


def is_sound(database: Path, spool: FolderSpool, *, clock: Clock) -> bool:
    """Return whether a database file opens, agrees with its spool and its trail, and is no older copy.

    Args:
        database: The file. It may be missing.
        spool: The sealed files. All of them are read.
        clock: The clock to ask.

    Raises:
        SchemaVersionError: The database is of a newer release.
    """
    if not database.exists():
        return False
    try:
        with Outbox.open(database, spool.folder, clock=clock) as outbox:
            found = outbox.examine(read=True)
            # Without marks nothing tells an older copy's packets from a rollback's files.
            return not found.problems and (not found.notices or spool.marks())
    except SchemaVersionError:
        raise
    except (OutboxError, sqlite3.Error):
        return False
