"""The sandbox centre: durable, idempotent, one effect per person, offices apart."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from attrs import evolve

from ktpsync import age, packet
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.clock import SystemClock
from ktpsync.keys import StationKey
from ktpsync.plugins import BackendContext, Secret
from ktpsync.records import Enrollment, Kind
from ktpsync.testing import made_up_packet, make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.packet import SealedPacket

IDENTITY = age.generate_identity()
STATION = StationKey.generate()


@pytest.fixture
def settings(tmp_path: Path) -> CentralSettings:
    """A centre that trusts one station and knows two offices."""
    return CentralSettings(
        folder=tmp_path / "centre",
        identities=[IDENTITY],
        tokens={"token-a": "office-a", "token-b": "office-b"},
        stations=[STATION.public],
        faults=True,
    )


def client(url: str, token: str = "token-a", **options: Any) -> HttpBackend:  # noqa: S107 - made up
    """Return a client of an office."""
    settings = HttpSettings(url=url, token=Secret(token), **options)
    return HttpBackend(settings, BackendContext(name="central"))


def sealed(enrollment: Enrollment, station: StationKey = STATION) -> SealedPacket:
    """Return a sealed packet."""
    recipients = [IDENTITY.recipient]
    return packet.seal(enrollment, recipients=recipients, station_key=station, clock=SystemClock()).packet


def final_statuses(backend: HttpBackend, count: int) -> dict[str, str]:
    """Wait until so many packets are looked into, and return their statuses."""
    statuses: dict[str, str] = {}
    for _ in range(400):
        changes = backend.statuses(None).changes
        statuses = {
            change.packet_id: change.status for change in changes if change.status != "RECEIVED_AT_CENTRAL"
        }
        if len(statuses) == count:
            break
        time.sleep(0.02)
    return statuses


def test_a_person_takes_effect_once(settings: CentralSettings) -> None:
    """The first packet of a person is unique, a second one is a duplicate, however it came."""
    first, other = sealed(make_enrollment(1, size=4000)), sealed(make_enrollment(2, size=4000))
    again = sealed(make_enrollment(3, size=4000, person=1))
    with running(settings) as url, client(url) as backend:
        for one in (first, first, other, again):
            backend.deliver(one)
        statuses = final_statuses(backend, 3)

    assert {
        first.packet_id: "PRINT_READY_RECORD",
        other.packet_id: "PRINT_READY_RECORD",
        again.packet_id: "DUPLICATE_RECORD",
    } == statuses


def test_a_packet_that_replaces_another_is_no_duplicate_of_it(settings: CentralSettings) -> None:
    """Recording again after a failure is not held against the person."""
    first = sealed(make_enrollment(1, size=4000))
    second = sealed(
        evolve(make_enrollment(2, size=4000, person=1), kind=Kind.RE_RECORDING, replaces=first.packet_id)
    )
    with running(settings) as url, client(url) as backend:
        backend.deliver(first)
        backend.deliver(second)
        statuses = final_statuses(backend, 2)

    assert {"PRINT_READY_RECORD"} == set(statuses.values())


@pytest.mark.parametrize("kind", ["garbage", "unknown station"])
def test_a_packet_that_does_not_open_is_told_to_the_office(settings: CentralSettings, kind: str) -> None:
    """It is kept, has no effect, and the office learns that it must record again."""
    bad = (
        made_up_packet()
        if kind == "garbage"
        else sealed(make_enrollment(1, size=4000), StationKey.generate())
    )
    with running(settings) as url, client(url) as backend:
        backend.deliver(bad)
        statuses = final_statuses(backend, 1)
        inventory = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]

    assert {bad.packet_id: "ENROLL_FAILURE_AT_CENTRAL"} == statuses
    assert [(bad.packet_id, bad.sha256, 0)] == [
        (i["packet_id"], i["sha256"], i["effects"]) for i in inventory
    ]


@pytest.mark.parametrize("ask_first_from", [1, 1 << 20])
def test_a_packet_that_failed_is_looked_into_again_when_it_is_sent_again(
    settings: CentralSettings, ask_first_from: int
) -> None:
    """The centre has learned the station's key meanwhile: the same bytes take effect now, and once only."""
    other = StationKey.generate()
    one = sealed(make_enrollment(1, size=4000), other)
    with running(settings) as url, client(url, ask_first_from=ask_first_from) as backend:
        backend.deliver(one)
        assert {one.packet_id: "ENROLL_FAILURE_AT_CENTRAL"} == final_statuses(backend, 1)
        (note,) = [change.note for change in backend.statuses(None).changes if change.note]
        assert "station that signed the packet is not trusted" in note
    wiser = evolve(settings, stations=(*settings.stations, other.public))
    with running(wiser) as url, client(url, ask_first_from=ask_first_from) as backend:
        first, again = backend.deliver(one), None
        for _ in range(400):
            if backend.statuses(None).changes[-1].status == "PRINT_READY_RECORD":
                again = backend.deliver(one)
                break
            time.sleep(0.02)
        assert first == again
        (held,) = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]
    assert (one.packet_id, one.sha256, 1) == (held["packet_id"], held["sha256"], held["effects"])


def test_offices_do_not_see_one_another(settings: CentralSettings) -> None:
    """Neither packets nor statuses of another office."""
    one = made_up_packet()
    with running(settings) as url, client(url) as a, client(url, "token-b") as b:
        a.deliver(one)

        assert 1 == len({change.packet_id for change in a.statuses(None).changes})
        assert [] == list(b.statuses(None).changes)
        assert ["missing"] == [holding.state.value for holding in b.reconcile([one])]
        answer = urllib3.request(
            "GET", f"{url}v1/packets/{one.packet_id}", headers={"Authorization": "Bearer token-b"}
        )
        assert 404 == answer.status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Content-Digest": "sha-256=:AAAA:"}, 400),
        ({"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, 400),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401),
        ({"Idempotency-Key": '"another"'}, 400),
    ],
)
def test_requests_that_are_not_right_change_nothing(
    settings: CentralSettings, headers: dict[str, str], status: int
) -> None:
    """Each is answered with a problem document, and nothing is stored."""
    one = made_up_packet()
    digest = base64.b64encode(hashlib.sha256(b"sealed bytes").digest()).decode()
    good = {"Authorization": "Bearer token-a"}
    if "Idempotency-Key" in headers:
        good["Content-Digest"] = f"sha-256=:{digest}:"
    with running(settings) as url:
        answer = urllib3.request(
            "PUT", f"{url}v1/packets/{one.packet_id}", headers={**good, **headers}, body=b"sealed bytes"
        )
        inventory = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]

    assert status == answer.status
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert {"type", "title", "status", "detail"} == answer.json().keys()
    assert [] == inventory


def test_the_sandbox_door_is_closed_unless_asked_for(settings: CentralSettings) -> None:
    """Without --faults there is no way to play an outage."""
    with running(evolve(settings, faults=False)) as url:
        assert 404 == urllib3.request("GET", f"{url}sandbox/inventory").status
        assert 404 == urllib3.request("POST", f"{url}sandbox/faults", json={"outage": True}).status


@pytest.mark.slow
def test_what_was_answered_with_201_survives_a_kill(tmp_path: Path) -> None:
    """SIGKILL right after the answer: the packet is there with the right bytes, and is processed after the restart."""
    age.write_identity_file(tmp_path / "identity.txt", IDENTITY)
    (tmp_path / "station.pem").write_bytes(STATION.public.to_pem())
    (tmp_path / "tokens.txt").write_text("office-a token-a\n")
    program = (
        "import sys; from pathlib import Path; from ktpsync import age, central; from ktpsync.keys import StationPublicKey\n"
        "folder = Path(sys.argv[1])\n"
        "central.serve(central.CentralSettings(folder=folder / 'centre', faults=True, tokens={'token-a': 'office-a'},\n"
        "    identities=[age.read_identity_file(folder / 'identity.txt')],\n"
        "    stations=[StationPublicKey.from_pem((folder / 'station.pem').read_bytes())]),\n"
        "    ready=lambda url: print(url, flush=True))"
    )

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    packets = [sealed(make_enrollment(seed, size=4000)) for seed in range(5)]
    process, url = start()
    with process, client(url) as backend:
        for one in packets:
            backend.deliver(one)
        os.kill(process.pid, signal.SIGKILL)
    process, url = start()
    with process, client(url) as backend:
        statuses = final_statuses(backend, 5)
        inventory = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]
        process.terminate()

    assert {one.packet_id: "PRINT_READY_RECORD" for one in packets} == statuses
    assert {(one.packet_id, one.sha256, 1) for one in packets} == {
        (line["packet_id"], line["sha256"], line["effects"]) for line in inventory
    }


def test_nothing_personal_is_in_the_centre_s_folder(settings: CentralSettings) -> None:
    """Neither database nor files show who was recorded."""
    enrollment = make_enrollment(1, size=4000)
    with running(settings) as url, client(url) as backend:
        backend.deliver(sealed(enrollment))
        final_statuses(backend, 1)

    for path in settings.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert enrollment.nik.digits.encode() not in content
            assert enrollment.biodata.full_name.encode() not in content


def test_an_outage_is_played_on_request(settings: CentralSettings) -> None:
    """And ends on request."""
    with running(settings) as url:
        headers = {"Authorization": "Bearer token-a"}
        urllib3.request("POST", f"{url}sandbox/faults", json={"outage": True, "retry_after": 7})
        answer = urllib3.request("GET", f"{url}v1/health", headers=headers, retries=False)
        assert (503, "7") == (answer.status, answer.headers["Retry-After"])
        urllib3.request("POST", f"{url}sandbox/faults", json={"outage": False})
        assert 200 == urllib3.request("GET", f"{url}v1/health", headers=headers).status
        assert 400 == urllib3.request("POST", f"{url}sandbox/faults", json={"outrage": True}).status
        assert 400 == urllib3.request("POST", f"{url}sandbox/faults", body=json.dumps([1])).status


@pytest.mark.parametrize(
    ("same", "decision"), [("nik", "unique"), ("nik", "duplicate"), ("body", "duplicate")]
)
def test_a_doubtful_match_waits_for_a_person(settings: CentralSettings, same: str, decision: str) -> None:
    """The NIK with other biometrics, or the biometrics under another NIK: neither unique nor duplicate by itself."""
    one, other = make_enrollment(1, size=4000), make_enrollment(2, size=4000)
    mixed = evolve(other, biodata=one.biodata) if same == "nik" else evolve(other, biometrics=one.biometrics)
    first, doubtful = sealed(one), sealed(mixed)
    with running(settings) as url, client(url) as backend:
        backend.deliver(first)
        final_statuses(backend, 1)
        backend.deliver(doubtful)
        assert "ADJUDICATE_RECORD" == final_statuses(backend, 2)[doubtful.packet_id]
        waiting = urllib3.request("GET", f"{url}sandbox/adjudications").json()["packets"]
        assert [{"packet_id": doubtful.packet_id}] == waiting

        judge = f"{url}sandbox/adjudications/{doubtful.packet_id}"
        assert 400 == urllib3.request("POST", judge, json={"decision": "perhaps"}).status
        assert 200 == urllib3.request("POST", judge, json={"decision": decision}).status
        assert 404 == urllib3.request("POST", judge, json={"decision": decision}).status
        told = [
            change.status
            for change in backend.statuses(None).changes
            if change.packet_id == doubtful.packet_id
        ]
        inventory = urllib3.request("GET", f"{url}sandbox/inventory").json()["packets"]

    final = {"unique": "PRINT_READY_RECORD", "duplicate": "DUPLICATE_RECORD"}[decision]
    assert ["RECEIVED_AT_CENTRAL", "ADJUDICATE_RECORD", final] == told
    assert [1, 1] == [line["effects"] for line in inventory]
