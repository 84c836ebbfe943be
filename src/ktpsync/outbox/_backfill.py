"""Giving a new destination or backup the packets that are there already, while others go on recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktpsync.errors import OutboxError
from ktpsync.outbox._failures import is_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.clock import Clock
    from ktpsync.outbox._connection import Connection
    from ktpsync.outbox._database import Database

FILLING: Final = 2
"""What a destination is as long as it is given older packets: it gets new ones already, and is not served yet."""

_GIVE = """
INSERT INTO ktpsync_delivery (packet_id, dest, state, urgent, size, due_ms)
SELECT p.packet_id, t.dest, 'open', p.urgent, p.size, CASE WHEN p.created_ms < :now THEN p.created_ms ELSE :now END
FROM ktpsync_packet p CROSS JOIN ktpsync_destination t
WHERE t.active > 0 AND p.location <> 'purged' {which} ORDER BY p.packet_id ON CONFLICT DO NOTHING
"""
_GIVE_ALL = _GIVE.format(which="")
_GIVE_PART = _GIVE.format(which="AND t.dest = :dest AND p.packet_id IN :ids")
_PAGE = """
SELECT packet_id FROM ktpsync_packet WHERE packet_id > :low AND location <> 'purged' ORDER BY packet_id LIMIT :count
"""
_HELD = """
SELECT packet_id FROM ktpsync_packet WHERE packet_id IN :ids AND location <> 'purged' FOR SHARE SKIP LOCKED
"""
_AT_ONCE = 250
"""Packets that are given in one transaction: on SQLite those who record wait for so long."""

_WRITERS = """
SELECT virtualtransaction FROM pg_locks
WHERE relation = CAST('ktpsync_packet' AS regclass) AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_ANNOUNCE = "UPDATE ktpsync_version SET version_num = version_num"
_HEED = "SELECT 1 FROM ktpsync_version FOR SHARE"
"""PostgreSQL refuses this to a transaction that sees the state from before an announcement, and to nobody else."""

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02


def backfill_all(database: Database, connection: Connection, now_ms: int) -> None:
    """Give all destinations the packets that they lack, in the caller's transaction, which nobody else disturbs."""
    connection.execute(database.sql(_GIVE_ALL), {"now": now_ms})


def announce(database: Database, connection: Connection, dest: str) -> None:
    """Say, in the transaction that makes a destination one that is being filled, that there is a new one.

    Transactions of an application that see one state from their start to their end would not see the destination:
    those that submit already are waited for, and those that submit later fail; see :func:`heed`.

    Raises:
        OutboxError: A transaction that began to submit before is still open.
    """
    if database.kind == "sqlite":
        return
    try:
        connection.execute(database.sql(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS:.0f}s'"))
        connection.execute(database.sql(_ANNOUNCE))
    except Exception as error:
        if is_lock_timeout(error):
            raise _still_open(dest) from error
        raise


def heed(database: Database, connection: Connection) -> None:
    """Fail in an application's transaction that may not see a new destination: the packet would never get there.

    To be called where a transaction sees one state from its start to its end (``REPEATABLE READ``, ``SERIALIZABLE``).
    """
    connection.execute(database.sql(_HEED))


def backfill(database: Database, dest: str, clock: Clock) -> None:
    """Give a destination the packets that it lacks, a part after the other. Killed meanwhile it can be done again.

    Whoever has seen that the destination is being filled gives it new packets himself.

    Args:
        database: The outbox's database.
        dest: The destination, which is being filled since a transaction that was committed.
        clock: The clock to ask.

    Raises:
        OutboxError: A transaction that began to submit before is still open.
    """
    if database.kind == "postgresql":
        _wait_for_writers(database, dest, clock)
    low: str | None = ""
    while low is not None:
        low = _part(database, dest, low, clock)


def _part(database: Database, dest: str, low: str, clock: Clock) -> str | None:
    """Give a destination the next packets; return the id of the last one, ``None`` if there was none."""
    give = database.among(_GIVE_PART, "ids")
    while True:
        with database.write() as connection:
            page = connection.execute(database.sql(_PAGE), {"low": low, "count": _AT_ONCE})
            ids = page.scalars().all()
            if not ids:
                return None
            held = _held(database, connection, ids)
            if held:
                connection.execute(give, {"dest": dest, "ids": held, "now": clock.now_ms()})
        if len(held) == len(ids):
            return str(ids[-1])
        clock.sleep(_LOOK_SECONDS)


def _held(database: Database, connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    """Return those of the packets that nobody else is just changing, and keep others from it.

    Waiting for one while others wait for another one would be a deadlock. On SQLite the transaction itself keeps all
    others away.
    """
    if database.kind == "sqlite":
        return ids
    return connection.execute(database.among(_HELD, "ids"), {"ids": ids}).scalars().all()


def _wait_for_writers(database: Database, dest: str, clock: Clock) -> None:
    """Wait for the transactions that may not have seen the destination, and hold up nobody."""
    before = _writers(database)
    give_up = clock.monotonic() + _WAIT_SECONDS
    while before := before & _writers(database):
        if clock.monotonic() > give_up:
            raise _still_open(dest)
        clock.sleep(_LOOK_SECONDS)


def _writers(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(database.sql(_WRITERS)).scalars())


def _still_open(dest: str) -> OutboxError:
    return OutboxError(
        f"{dest} is new, and cannot be given the packets that are there: a transaction that submits packets has "
        f"been open for more than {_WAIT_SECONDS:.0f} seconds. Nothing is lost; end it, and start this again."
    )
