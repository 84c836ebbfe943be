"""What an application commits in its own transactions leaves traces in the spool: an older copy of the database is seen."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ktpsync.errors import ClosedError, OutboxDamagedError, OutboxUnavailableError, ReferenceConflictError
from ktpsync.outbox import Outbox, Submission
from ktpsync.outbox._database import used_by_nobody
from ktpsync.packet import new_packet_id

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files are not marked there")

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)

SEALED = b"age-encryption.org/v1\n-> X25519 x\nbody\n--- " + b"A" * 43 + b"\n" + bytes(40)
DAY_MS = 86_400_000


def engine_of(station: Any) -> sa.Engine:
    """Return an application's own engine on the outbox's database."""
    if station.outbox._database.kind == "sqlite":
        return sa.create_engine(f"sqlite:///{station.database}")
    return sa.create_engine(sa.make_url(station.database).set(drivername="postgresql+psycopg"))


def modes(station: Any, *packet_ids: str) -> list[int]:
    """Return the permission bits of packets' files."""
    return [station.outbox.spool.path(packet_id).stat().st_mode & 0o777 for packet_id in packet_ids]


def submit_in(engine: sa.Engine, outbox: Outbox, *, number: int = 0, commit: bool = True) -> str:
    """Submit in an application's transaction; return the packet's id."""
    packet_id = new_packet_id()
    data = SEALED + b"%d" % number
    with engine.connect() as connection:
        outbox.submit(
            data,
            packet_id=packet_id,
            sha256=hashlib.sha256(data).hexdigest(),
            connection=connection,
        )
        if commit:
            connection.commit()
    return packet_id


def moment_of(packet_id: str) -> int:
    """Return the millisecond in a packet's id."""
    return int(packet_id.replace("-", "")[:12], 16)


@pytest.mark.parametrize("when", ["later", "at the end"])
def test_what_an_application_committed_is_marked(station: Any, when: str) -> None:
    """By a submission a minute later, or when the outbox is closed; what was rolled back is not."""
    engine = engine_of(station)
    committed = submit_in(engine, station.outbox)
    rolled_back = submit_in(engine, station.outbox, commit=False)
    assert [0o700, 0o700] == modes(station, committed, rolled_back)
    if when == "later":
        station.clock.advance(61)
        station.submit(b"another")
    else:
        station.outbox.close()
    assert [0o600, 0o700] == modes(station, committed, rolled_back)
    engine.dispose()


def test_a_packet_of_an_open_transaction_is_marked_once_it_is_committed(station: Any) -> None:
    """It is remembered for as long as that takes."""
    engine = engine_of(station)
    other = station.reopen()
    packet_id = new_packet_id()
    with engine.begin() as connection:
        other.submit(
            SEALED, packet_id=packet_id, sha256=hashlib.sha256(SEALED).hexdigest(), connection=connection
        )
        other._marking._leave(other.spool)  # type: ignore[arg-type]
        assert [0o700] == modes(station, packet_id)
    other.close()
    assert [0o600] == modes(station, packet_id)
    engine.dispose()


@on_sqlite
def test_an_older_copy_loses_nothing_that_an_application_committed(station: Any) -> None:
    """An application records with its own transactions only, and last night's copy of its database is put back."""
    engine = engine_of(station)
    submit_in(engine, station.outbox)
    station.outbox.close()
    engine.dispose()
    copy = Path(f"{station.database}.copy")
    shutil.copy(station.database, copy)
    station.outbox = station.reopen()
    since = {submit_in(engine, station.outbox, number=number) for number in range(5)}
    station.outbox.close()
    engine.dispose()
    for part in ("-wal", "-shm"):
        Path(f"{station.database}{part}").unlink(missing_ok=True)
    shutil.copy(copy, station.database)
    station.clock.ms = int(datetime.now(UTC).timestamp() * 1000) + 30 * DAY_MS

    back = station.reopen()
    submit_in(engine, back, number=9)
    engine.dispose()
    back.close()
    back = station.reopen()

    with pytest.raises(OutboxDamagedError, match="older copy"):
        back.collect_orphans()
    with pytest.raises(OutboxDamagedError, match="older copy"):
        back.check_database()
    assert since == {one.packet_id for one in back.unrecorded()}
    taken = {one.packet_id for one in back.unrecorded() if back.recover(one, who="budi", why="older copy")}
    back.end_recovery(who="budi", why="older copy")
    assert since == taken
    assert 0 == back.collect_orphans()
    back.check_database()
    assert 7 == len(list(back.packets()))
    assert () == back.examine(read=True).problems


@on_sqlite
def test_what_left_no_trace_is_there_and_recovered_by_its_date(station: Any) -> None:
    """The application's process was killed before any trace was left: nothing shows a rollback, or that it was none."""
    engine = engine_of(station)
    old = submit_in(engine, station.outbox, commit=False)
    # Of several ids in a millisecond the later ones are ahead of the clock.
    before_ms = moment_of(old) + 1
    station.clock.ms = before_ms + 30 * DAY_MS
    later = new_packet_id()
    while moment_of(later) < before_ms:
        later = new_packet_id()
    station.outbox.spool.write(later, SEALED, hashlib.sha256(SEALED).hexdigest())

    assert 0 == station.outbox.collect_orphans()
    assert [] == list(station.outbox.unrecorded())
    assert [later] == [one.packet_id for one in station.outbox.unrecorded(since_ms=before_ms)]
    assert {old, later} == {one.packet_id for one in station.outbox.unrecorded(since_ms=0)}
    engine.dispose()


def test_a_resent_request_leaves_no_file(station: Any) -> None:
    """What is refused in an application's transaction has no row, whatever becomes of the transaction."""
    engine = engine_of(station)
    items = [
        Submission(
            sealed=data,
            packet_id=new_packet_id(),
            sha256=hashlib.sha256(data).hexdigest(),
            reference="app-1",
            fingerprint=print_,
        )
        for data, print_ in ((b"first", b"1"), (b"again", b"1"), (b"another", b"2"))
    ]
    with engine.connect() as connection:
        first, again, another = station.outbox.submit_many(items, connection=connection)
        assert (True, False) == (first.created, again.created)
        assert isinstance(another, ReferenceConflictError)
        files = {path.stem for path in station.spool.rglob("*.age")}
        connection.rollback()
    assert {items[0].packet_id} == files
    assert [] == list(station.outbox.packets())
    with engine.begin() as connection:
        station.outbox.submit_many(items, connection=connection)
    assert [items[0].packet_id] == [view.packet_id for view in station.outbox.packets()]
    assert {items[0].packet_id} == {path.stem for path in station.spool.rglob("*.age")}
    assert () == station.outbox.examine(read=True).problems
    engine.dispose()


@pytest.mark.parametrize(
    "failure", [OSError("the disk failed"), OutboxUnavailableError("away"), sqlite3.Error("strange")]
)
def test_what_is_stored_is_acknowledged_whatever_fails_afterwards(
    station: Any, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A trace that cannot be left is left the next time."""

    def fail(*_arguments: object) -> None:
        raise failure

    engine = engine_of(station)
    committed = submit_in(engine, station.outbox)
    station.clock.advance(61)
    with monkeypatch.context() as patched:
        patched.setattr(station.outbox._views, "spooled", fail)
        assert station.submit(b"stored").created
    assert [0o700] == modes(station, committed)
    station.outbox.close()
    assert [0o600] == modes(station, committed)
    engine.dispose()


@on_sqlite
def test_a_close_that_is_interrupted_while_it_marks_lets_go_of_all(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild in the same process, as from a notebook, need not wait for its end."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(station.outbox._marking, "end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        station.outbox.close()
    with used_by_nobody(station.database), pytest.raises(ClosedError):
        list(station.outbox.packets())
