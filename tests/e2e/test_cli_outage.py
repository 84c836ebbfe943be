"""What the person at the office sees of an outage at the command line, and what helps: with a real centre on loopback."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from attrs import define, evolve

import ktpsync
from command_line import DONE, PERSON, run
from ktpsync.central import CentralSettings, running
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

    from command_line import Answer

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
        assert "1 packet was rejected at central: see `ktpsync rejected`." in status.err
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
