"""Giving packets in the spool new headers, while couriers and backups are at work."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ktpsync.errors import OutboxError
from ktpsync.outbox import DeliveryState, FolderSpool, Rejected, StorageSpool, rebuild
from ktpsync.outbox._deliveries import _CLAIM
from ktpsync.outbox._rewrap_storage import StorageSwitch
from ktpsync.plugins import Holding, HoldingState, StatusChange, StatusPage

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDERS = [("sqlite", "folder"), ("postgresql", "folder")]
_STORAGE = [("postgresql", "storage")]
"""Storage without a database server is refused by the configuration."""


def _on(places: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("new_database", "spool_kind"), places, indirect=["new_database"])


anywhere, on_folder, on_storage = _on(_FOLDERS + _STORAGE), _on(_FOLDERS), _on(_STORAGE)
on_server = _on([("postgresql", "folder"), *_STORAGE])

REPOSITORY = "5a6f1c9e-3a52-4b53-8f2d-0c6f3f1f7a10"


def wrap(sealed: bytes) -> bytes | None:
    """Stand for age: replace the header of what is sealed to the old key."""
    header, _, payload = sealed.partition(b"|")
    return b"a longer, new header|" + payload if header == b"old" else None


def rewrap(
    station: Any, to: str = "new", how: Callable[[bytes], bytes | None] = wrap, *, held: bool = False
) -> Any:
    """Rewrap all packets."""
    return station.outbox.rewrap(how, to=to, who="budi", held=held)


def spooled(station: Any, packet_id: str) -> bytes:
    """Return the bytes in the spool, after comparing them with the row."""
    (view,) = [view for view in station.outbox.packets() if view.packet_id == packet_id]
    with station.outbox.spool.packet(packet_id, view.sha256, view.size).open() as file:
        data: bytes = file.read()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (view.sha256, view.size)
    return data


def leftovers(station: Any) -> list[str]:
    """Return the names of files in the spool that are no packet's only one."""
    if isinstance(station.outbox.spool, StorageSpool):
        names = sorted(path.name for path in station.spool.glob("spool/*/*"))
        return [name for name, before in zip(names[1:], names, strict=False) if name[:36] == before[:36]]
    return [path.name for path in station.spool.glob("*/*") if path.suffix != ".age"]


def file_of(station: Any, packet_id: str) -> Path:
    """Return the only file that a packet has."""
    (path,) = station.spool.rglob(f"{packet_id}*.age")
    found: Path = path
    return found


@anywhere
def test_packets_that_never_left_get_new_bytes(station: Any) -> None:
    """File, row and what the courier is given agree, and the trail says what happened."""
    packet = station.submit(b"old|enrollment").packet

    report = rewrap(station)

    assert (1, True) == (report.rewrapped, report.done)
    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)
    (lease,) = station.claim()
    with lease.packet.open() as file:
        assert hashlib.sha256(file.read()).hexdigest() == lease.packet.sha256
    told = [entry for entry in station.outbox.audit.entries() if entry.event == "rewrapped"]
    assert [("budi", packet.packet_id)] == [(entry.who, entry.packet_id) for entry in told]
    assert packet.sha256 in told[0].detail
    assert lease.packet.sha256 in told[0].detail
    assert () == station.outbox.audit.verify().problems
    assert [] == leftovers(station)


@anywhere
def test_what_is_on_its_way_stays(station: Any) -> None:
    """Leased, returned after a broken line, rejected: whoever may hold the bytes must get the same again."""
    leased, returned, rejected = (station.submit(b"old|%d" % number).packet for number in range(3))
    first, second, third = station.claim(limit=3)
    station.outbox.release(second)
    station.outbox.apply("central", [Rejected(lease=third, code="schema", reason="refused")])

    report = rewrap(station)

    assert sorted([leased.packet_id, returned.packet_id, rejected.packet_id]) == sorted(report.moving)
    assert not report.done
    for packet in (leased, returned, rejected):
        assert spooled(station, packet.packet_id).startswith(b"old|")
    station.outbox.settle(first, station.receipt(first.packet))
    assert 1 == rewrap(station).rewrapped


@anywhere
def test_what_a_centre_may_ask_for_again_stays(station: Any) -> None:
    """A packet that a centre has is rewrapped when the centre's status is final, and not before."""
    packet = station.submit(b"old|enrollment").packet
    (lease,) = station.claim()
    station.outbox.settle(lease, station.receipt(lease.packet))

    def status(name: str) -> None:
        change = StatusChange(
            packet_id=packet.packet_id, status=name, changed_at=datetime(2026, 1, 2, tzinfo=UTC)
        )
        station.outbox.apply_statuses("central", StatusPage(changes=[change], cursor=name, more=False))

    status("PROCESSING")
    assert [packet.packet_id] == rewrap(station).moving
    status("CARD_PRINTED")
    assert 1 == rewrap(station).rewrapped


@anywhere
def test_what_a_destination_holds_is_rewrapped_where_a_person_wants_it(station: Any) -> None:
    """A packet whose person the centre could not register is named; only what has a receipt gets other bytes before its end."""
    held, refused = (station.submit(b"old|%d" % number).packet for number in range(2))
    first, second = station.claim(limit=2)
    station.outbox.settle(first, station.receipt(first.packet))
    station.outbox.apply("central", [Rejected(lease=second, code="schema", reason="refused")])
    change = StatusChange(
        packet_id=held.packet_id,
        status="ENROLL_FAILURE_AT_CENTRAL",
        changed_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    station.outbox.apply_statuses("central", StatusPage(changes=[change], cursor="1", more=False))

    report = rewrap(station)
    assert {held.packet_id, refused.packet_id} == {*report.rejected} == {*report.moving}

    report = rewrap(station, held=True)
    assert (1, [refused.packet_id]) == (report.rewrapped, report.rejected)
    assert spooled(station, refused.packet_id).startswith(b"old|")
    station.outbox.handled(refused.packet_id, "central", who="siti", why="on a disk")
    report = rewrap(station)
    assert (1, True) == (report.rewrapped, report.done)


@anywhere
def test_a_receipt_for_the_former_bytes_stays_good(station: Any) -> None:
    """Asked after a rewrap, the centre is asked for the bytes that it gave the receipt for."""
    packet = station.submit(b"old|enrollment").packet
    (lease,) = station.claim()
    receipt = station.receipt(lease.packet)
    station.outbox.settle(lease, receipt)
    rewrap(station)

    (asked,) = station.outbox.to_reconcile("central")
    holding = Holding(packet_id=packet.packet_id, state=HoldingState.HELD, receipt=receipt)
    applied = station.outbox.apply_holdings("central", [holding])

    assert packet.sha256 == asked.sha256
    assert ((), ()) == (applied.requeued, applied.conflicts)
    states = {d.destination: d.state for d in station.outbox.status(packet.packet_id).deliveries}
    assert DeliveryState.DELIVERED == states["central"]


@anywhere
def test_backups_take_the_new_bytes(station: Any) -> None:
    """A copy of the former bytes is no copy any more: the next backup takes the new ones."""
    packet = station.submit(b"old|enrollment").packet
    station.outbox.register_copy_target(REPOSITORY)
    station.outbox.mark_copied(
        REPOSITORY, {packet.packet_id: packet.sha256}, "snapshot", verified_ms=station.clock.ms
    )

    rewrap(station)

    (lacking,) = station.outbox.uncopied(REPOSITORY)
    with lacking.open() as file:
        assert (b"a longer, new header|enrollment", lacking.size) == (file.read(), 31)
    assert () == station.outbox.copy_holders(packet.packet_id)


@anywhere
def test_a_copy_of_the_former_bytes_does_not_count(station: Any) -> None:
    """A disk that was away is verified after the rewrap: what it holds is no copy, and the new bytes stay here."""
    packet = station.submit(b"old|enrollment").packet
    station.outbox.register_copy_target(REPOSITORY)
    rewrap(station)

    station.outbox.mark_copied(REPOSITORY, {packet.packet_id: packet.sha256}, "snapshot", verified_ms=1)

    assert [packet.packet_id] == [one.packet_id for one in station.outbox.uncopied(REPOSITORY)]
    assert 0 == station.outbox.offload(1 << 30, who="siti", prove=lambda _: True)
    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)


@anywhere
def test_run_again_it_goes_on(station: Any) -> None:
    """What is rewrapped already is not done again, until the recipients change once more."""
    for number in range(40):
        station.submit(b"old|%d" % number)
    calls = 0

    def fails_late(sealed: bytes) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(5, "Input/output error")
        return wrap(sealed)

    with pytest.raises(OSError, match="Input/output"):
        rewrap(station, how=fails_late)
    assert 24 == rewrap(station).rewrapped
    assert 0 == rewrap(station).rewrapped
    assert 40 == rewrap(station, to="newer", how=lambda sealed: sealed).rewrapped
    assert 40 == rewrap(station, to="new", how=lambda sealed: sealed).rewrapped


@anywhere
def test_what_cannot_be_opened_stays(station: Any) -> None:
    """A packet that the identity does not open, and a damaged one, are named and left as they are."""
    other = station.submit(b"new|enrollment").packet
    damaged = station.submit(b"old|enrollment").packet
    file_of(station, damaged.packet_id).write_bytes(b"old|enrolment!")

    report = rewrap(station)

    assert (0, [other.packet_id]) == (report.rewrapped, report.closed)
    (line,) = report.damaged
    assert damaged.packet_id in line
    assert b"old|enrolment!" == file_of(station, damaged.packet_id).read_bytes()


class Crash(BaseException):
    """Stands for the end of the process."""


def crash(*_: object, **__: object) -> None:
    """End the process."""
    raise Crash


STEPS = ["staged", "first rename", "second rename", "before commit", "after commit"]


def crash_at(step: str, station: Any, patch: pytest.MonkeyPatch) -> None:
    """End the process at a step; a process that is killed puts nothing right behind itself."""
    patch.setattr("ktpsync.outbox._rewrap_folder.FolderSwitch.put_right", lambda *_: None)
    if step == "staged":
        patch.setattr("ktpsync.outbox._rewrap.Rewrapping._apply", crash)
    elif step == "before commit":
        patch.setattr(station.outbox.audit, "append", crash)
    elif step == "after commit":
        patch.setattr("pathlib.Path.unlink", crashing_unlink)
    else:
        patch.setattr("pathlib.Path.rename", crashing_rename(1 if step == "first rename" else 2))


@on_folder
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_loses_nothing(station: Any, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened again, file and row agree, on the old bytes or on the new ones, and nothing is left over."""
    packet = station.submit(b"old|enrollment").packet
    with monkeypatch.context() as patch:
        crash_at(step, station, patch)
        with pytest.raises(Crash):
            rewrap(station)

    again = station.reopen()

    after = b"a longer, new header|enrollment" if step == "after commit" else b"old|enrollment"
    assert after == spooled(station, packet.packet_id)
    assert [] == leftovers(station)
    assert again.rewrap(wrap, to="new", who="budi").done
    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)


@_on([("sqlite", "folder")])
@pytest.mark.parametrize("step", STEPS)
def test_a_rebuild_after_a_crash_keeps_the_bytes_that_were_recorded(
    station: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the rewrap made and did not record, the database does not know: the former bytes are the packet's."""
    packet = station.submit(b"old|enrollment").packet
    with monkeypatch.context() as patch:
        crash_at(step, station, patch)
        with pytest.raises(Crash):
            rewrap(station)
    station.outbox.close()

    rebuilt = rebuild(station.database, FolderSpool(station.spool), destinations=[], clock=station.clock)

    assert (1, 1, ()) == (rebuilt.from_spool, rebuilt.recognised, rebuilt.quarantined)
    station.outbox = station.reopen()
    after = b"a longer, new header|enrollment" if step == "after commit" else b"old|enrollment"
    assert after == spooled(station, packet.packet_id)


@_on([("postgresql", "folder")])
def test_while_a_commit_may_still_come_both_stay(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was not heard from any more may be committing yet: only its word decides which bytes are wanted."""
    packet = station.submit(b"old|enrollment").packet
    with monkeypatch.context() as patch:
        crash_at("before commit", station, patch)
        with pytest.raises(Crash):
            rewrap(station)
    new = b"a longer, new header|enrollment"
    bound = {"new": hashlib.sha256(new).hexdigest(), "size": len(new)}
    engine = sa.create_engine(station.database)
    with engine.begin() as committing:
        committing.execute(sa.text("UPDATE ktpsync_packet SET sha256 = :new, size = :size"), bound)
        station.outbox = station.reopen()
        with pytest.raises(OutboxError, match="Try again"):
            rewrap(station)
        assert [f"{packet.packet_id}.former"] == leftovers(station)
    engine.dispose()

    station.outbox = station.reopen()

    assert new == spooled(station, packet.packet_id)
    assert [] == leftovers(station)


STORAGE_STEPS = {
    "staged": ("ktpsync.outbox._rewrap.Rewrapping._apply", False),
    "rows switched": ("ktpsync.outbox._rewrap_storage.StorageSwitch.switch", False),
    "before commit": ("ktpsync.outbox._audit.AuditTrail.append", False),
    "after commit": ("ktpsync.outbox._rewrap_storage.StorageSwitch.end", True),
    "one of two removed": ("ktpsync.outbox._spool_objects.SpoolObjects.delete", True),
}


@on_storage
@pytest.mark.parametrize("tidied_by", ["the service", "the next rewrap"])
@pytest.mark.parametrize("step", STORAGE_STEPS)
def test_a_crash_at_any_step_loses_nothing_in_storage(
    station: Any, step: str, tidied_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row names whole bytes all the time; what is left over besides goes, and nothing before they were read again."""
    packets = [station.submit(b"old|enrollment %d" % number).packet for number in range(2)]
    crashing, committed = STORAGE_STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(crashing, crash)
        patch.setattr("ktpsync.outbox._rewrap_storage.StorageSwitch.put_right", lambda *_: None)
        with pytest.raises(Crash):
            rewrap(station)

    again = station.reopen()

    header = b"a longer, new header" if committed else b"old"
    contents = {packet.packet_id: spooled(station, packet.packet_id) for packet in packets}
    assert [header + b"|enrollment 0", header + b"|enrollment 1"] == list(contents.values())
    assert 2 == len(leftovers(station))
    if tidied_by == "the service":
        again.collect_orphans()
        assert 2 == len(leftovers(station))
        station.clock.ms = round(datetime.now(UTC).timestamp() * 1000) + 2 * 86_400_000
        assert 2 == again.collect_orphans()
        assert [] == leftovers(station)
        assert contents == {packet_id: spooled(station, packet_id) for packet_id in contents}
    assert again.rewrap(wrap, to="new", who="budi").done
    assert [] == leftovers(station)
    assert b"a longer, new header|enrollment 1" == spooled(station, packets[1].packet_id)
    assert () == again.examine(read=True).problems


@on_storage
def test_what_is_left_over_stays_while_the_row_names_nothing_whole(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a packet whose new bytes were damaged, the former ones are not removed."""
    packet = station.submit(b"old|enrollment").packet
    with monkeypatch.context() as patch:
        patch.setattr("ktpsync.outbox._rewrap_storage.StorageSwitch.end", crash)
        with pytest.raises(Crash):
            rewrap(station)
    (new,) = station.spool.rglob(f"{packet.packet_id}.*.age")
    new.write_bytes(b"damaged")

    assert not rewrap(station).damaged  # it has its new header already

    assert 1 == len(leftovers(station))
    assert b"old|enrollment" == station.outbox.spool.read(packet.packet_id)
    assert "damaged" in station.outbox.examine(read=True).problems[0]


@on_storage
def test_damaged_bytes_beside_whole_ones_are_kept_apart(station: Any) -> None:
    """What is tidied away and is nothing that a rewrap has made goes into quarantine."""
    packet = station.submit(b"old|enrollment").packet
    (path,) = station.spool.rglob(f"{packet.packet_id}.age")
    path.with_name(f"{packet.packet_id}.{packet.sha256}.age").write_bytes(path.read_bytes())
    path.write_bytes(b"damaged")

    rewrap(station)

    assert [] == leftovers(station)
    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)
    (kept,) = station.spool.rglob("spool-quarantine/*/*.age")
    assert b"damaged" == kept.read_bytes()


@on_storage
def test_new_bytes_that_were_tidied_away_are_stored_again(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who took them for leftovers, because this process seemed dead, does no harm."""
    packet = station.submit(b"old|enrollment").packet
    tidying = station.reopen()._orphans._tidying
    stage = StorageSwitch.stage

    def stage_and_lose(switch: Any, changes: Any) -> None:
        stage(switch, changes)
        assert 1 == tidying.packets([packet.packet_id])

    monkeypatch.setattr("ktpsync.outbox._rewrap_storage.StorageSwitch.stage", stage_and_lose)

    assert 1 == rewrap(station).rewrapped

    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)
    assert [] == leftovers(station)


@on_folder
@pytest.mark.parametrize("row", ["of neither", "gone"])
def test_where_nothing_tells_the_good_copy_both_stay(
    station: Any, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash and a database put back from elsewhere, the former bytes may be the only good ones."""
    packet = station.submit(b"old|enrollment").packet
    with monkeypatch.context() as patch:
        crash_at("after commit", station, patch)
        with pytest.raises(Crash):
            rewrap(station)
    engine = sa.create_engine(
        f"sqlite:///{station.database}" if isinstance(station.database, Path) else station.database
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ktpsync_delivery")
        if row == "gone":
            connection.exec_driver_sql("DELETE FROM ktpsync_packet")
        else:
            connection.exec_driver_sql("UPDATE ktpsync_packet SET sha256 = 'that of neither'")
    engine.dispose()

    station.reopen()

    (former,) = station.spool.rglob("*.former")
    assert b"old|enrollment" == former.read_bytes()
    assert b"a longer, new header|enrollment" == station.outbox.spool.path(packet.packet_id).read_bytes()


def crashing_unlink(path: Path, *, missing_ok: bool = False) -> None:
    """End the process where the former bytes would be removed."""
    if path.suffix == ".former":
        raise Crash
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - Path.unlink is what is replaced


def crashing_rename(count: int) -> Callable[[Path, Path], None]:
    """Return a rename that ends the process right after it was done so many times."""
    done = 0

    def rename(source: Path, target: Path) -> None:
        nonlocal done
        os.rename(source, target)  # noqa: PTH104 - Path.rename is what is replaced
        done += 1
        if done == count:
            raise Crash

    return rename


@anywhere
def test_a_failed_commit_is_put_right_at_once(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database refuses the change, the old bytes are back before the error is."""
    packet = station.submit(b"old|enrollment").packet

    def refuse(*_: object) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(station.outbox.audit, "append", refuse)
        with pytest.raises(sa.exc.OperationalError, match="gone"):
            rewrap(station)

    assert b"old|enrollment" == spooled(station, packet.packet_id)
    assert [] == leftovers(station)


@anywhere
def test_one_at_a_time(station: Any) -> None:
    """A second process is told to wait, and one that opens the outbox meanwhile disturbs nothing."""
    packet = station.submit(b"old|enrollment").packet

    def meanwhile(sealed: bytes) -> bytes | None:
        with pytest.raises(OutboxError, match="Another process is rewrapping"):
            station.reopen().rewrap(wrap, to="new", who="wati")
        return wrap(sealed)

    assert 1 == rewrap(station, how=meanwhile).rewrapped
    assert b"a longer, new header|enrollment" == spooled(station, packet.packet_id)


@anywhere
def test_claimed_while_it_is_rewrapped(station: Any) -> None:
    """A courier that takes the packet while its new bytes are being made gets the old ones, and they stay."""
    packet = station.submit(b"old|enrollment").packet

    def meanwhile(sealed: bytes) -> bytes | None:
        assert [packet.packet_id] == [lease.packet.packet_id for lease in station.claim()]
        return wrap(sealed)

    report = rewrap(station, how=meanwhile)

    assert (0, [packet.packet_id]) == (report.rewrapped, report.moving)
    assert b"old|enrollment" == spooled(station, packet.packet_id)
    assert [] == leftovers(station)


@on_server
def test_a_claim_that_began_before_the_change(station: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that sees the rows as they were before never gives the new delivery with the former digest."""
    packet = station.submit(b"old|enrollment").packet
    waits = "due_ms <= {now} AND (SELECT pg_advisory_xact_lock(4711)) IS NOT NULL\n  ORDER"
    monkeypatch.setattr(
        "ktpsync.outbox._deliveries._CLAIM", _CLAIM.replace("due_ms <= {now}\n  ORDER", waits)
    )
    courier = station.reopen()
    claimed: list[Any] = []
    thread = threading.Thread(target=lambda: claimed.extend(courier.claim("central", 1, 60)))
    with station.outbox._database.write() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4711)")
        thread.start()
        wait_for_a_waiting_claim(station)
        assert 1 == rewrap(station).rewrapped
    thread.join()

    assert [] == [lease.packet.sha256 for lease in claimed if lease.packet.sha256 == packet.sha256]
    leases = claimed or courier.claim("central", 1, 60)
    assert [b"a longer, new header|enrollment"] == [spooled(station, one.packet.packet_id) for one in leases]
    assert packet.sha256 not in {lease.packet.sha256 for lease in leases}


def wait_for_a_waiting_claim(station: Any) -> None:
    """Return once another connection waits for the advisory lock."""
    query = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while True:
        with station.outbox._database.read() as connection:
            if connection.exec_driver_sql(query).scalar_one():
                return


@anywhere
def test_couriers_at_work_meanwhile(station: Any) -> None:
    """Every courier that claims while packets are rewrapped reads the bytes whose digest it was told."""
    packets = {station.submit(b"old|%d" % number).packet.packet_id for number in range(80)}
    courier = station.reopen()
    seen: dict[str, bool] = {}

    def carry() -> None:
        while len(seen) < len(packets):
            for lease in courier.claim("central", 3, 60):
                with lease.packet.open() as file:
                    seen[lease.packet.packet_id] = (
                        hashlib.sha256(file.read()).hexdigest() == lease.packet.sha256
                    )
                courier.settle(lease, station.receipt(lease.packet))

    thread = threading.Thread(target=carry)
    thread.start()
    reports = []
    while thread.is_alive():
        reports.append(rewrap(station, to=f"number {len(reports)}", how=lambda sealed: sealed + b"."))
    thread.join()

    assert dict.fromkeys(packets, True) == seen
    for packet_id in packets:
        spooled(station, packet_id)
