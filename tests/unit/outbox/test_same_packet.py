"""The same sealed packet from two sides at once: whatever one of them meets, the other's file stays."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ktpsync import files
from ktpsync.errors import ReferenceConflictError
from ktpsync.outbox import DestinationSpec, Outbox, Submission
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

YEARS_MS = 30 * 365 * 86_400_000


def submission(data: bytes = b"sealed", **more: Any) -> Submission:
    """Return something to submit."""
    facts = {"packet_id": new_packet_id(), "sha256": hashlib.sha256(data).hexdigest()}
    return Submission(sealed=data, **(facts | more))


def submit(outbox: Outbox, item: Submission) -> None:
    """Submit it, all or nothing."""
    (result,) = outbox.submit_many([item])
    assert not isinstance(result, Exception)


def lost(outbox: Outbox) -> list[str]:
    """Return what a row promises and the spool has not."""
    return [problem for problem in outbox.examine(read=True).problems if "spool" in problem]


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Let another thread work from a moment on, for as long as it does not wait for this one; then see it end."""
    with ThreadPoolExecutor(1) as pool:
        begun: list[Any] = []

        def begin() -> None:
            if not begun:
                begun.append(pool.submit(work))
                with contextlib.suppress(TimeoutError):
                    begun[0].result(timeout=0.5)

        yield begin
        for future in begun:
            future.result()
        assert begun


def before(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    begin: Callable[[], None],
    *,
    only: int | None = None,
) -> None:
    """Let something happen just before a call, or before the call of one thread."""
    real = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if only is None or threading.get_ident() == only:
            begin()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("number", [errno.EIO, errno.EEXIST])
def test_a_batch_that_fails_leaves_what_another_submission_took_over(
    station: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The disk fails after one file of a batch has its name: by then somebody may have committed a row for it."""
    shared, second = submission(b"shared"), submission(b"second")
    other = station.reopen()
    real = files._rename_new

    def rename(temporary: Path, path: Path) -> None:
        if path == station.outbox.spool.path(second.packet_id):
            monkeypatch.undo()
            submit(other, shared)
            raise OSError(number, os.strerror(number))
        real(temporary, path)

    monkeypatch.setattr(files, "_rename_new", rename)
    with contextlib.suppress(OSError):
        station.outbox.submit_many([shared, second])

    assert shared.packet_id in {view.packet_id for view in other.packets()}
    assert [] == lost(other)


@pytest.mark.parametrize("spool_kind", ["folder", "storage"])
def test_a_refused_submission_leaves_what_another_one_took_over(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet is refused under one reference and taken under another in the same moment."""
    station.submit(b"first", reference="taken", fingerprint=b"1")
    data = b"shared"
    refused = submission(data, reference="taken", fingerprint=b"2")
    accepted = submission(data, packet_id=refused.packet_id, reference="free", fingerprint=b"2")
    other = station.reopen()
    with beside(lambda: submit(other, accepted)) as begin:
        before(monkeypatch, station.outbox.spool, "discard", begin)
        (result,) = station.outbox.submit_many([refused])

    assert isinstance(result, ReferenceConflictError)
    assert accepted.packet_id in {view.packet_id for view in other.packets()}
    assert [] == lost(other)


def test_a_clock_that_jumps_years_ahead_costs_no_packet_that_is_just_being_stored(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By such a clock the file of this moment is years old, and it has no row yet."""
    other = station.reopen()

    def jump_and_collect() -> None:
        station.clock.ms += YEARS_MS
        other.collect_orphans()

    with beside(jump_and_collect) as begin:
        before(monkeypatch, station.outbox._intake, "_record", begin)
        station.outbox.submit_many([submission(b"a"), submission(b"b")])

    assert 2 == len(list(other.packets()))
    assert [] == lost(other)


@pytest.mark.parametrize("spool_kind", ["folder", "storage"])
def test_the_collector_leaves_what_an_open_transaction_has_a_row_for(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database server nobody sees the row before the application commits."""
    from sqlalchemy import create_engine, make_url

    if station.outbox._database.kind == "sqlite":
        pytest.skip("there the collector waits until the application has committed")
    engine = create_engine(make_url(station.database).set(drivername="postgresql+psycopg"))
    item = submission(b"in the application's transaction")
    with engine.begin() as connection:
        station.outbox.submit_many([item], connection=connection)
        station.clock.ms += YEARS_MS
        assert 0 == station.outbox.collect_orphans()
    engine.dispose()

    assert [] == lost(station.outbox)
    assert 1 == len(list(station.outbox.packets()))


def test_a_packet_that_is_sent_again_after_its_purge_leaves_no_file(station: Any) -> None:
    """What is refused because the id is taken is not kept under the id of a packet whose bytes have gone."""
    item = submission(b"first")
    submit(station.outbox, item)
    with station.outbox._database.write() as connection:
        connection.exec_driver_sql("UPDATE ktpsync_packet SET location = 'purged'")
    station.outbox.spool.discard(item.packet_id)
    (result,) = station.outbox.submit_many([submission(b"other", packet_id=item.packet_id)])

    assert isinstance(result, ReferenceConflictError)
    assert not station.outbox.spool.path(item.packet_id).exists()


def test_batches_with_the_same_references_in_another_order_do_not_stop_each_other(station: Any) -> None:
    """Two machines submit the same enrollments anew, one from the first and one from the last on."""
    other = station.reopen()

    def batch(outbox: Outbox, order: int) -> list[Any]:
        facts = [(b"%d %d" % (order, n), f"app-{n}", bytes([n])) for n in range(100)][::order]
        return outbox.submit_many(
            [submission(data, reference=reference, fingerprint=print_) for data, reference, print_ in facts]
        )

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(batch, (station.outbox, other), (1, -1)))

    assert [] == [one for result in results for one in result if isinstance(one, Exception)]
    assert [one.packet_id for one in results[0]] == [one.packet_id for one in results[1]][::-1]
    assert 100 == len(list(other.packets()))
    assert [] == lost(other)


def test_nothing_that_is_acknowledged_is_lost_whatever_fails_meanwhile(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several submit the same packets, the disk and the database fail now and then, and a collector runs beside them."""
    chance = random.Random(5)
    outboxes = [station.outbox, *(station.reopen("central", "usb") for _ in range(2))]
    items = [
        [
            submission(b"%d %d" % (turn, n), reference=f"{turn}-{n % 2}", fingerprint=bytes([n]))
            for n in range(4)
        ]
        for turn in range(12)
    ]
    real_rename = files._rename_new
    station.clock.ms += YEARS_MS
    acknowledged: list[str] = []

    def rename(temporary: Path, path: Path) -> None:
        real_rename(temporary, path)
        if chance.random() < 0.1:
            raise OSError(errno.EIO, "the disk failed")

    def work(outbox: Outbox) -> None:
        mine = random.Random(id(outbox))
        for batch in items:
            some = mine.sample(batch, 3)
            with contextlib.suppress(OSError, RuntimeError):
                results = outbox.submit_many(some)
                acknowledged.extend(one.packet_id for one in results if not isinstance(one, Exception))
            with contextlib.suppress(OSError, RuntimeError):
                outbox.collect_orphans()

    monkeypatch.setattr(files, "_rename_new", rename)
    for outbox in outboxes:
        fail_now_and_then(outbox, chance)
    with ThreadPoolExecutor(len(outboxes)) as pool:
        list(pool.map(work, outboxes))
    monkeypatch.undo()

    with Outbox.open(
        station.database, station.spool, destinations=[DestinationSpec(name="central")]
    ) as outbox:
        assert [] == lost(outbox)
        assert acknowledged
        assert set() == set(acknowledged) - {view.packet_id for view in outbox.packets()}


def fail_now_and_then(outbox: Outbox, chance: random.Random) -> None:
    """Let a transaction of an outbox fail now and then, or the news of its commit."""
    real_append, real_insert = outbox.audit.append, outbox._intake._insert_alone

    def append(*arguments: Any, **options: Any) -> None:
        if chance.random() < 0.1:
            raise RuntimeError("the database failed")
        real_append(*arguments, **options)

    def insert(*arguments: Any) -> Any:
        results = real_insert(*arguments)
        if chance.random() < 0.1:
            raise RuntimeError("the database's answer was lost")
        return results

    outbox.audit.append = append  # type: ignore[method-assign]
    outbox._intake._insert_alone = insert  # type: ignore[method-assign]


def test_rows_are_inserted_in_one_order_whatever_the_batchs_is(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who submit the same packets or references at once cannot wait for each other in a circle."""
    database = station.outbox._database
    real = database.change
    inserted: list[str] = []

    def change(transaction: Any, statement: str, values: Any) -> int:
        if "INTO ktpsync_packet" in statement:
            rows = values if isinstance(values, list) else [values]
            inserted.extend(row["reference"] or row["packet_id"] for row in rows if "reference" in row)
        return int(real(transaction, statement, values))

    monkeypatch.setattr(database, "change", change)
    plain = [submission(b"%d" % n) for n in range(3)]
    named = [
        [submission(b"%d" % n, reference=f"r{n}", fingerprint=b"%d" % n) for n in range(3)] for _ in range(2)
    ]

    first = station.outbox.submit_many([plain[1], named[0][2], plain[0], named[0][0], plain[2], named[0][1]])
    one_order = inserted.copy()
    inserted.clear()
    again = station.outbox.submit_many([*named[1], *reversed(plain)])

    assert [True] * 6 == [one.created for one in first]
    assert [False] * 6 == [one.created for one in again]
    assert [named[0][n].packet_id for n in range(3)] == [one.packet.packet_id for one in again[:3]]
    assert [item.packet_id for item in reversed(plain)] == [one.packet.packet_id for one in again[3:]]
    assert 6 == len(one_order)
    # Together at first, then one by one.
    assert [*one_order, *one_order] == inserted


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
def test_a_batch_that_the_server_ends_for_a_deadlock_is_stored_all_the_same(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    """Somebody else's transaction, whose order is not ours, costs a batch a second try and no error."""
    with Outbox.open(new_database(), tmp_path / "spool") as outbox, ThreadPoolExecutor(1) as pool:
        first, second = sorted((submission() for _ in range(2)), key=lambda item: item.packet_id)
        engine = outbox._database.engine
        with engine.connect() as other:
            outbox.submit_many([second], connection=other)
            storing = pool.submit(outbox.submit_many, [first, second])
            with engine.connect() as looking:
                waits = sa.text("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
                while not looking.execute(waits).scalar_one():
                    looking.rollback()
            outbox.submit_many(
                [first], connection=other
            )  # waits until the server ends the batch's transaction
            other.rollback()
        assert [True, True] == [one.created for one in storing.result()]
        assert [] == lost(outbox)
