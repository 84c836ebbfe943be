"""What people do at the command line while packets are on their way: look, decide, and change how lines are used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from command_line import BAD_INPUT, DONE, FAILED, PERSON, WAITING, run
from ktpsync.office._attention import telling
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packet_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An office in the current folder with three packets for a marked disk; their ids."""
    ktpsync.init_disk(tmp_path / "usb")
    identity = ktpsync.age.generate_identity("x25519")
    places = f"[destinations.usb]\nbackend = \"disk\"\npath = '{tmp_path / 'usb'}'\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(identity.recipient)], places=places)
    monkeypatch.chdir(config.parent)
    with ktpsync.Office.open(config) as office:
        return [office.submit(make_enrollment(seed, size=4000)).packet_id for seed in range(3)]


def trail() -> list[Any]:
    """Return the audit trail."""
    return [json.loads(line) for line in run("audit", "export").out.splitlines()]


def test_a_line_is_changed_while_it_is_used(packet_ids: list[str]) -> None:
    """Rate, hours and concurrency hold over the configuration, are marked in the list, audited, and taken back."""
    done = run(
        "destination",
        "set",
        "usb",
        "--rate",
        "16KiB",
        "--window",
        "18:00-06:30",
        "--concurrency",
        2,
        "--who",
        "budi",
    )
    assert (DONE, "usb: concurrency 2, rate 16384, window 18:00-06:30.\n") == (done.code, done.out)
    assert "usb\t16384*\t18:00-06:30*\t2*\tworking" in run("destination", "list").out
    (told,) = [line for line in trail() if line["event"] == "destination-settings"]
    assert ("usb", "budi") == (told["destination"], told["who"])

    run("destination", "set", "usb", "--rate", "none", "--window", "none", "--who", "budi")
    assert "usb\tnone*\tnone*\t2*" in run("destination", "list").out
    run(
        "destination", "set", "usb", "--rate", "configured", "--window", "configured", "--concurrency", "configured",
        "--who", "budi",
    )  # fmt: skip
    assert "usb\tnone\tnone\t4\tworking" in run("destination", "list").out


def test_hours_set_at_run_time_hold_for_the_next_delivery(packet_ids: list[str]) -> None:
    """Outside the hours set at run time nothing leaves; once they are taken back all does."""
    run("destination", "set", "usb", "--window", "00:00-00:01", "--who", "budi")
    # Only a test that starts in that one minute of the day would find it open.
    shut = run("sync", "--json")
    if shut.json()["destinations"][0]["waiting"]:
        assert (WAITING, "it is used at other hours") == (shut.code, shut.json()["destinations"][0]["reason"])
    run("destination", "set", "usb", "--window", "configured", "--who", "budi")
    assert (DONE, 0) == ((after := run("sync", "--json")).code, after.json()["destinations"][0]["waiting"])


def test_values_that_cannot_be_read_change_nothing_and_are_all_told(packet_ids: list[str]) -> None:
    """Each wrong value is named; a rate of zero is not taken for no limit; an unknown destination is told."""
    run("destination", "set", "usb", "--rate", "1 MB", "--who", "budi")
    wrong = run(
        "destination", "set", "usb", "--rate", "fast", "--window", "noon", "--concurrency", "x", "--who", "b"
    )
    assert BAD_INPUT == wrong.code
    assert all(word in wrong.err for word in ("rate", "window", "concurrency"))
    for option, value in (("--rate", "0"), ("--concurrency", "0")):
        never = run("destination", "set", "usb", option, value, "--who", "budi")
        assert (BAD_INPUT, True) == (never.code, "nothing would ever be sent" in never.err)
    assert "usb\t1000000*\tnone\t4\tworking" in run("destination", "list").out
    assert FAILED == run("destination", "set", "nowhere", "--rate", "1kB", "--who", "budi").code


def test_all_that_is_missing_on_the_command_line_is_told_at_once() -> None:
    """Nobody likes to be asked three times."""
    nothing, half = run("requeue"), run("requeue", "a", "b", "--who", "ana")

    for told in ("'PACKET_ID'", "'DESTINATION'", "'--who'", "'--why'"):
        assert told in nothing.err
    assert "Missing option '--why'." in half.err
    assert "--who" not in half.err.partition("Error")[2]


def test_a_destination_is_stopped_and_resumed_by_a_person(packet_ids: list[str]) -> None:
    """Nothing is sent meanwhile, `status` says so and ends with 4, and both decisions are in the trail."""
    assert DONE == run("destination", "pause", "usb", "--who", "budi", "--why", "the line is needed.").code
    stopped = run("status")
    assert (PERSON, True) == (stopped.code, "ktpsync: usb is stopped: the line is needed." in stopped.err)
    assert PERSON == run("sync").code
    assert "usb works again" in run("destination", "resume", "usb", "--who", "ana").out
    assert "usb was not stopped" in run("resume", "usb", "--who", "ana").out
    assert DONE == run("sync").code
    told = [(line["event"], line["who"]) for line in trail() if line["event"].startswith("destination-")]
    assert [
        ("destination-registered", ""),
        ("destination-paused", "budi"),
        ("destination-resumed", "ana"),
    ] == told


def test_a_destination_goes_for_good_once_it_is_not_configured(packet_ids: list[str], tmp_path: Path) -> None:
    """While it is configured it would come back; afterwards what it has not got is cancelled, with who and why."""
    refused = run("destination", "retire", "usb", "--who", "ana", "--why", "disk broke")
    assert (BAD_INPUT, True) == (refused.code, "Take it out of the configuration first" in refused.err)
    config = tmp_path / "office" / "ktpsync.toml"
    config.write_text(config.read_text().partition("[destinations.usb]")[0])
    orphaned = run("status")
    assert (PERSON, True) == (
        orphaned.code,
        "3 packets wait for usb, which is not in the configuration" in orphaned.err,
    )
    assert (
        "3 packets do not go there"
        in run("destination", "retire", "usb", "--who", "ana", "--why", "disk broke").out
    )
    assert DONE == run("status").code
    decided = [line for line in trail() if line["event"] == "cancelled"]
    assert {(packet_id, "ana") for packet_id in packet_ids} == {
        (line["packet_id"], line["who"]) for line in decided
    }


def test_packets_are_listed_with_their_state(packet_ids: list[str]) -> None:
    """All, or those in one state or for one destination; a cut list says so."""
    first, second, third = packet_ids
    run("cancel", first, "usb", "--who", "ana", "--why", "recorded twice")
    assert [f"{first}\tusb\tcancelled", f"{second}\tusb\tpending", f"{third}\tusb\tpending"] == [
        "\t".join(line.split("\t")[:3]) for line in run("packets").out.splitlines()[1:]
    ]
    pending = run("packets", "--state", "pending", "--json").json()
    assert ([second, third], False) == ([line["packet_id"] for line in pending["packets"]], pending["more"])
    assert "more than these 1" in run("packets", "--limit", 1).out
    assert [] == run("packets", "--destination", "elsewhere", "--json").json()["packets"]


def test_what_was_decided_is_shown_with_the_packet(packet_ids: list[str]) -> None:
    """`status PACKET` shows who decided what and why, to people and to programs."""
    run("handled", packet_ids[0], "usb", "--who", "ana", "--why", "disk handed over")
    shown = run("status", packet_ids[0])
    assert (DONE, True) == (
        shown.code,
        '\thandled\tusb\tana\t{"before":"open","why":"disk handed over"}' in shown.out,
    )
    history = run("status", packet_ids[0], "--json").json()["history"]
    assert [("submitted", ""), ("handled", "ana")] == [(line["event"], line["who"]) for line in history]
    assert "disk handed over" == history[1]["detail"]["why"]


def test_all_rejected_packets_are_requeued_at_once(packet_ids: list[str]) -> None:
    """After a mistake was corrected at the destination, one command sends them again; the code selects."""
    with ktpsync.Office.open(".") as office:
        for lease, code in zip(
            office.outbox.claim("usb", 3, 60), ("quota", "quota", "conflict"), strict=True
        ):
            office.outbox.reject(lease, code=code, reason="told so")
    shown = run("status")
    assert (PERSON, True) == (shown.code, "3 packets were rejected at usb" in shown.err)
    some = run("requeue-rejected", "usb", "--code", "quota", "--who", "ana", "--why", "quota raised")
    assert "2 packets wait for usb again" in some.out
    assert PERSON == run("rejected").code
    assert (
        "1 packet waits for usb again."
        in run("requeue-rejected", "usb", "--who", "ana", "--why", "asked the centre").out
    )
    assert (DONE, DONE, DONE) == (run("rejected").code, run("sync").code, run("status").code)


def test_status_tells_when_all_is_sent_and_how_long_the_disk_lasts(
    packet_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate there is an estimate; a disk that is nearly full and a line that is too thin need a person."""
    fine = run("status")
    assert (DONE, True, True) == (fine.code, "not known yet" in fine.out, " days left." in fine.out)
    run("destination", "set", "usb", "--rate", "64KiB", "--who", "budi")
    assert "less than a minute of sending)" in run("status").out
    facts = run("status", "--json").json()
    waiting = facts["destinations"][0]["open_bytes"]
    assert pytest.approx(waiting / 65536) == facts["destinations"][0]["seconds_to_send"]
    assert [] == facts["attention"]

    run("destination", "set", "usb", "--rate", "1B", "--window", "00:00-01:00", "--who", "budi")
    monkeypatch.setattr("ktpsync.outbox._folder_spool.free_bytes", lambda _folder: 300 << 20)
    tight = run("status", "--json")
    assert PERSON == tight.code
    assert any("its backlog grows" in line for line in tight.json()["attention"])
    assert any("314.6 MB left" in line for line in tight.json()["attention"])
    with ktpsync.Office.open() as office:
        assert office.attention() == tight.json()["attention"]


def test_the_service_logs_what_a_person_must_see_to(
    packet_ids: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At once when it is new, once a day while it stays, whatever its numbers."""
    free = [300 << 20]
    monkeypatch.setattr("ktpsync.outbox._folder_spool.free_bytes", lambda _folder: free[0])
    run("destination", "pause", "usb", "--who", "budi", "--why", "line needed")
    clock = ManualClock()
    with ktpsync.Office.open(".") as office:
        task = telling(office._attention, clock)
        for _ in range(144):
            task.run()
            free[0] -= 1 << 20
            clock.seconds += 600
        told = caplog.messages
        assert 1 == sum("usb is stopped: line needed. Then run" in line for line in told)
        assert 1 == sum("MB left" in line for line in told)
        task.run()
    assert 2 == sum("usb is stopped" in line for line in caplog.messages)


class ManualClock:
    """A clock that the test moves."""

    seconds = 0.0

    def now_ms(self) -> int:
        """Not asked."""
        raise NotImplementedError

    def monotonic(self) -> float:
        """The test's time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Not asked."""
        raise NotImplementedError
