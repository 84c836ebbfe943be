"""What the person at the office sees of an outage at the command line, and what helps: with a real centre on loopback."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from attrs import define, evolve

import ktpsync
from command_line import BAD_INPUT, DONE, PERSON, WAITING, run
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.errors import UnavailableError
from ktpsync.plugins import BackendContext, Duration
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from command_line import Answer
    from ktpsync.records import Enrollment

WHO = ("--who", "budi", "--why", "it is corrected")


@define
class Place:
    """An office in the current folder, and the settings of its centre."""

    centre: CentralSettings
    config: Path

    def moved_to(self, url: str, **settings: str) -> None:
        """Name the centre's address in the configuration."""
        lines = {"backend": '"http"', "url": f'"{url}"', "token": '{ env = "KTPSYNC_TOKEN" }', **settings}
        places = "".join(f"{key} = {value}\n" for key, value in lines.items())
        office = '[office]\ndata = "data"\nrecipients_file = "recipients.txt"\n\n'
        self.config.write_text(f"{office}[destinations.central]\n{places}", encoding="utf-8")

    def record(self, *seeds: int) -> list[str]:
        """Record enrollments and return the ids of their packets."""
        with ktpsync.Office.open(self.config) as office:
            return [office.submit(make_enrollment(seed, size=4000)).packet_id for seed in seeds]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An office whose keys were tried, and a centre that knows it."""
    monkeypatch.setenv("KTPSYNC_TOKEN", "token-a")
    identity = ktpsync.age.generate_identity("x25519")
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(identity.recipient)])
    monkeypatch.chdir(config.parent)
    with ktpsync.Office.open(config) as office:
        station = office.station
        office.test_keys([identity])
    centre = CentralSettings(
        folder=tmp_path / "centre",
        identities=[identity],
        tokens={"token-a": "office-a"},
        stations=[station],
        faults=True,
    )
    return Place(centre, config)


def fault(url: str, **facts: object) -> None:
    """Play a fault at the centre."""
    assert 200 == urllib3.request("POST", f"{url}sandbox/faults", json=facts).status


def until(asked: Callable[[], Answer], fits: Callable[[Answer], bool]) -> Answer:
    """Return the first answer that fits; the centre works in a thread of its own."""
    for _ in range(200):
        if fits(answer := asked()):
            return answer
        time.sleep(0.05)
    raise AssertionError(answer)


def test_a_station_that_the_centre_does_not_know_is_told_and_put_right(place: Place) -> None:
    """The person who is not registered is no "delivered": a sentence, code 4, the reason; requeued, the centre looks again."""
    (packet_id,) = place.record(1)
    with running(evolve(place.centre, stations=())) as url:
        place.moved_to(url)
        told = until(lambda: run("sync"), lambda answer: answer.code == PERSON)
        assert "central\t0\t1\t0" in told.out or "central\t1\t1\t0" in told.out
        status = run("status")
        assert PERSON == status.code
        assert (
            "1 packet is at central, which could not register the person: see `ktpsync rejected`."
            in status.err
        )
        assert "is not trusted at the centre" in run("rejected").out
        listed = run("packets", "--status", "ENROLL_FAILURE_AT_CENTRAL", "--json").json()["packets"]
        assert [packet_id] == [line["packet_id"] for line in listed]
        assert [] == run("packets", "--status", "PRINT_READY_RECORD", "--json").json()["packets"]

    with running(place.centre) as url:
        place.moved_to(url)
        assert DONE == run("requeue", packet_id, "central", *WHO).code
        found = until(
            lambda: (run("sync"), run("status", packet_id))[1], lambda answer: "PRINT_READY" in answer.out
        )
        assert "central\tdelivered" in found.out
        (held,) = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]
        assert 1 == held["effects"]
    assert DONE == run("status").code


def test_until_when_a_centre_has_asked_to_wait_is_shown_and_a_person_may_go_on(place: Place) -> None:
    """``Retry-After: 3600`` of a centre that is well again: told with the time everywhere; `resume` ends it."""
    place.record(1, 2)
    with running(place.centre) as url:
        place.moved_to(url)
        fault(url, outage=True, retry_after=3600)
        assert WAITING == run("sync").code
        fault(url, outage=False)
        again = run("sync")
        assert (WAITING, True) == (again.code, "It asked to wait until 20" in again.out)
        assert "`ktpsync resume central --who YOU`" in again.out
        (line,) = run("sync", "--json").json()["destinations"]
        assert line["asked_to_wait_until"].endswith("Z")
        for command in (("status",), ("destination", "list")):
            assert "asked to wait until 20" in run(*command).out
            (shown,) = run(*command, "--json").json()["destinations"]
            assert line["asked_to_wait_until"] == shown["asked_to_wait_until"]

        assert "central works again." in run("resume", "central", "--who", "budi").out
        (shown,) = run("status", "--json").json()["destinations"]
        assert shown["asked_to_wait_until"] is None
        assert DONE == run("sync").code
        assert "was not stopped" in run("resume", "central", "--who", "budi").out
        trail = run("audit", "export").out
        assert 1 == trail.count('"destination-resumed"')


def test_what_the_old_address_has_asked_for_does_not_hold_for_the_new_one(place: Place) -> None:
    """A centre that moved is asked at once."""
    place.record(1)
    with running(place.centre) as url:
        place.moved_to(url)
        fault(url, outage=True, retry_after=3600)
        assert WAITING == run("sync").code
    with running(place.centre) as url:
        place.moved_to(url.replace("127.0.0.1", "localhost"))
        assert DONE == run("sync").code


def test_the_question_how_a_centre_is_waits_less_than_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes connections and never answers is found out soon, however long a delivery may take."""
    monkeypatch.setattr("ktpsync.backends.http.backend.QUESTION_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = HttpSettings(
            url=f"http://127.0.0.1:{silent.getsockname()[1]}/", read_timeout=Duration(3600)
        )
        with (
            HttpBackend(settings, BackendContext(name="central")) as backend,
            pytest.raises(UnavailableError),
        ):
            backend.check()


def test_a_sync_ends_when_it_should(place: Place) -> None:
    """``--timeout``: nothing new is started then, what is under way gets its grace, and all of it waits."""
    place.record(1, 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place.moved_to(f"http://127.0.0.1:{silent.getsockname()[1]}/", read_timeout='"3s"')
        told = run("sync", "--timeout", "1", "--json")
    (line,) = told.json()["destinations"]
    assert (WAITING, 2) == (told.code, line["waiting"])
    (shown,) = run("status", "--json").json()["destinations"]
    assert (2, 0, True) == (shown["pending"], shown["leased"], shown["failing"])
    assert "gave no answer: central" in run("status").out


@pytest.mark.parametrize("lost", ["missing", "empty", "nonsense"])
def test_an_office_that_can_record_nothing_says_so(place: Place, lost: str) -> None:
    """Without recipients status ends with code 4 and a sentence, also for programs."""
    recipients = place.config.parent / "recipients.txt"
    if lost == "missing":
        recipients.unlink()
    else:
        recipients.write_text("" if lost == "empty" else "abc\n")
    told = run("status", "--json")
    assert PERSON == told.code
    assert any("Nothing can be recorded: " in sentence for sentence in told.json()["attention"])
    assert "ktpsync: Nothing can be recorded: " in run("status").err


def test_a_data_folder_that_is_not_there_is_not_taken_for_a_missing_key(place: Place) -> None:
    """Its disk may not be mounted: that is said, and nobody is told to make keys."""
    (place.config.parent / "data").rename(place.config.parent / "elsewhere")
    told = run("status")
    assert BAD_INPUT == told.code
    assert "is not there. If its disk or share is not mounted, mount it" in told.err
    assert "init" not in told.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs an administrator")
def test_one_command_typed_as_root_is_told_by_whom_and_what_helps(place: Place, tmp_path: Path) -> None:
    """Root is warned; the office's own user reads whose files they are and `chown`; doctor names every file and goes on."""
    nobody = 65534
    data = place.config.parent / "data"
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, nobody, nobody)
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    packet_ids = place.record(1, 2)
    assert "you are root" in run("packets").err
    for command in (("status",), ("doctor", "--read")):
        run(*command)  # what is imported later could not be read by nobody
    os.seteuid(nobody)
    try:
        status, doctor = run("status"), run("doctor", "--read")
    finally:
        os.seteuid(0)

    assert PERSON == status.code
    assert f"chown -R nobody {data}`" in status.err
    assert "files and folders of this office belong to root" in status.err
    assert all(f"The file of packet {packet_id} cannot be read" in doctor.err for packet_id in packet_ids)
    assert "2 packets looked at" in doctor.out


def test_a_submit_stopped_by_hand_says_what_was_stored(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: one JSON document with what is stored, or a sentence; code 130; run again, it goes on."""
    captured = tmp_path / "captured"
    for seed in (1, 2, 3):
        ktpsync.records.save_folder(make_enrollment(seed, size=4000), captured / str(seed))
    submit_many = ktpsync.Office.submit_many

    def stopped(office: ktpsync.Office, enrollments: Iterable[Enrollment], **options: Any) -> None:
        submit_many(office, itertools.islice(enrollments, 1), **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ktpsync.Office.submit_many", stopped)
        told = run("submit", "--json", captured)
        assert (130, True, 1) == (told.code, told.json()["interrupted"], len(told.json()["submitted"]))
        again = run("submit", captured)
    assert (130, True) == (again.code, "Stopped: 1 of 3 stored; run the same command again." in again.err)
    assert DONE == run("submit", captured).code


def test_people_read_times_of_their_own_zone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the clock of the wall, with the zone and in seconds; programs read UTC."""
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    time.tzset()
    try:
        (packet_id,) = place.record(1)
        assert re.search(r"Submitted: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d WIB;", run("status", packet_id).out)
        assert run("status", packet_id, "--json").json()["submitted_at"].endswith("Z")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_whoever_reads_the_output_may_end_first(place: Place) -> None:
    """``ktpsync status | head -1``: no message, and the code that a shell gives for it."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "ktpsync", "status"], stdout=writes, stderr=subprocess.PIPE, check=False
    )
    os.close(writes)
    assert (141, b"") == (done.returncode, done.stderr)


def test_a_packet_damaged_here_is_not_said_to_be_refused_there(place: Place) -> None:
    """The sentence names what helps here; after a person's decision the reason is theirs."""
    (packet_id,) = place.record(1)
    (sealed,) = (place.config.parent / "data" / "spool").rglob(f"{packet_id}*")
    sealed.write_bytes(b"damaged" + sealed.read_bytes()[7:])
    with running(place.centre) as url:
        place.moved_to(url)
        assert PERSON == run("sync").code
    told = run("status").err
    assert "1 packet waits for central because the bytes on this station are damaged" in told
    assert "was rejected at central" not in told
    assert DONE == run("cancel", packet_id, "central", "--who", "budi", "--why", "recorded again").code
    (shown,) = run("packets", "--json").json()["packets"]
    assert ("cancelled", "cancelled", "budi: recorded again") == (
        shown["state"], shown["code"], shown["reason"]
    )  # fmt: skip
