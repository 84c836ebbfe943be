"""An office inside an application: forked servers, closing, and what an application gives by mistake."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from traceback import format_exception
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy.exc
import sqlalchemy.orm
from attrs import evolve

import ktpsync
from ktpsync import records
from ktpsync.errors import (
    ClosedError,
    ConfigError,
    NikError,
    OutboxUnavailableError,
    PacketError,
    ReferenceConflictError,
    UnknownPacketError,
)
from ktpsync.outbox import DeliveryState, Outbox
from ktpsync.outbox._failures import TranslatedErrors
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

RECIPIENT = str(ktpsync.age.generate_identity().recipient)

_FORKED = """
import os, sqlite3, subprocess, sys, threading
import ktpsync
from ktpsync.outbox import Outbox
from ktpsync.outbox._failures import TranslatedErrors
from ktpsync.testing import make_enrollment

config, database = sys.argv[1:]
to_child, to_parent = os.pipe(), os.pipe()


def small(seed):
    return make_enrollment(seed, size=3000)


def third_process():
    \"\"\"Somebody else opens the database and closes it, and looks whether there is anybody beside it.\"\"\"
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM ktpsync_packet').fetchall(); c.close()"
    subprocess.run([sys.executable, "-c", program, database], check=True)


"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of an office without destinations."""
    return ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])


def run_forked(config: Path, program: str) -> str:
    """Run a program in a process of its own, without the tests' threads; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKED + program, config, config.parent / "data" / "outbox.db"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_fork
def test_office_opened_before_a_fork(config: Path) -> None:
    """What a forked child records stays, even if the parent ends and somebody else is the last to close the database."""
    printed = run_forked(
        config,
        """
office = ktpsync.Office.open(config)
office.submit(small(1))
if os.fork() == 0:
    office.submit(small(2))
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    office.submit(small(3))
    office.close()
    os._exit(0)
os.read(to_parent[0], 1)
office.close()
third_process()
os.write(to_child[1], b"x")
assert os.wait()[1] == 0
with ktpsync.Office.open(config) as again:
    print(len(list(again.outbox.packets())))
""",
    )
    assert "3\n" == printed


@needs_fork
def test_fork_in_the_middle_of_work(config: Path) -> None:
    """A child that was forked while a thread wrote refuses to work and says why; the parent's work is not disturbed."""
    printed = run_forked(
        config,
        """
import warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forking beside threads, rightly
office = ktpsync.Office.open(config)
begun, forked = threading.Event(), threading.Event()


def write():
    with office.outbox._database.write() as connection:
        begun.set()
        forked.wait()
        connection.exec_driver_sql("UPDATE ktpsync_storage SET bytes = bytes")


thread = threading.Thread(target=write)
thread.start()
begun.wait()
if os.fork() == 0:
    for attempt in (lambda: office.submit(small(2)), lambda: ktpsync.Office.open(config)):
        try:
            attempt()
        except ktpsync.errors.OutboxError as error:
            print(str(error).split(";")[0].split(" with ")[0], flush=True)
    os._exit(0)
assert os.wait()[1] == 0
forked.set()
thread.join()
office.submit(small(3))
print(len(list(office.outbox.packets())))
office.close()
""",
    )
    refused = "This process was forked while a thread of its parent was working"
    assert [refused, refused, "1"] == printed.splitlines()


@needs_fork
def test_fork_of_a_closed_office_and_closing_in_the_child(config: Path) -> None:
    """A child may close an office that it never used; a closed one stays closed in it."""
    printed = run_forked(
        config,
        """
closed = ktpsync.Office.open(config)
closed.close()
with ktpsync.Office.open(config) as office:
    child = os.fork()
    if child == 0:
        try:
            closed.submit(small(1))
        except ktpsync.errors.ClosedError:
            print("closed", flush=True)
    else:
        assert os.waitpid(child, 0)[1] == 0
        office.submit(small(2))
        print(len(list(office.outbox.packets())))
""",
    )
    assert ["closed", "1"] == printed.splitlines()


def test_closed_office(config: Path) -> None:
    """A closed office says so, instead of working on beside a doctor that believes to be alone; closing twice is nothing."""
    office = ktpsync.Office.open(config)
    office.submit(make_enrollment(1, size=3000))
    office.close()
    office.close()
    for use in (lambda: office.submit(make_enrollment(2, size=3000)), office.attention, office.sync):
        with pytest.raises(ClosedError, match="was closed"):
            use()
    assert f"Office('{config}')" == repr(office)
    with pytest.raises(AttributeError, match="no attribute 'submitt'"):
        office.submitt  # type: ignore[attr-defined]  # noqa: B018 - the mistake that is meant


@pytest.mark.parametrize("connection", [sqlalchemy.orm.Session(), object()])
def test_connection_of_another_kind(config: Path, connection: object) -> None:
    """A session or a driver's connection in place of a connection of SQLAlchemy is named, with the way to one."""
    with (
        ktpsync.Office.open(config) as office,
        pytest.raises(
            ConfigError, match=r"takes a connection of SQLAlchemy, not (sqlalchemy|builtins)\..*session\.con"
        ),
    ):
        office.submit(make_enrollment(1, size=3000), connection=connection)  # type: ignore[arg-type]


def test_what_a_form_has_is_text(config: Path) -> None:
    """A NIK as it is typed and a state by its name are taken; what cannot be one is refused, not searched for."""
    enrollment = make_enrollment(1, size=3000)
    nik = enrollment.nik.digits
    with ktpsync.Office.open(config) as office:
        packet = office.submit(enrollment)
        assert [packet.packet_id] == office.find(nik=nik)
        assert [packet.packet_id] == office.find(nik=f"{nik[:6]} {nik[6:12]} {nik[12:]}")
        with pytest.raises(NikError):
            office.find(nik=nik[:15])
        assert [] == list(office.deliveries(state="rejected"))
        with pytest.raises(ValueError, match="'refused' is not a valid DeliveryState"):
            office.deliveries(state="refused")


def test_database_that_is_not_to_be_had(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that keeps its transaction open, and a server that does not run, are told as a class of ours."""
    monkeypatch.setattr("ktpsync.outbox._sqlite.LOCK_TIMEOUT", 0.05)
    with ktpsync.Office.open(config) as office:
        with (
            office.outbox._database.write(),
            pytest.raises(OutboxUnavailableError, match=r"locked\). Try again"),
        ):
            office.submit(make_enrollment(1, size=3000))
        assert office.submit(make_enrollment(1, size=3000)).created
    with pytest.raises(OutboxUnavailableError, match="refused"):
        Outbox.open("postgresql://127.0.0.1:9/nowhere", config.parent / "spool")


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (psycopg.errors.DeadlockDetected("deadlock detected"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.TooManyConnections("sorry, too many clients already"), True),
        (psycopg.errors.UndefinedColumn("no such column"), False),
    ],
)
def test_what_a_database_server_may_say_for_a_moment(error: psycopg.Error, ours: bool) -> None:  # noqa: FBT001 - a parameter
    """What goes by is told as an error that invites to try again; a mistake of the program stays one."""
    wrapped = sqlalchemy.exc.OperationalError("INSERT", {}, error)
    with (
        pytest.raises(OutboxUnavailableError if ours else sqlalchemy.exc.OperationalError),
        TranslatedErrors(),
    ):
        raise wrapped


@pytest.mark.parametrize("asked", ["3578014405920001 DEWI LESTARI", "3578014405920001" * 2, "DEWI LESTARI"])
def test_what_is_asked_for_is_repeated_only_where_it_is_an_id(config: Path, asked: str) -> None:
    """A clerk types a name into the field of the packet: it stands in no message, and so in no log."""
    packet_id = "0190f5c4-7a30-7c11-9d1b-5be2a1a0c001"
    with ktpsync.Office.open(config) as office:
        with pytest.raises(UnknownPacketError, match=f"^This outbox has no packet {packet_id}.$"):
            office.status(packet_id)
        for ask in (
            lambda: office.status(asked),
            lambda: office.requeue(asked, "central", who="t", why="t"),
            lambda: ktpsync.packet.parse_packet_id(asked),
        ):
            with pytest.raises((UnknownPacketError, PacketError)) as raised:
                ask()
            assert [] == [part for part in asked.split() if part in "".join(format_exception(raised.value))]


def test_a_conflict_names_its_packet_and_reference(config: Path) -> None:
    """A program goes on from them, not from the text of the message; also after it was sent to another process."""
    first = evolve(make_enrollment(1, size=3000), reference="2017-03-17/0042")
    with ktpsync.Office.open(config) as office:
        submitted = office.submit(first)
        with pytest.raises(ReferenceConflictError) as raised:
            office.submit(evolve(first, biodata=make_enrollment(2, size=3000).biodata))

    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):  # noqa: S301 - our own
        assert (submitted.packet_id, first.reference) == (error.packet_id, error.reference)


def test_states_are_the_texts_that_calls_take() -> None:
    """A template and an API's answer compare and show them as they are."""
    assert DeliveryState.DELIVERED == "delivered"
    assert "rejected" == f"{DeliveryState.REJECTED}"
    assert records.Severity.ERROR == "error"
