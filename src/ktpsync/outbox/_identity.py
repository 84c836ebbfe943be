"""The outbox's own id: what its database is of, for backups, transactional submits and the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.errors import OutboxDamagedError
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from ktpsync.clock import Clock
    from ktpsync.outbox._database import Database
    from ktpsync.outbox._spool import Spool

_KNOWN = "SELECT outbox_id FROM ktpsync_outbox WHERE id = 1"
_MAKE = """
INSERT INTO ktpsync_outbox (id, outbox_id, created_ms) VALUES (1, :outbox_id, :now) ON CONFLICT DO NOTHING
"""


def outbox_id(
    database: Database, spool: Spool, clock: Clock, *, recovering: bool, looking: bool = False
) -> str:
    """Return the id of an outbox, which a new database is given here.

    Args:
        database: Its database, with its tables.
        spool: Its spool.
        clock: The clock to ask.
        recovering: Whether the spool may hold packets that a new database does not know.
        looking: Whether a new database is to be left as it is, and refused the next time as it would be now.

    Raises:
        OutboxDamagedError: The database is new and the spool is not: the one that knew its packets is missing.
    """
    with database.read() as connection:
        known: str | None = connection.execute(database.sql(_KNOWN)).scalar()
    if known is not None:
        return known
    owner = spool.owner() if recovering else None
    if looking:
        return owner or new_packet_id()
    with database.write() as connection:
        made = connection.execute(
            database.sql(_MAKE), {"outbox_id": owner or new_packet_id(), "now": clock.now_ms()}
        ).rowcount
        if made and not recovering and next(spool.pages(1), None):
            folder = spool.place
            if not database.own:
                raise OutboxDamagedError(
                    f"The outbox's database {database.address} is new, but the spool {folder} holds "
                    "sealed packets: the database or the tables that knew them are missing. Nothing was changed; put them back "
                    "from a backup of the database. If there is none, `ktpsync doctor --recover` gives the packets new rows."
                )
            raise OutboxDamagedError(
                f"The outbox's database {database.address} is new, but the spool {folder} holds "
                "sealed packets: the database that knew them is missing. Nothing was changed; put it back, or "
                "let `ktpsync doctor --rebuild` make it anew from the packets."
            )
        return str(connection.execute(database.sql(_KNOWN)).scalar_one())
