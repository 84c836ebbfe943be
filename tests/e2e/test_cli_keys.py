"""Keys at the command line: sealed files, tests of recovery keys, and what happens when they change."""

from __future__ import annotations

from pathlib import Path

import pytest

import ktpsync
from command_line import DAMAGED, DONE, FAILED, PERSON, WAITING, run
from ktpsync import age
from ktpsync.testing import make_enrollment

WORDS = "rintik hujan di atas genting"


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passphrases cost little."""
    monkeypatch.setitem(age.Passphrase.__init__.__kwdefaults__, "work_factor", 4)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office in the current folder that backs up to a disk; keys are in the folder above."""
    monkeypatch.chdir(tmp_path)
    recipients = [
        run("keygen", "-o", f"{name}.key", "--json").json()["recipient"] for name in ("centre", "recovery")
    ]
    ktpsync.init_disk(tmp_path / "usb-a")
    places = f"[backups.usb-a]\nbackend = \"disk\"\npath = '{tmp_path / 'usb-a'}'\nreserve = 0\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=recipients, places=places)
    monkeypatch.chdir(config.parent)
    return config.parent


def record(count: int = 1) -> list[str]:
    """Record enrolments."""
    with ktpsync.Office.open() as office:
        return [office.submit(make_enrollment(seed, size=4000)).packet_id for seed in range(count)]


def test_a_sealed_identity_asks_for_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase is typed twice when the file is made and once when it is used, and shown nowhere."""
    monkeypatch.chdir(tmp_path)

    made = run("keygen", "-o", "sealed.key", "--passphrase", typed=f"{WORDS}\n{WORDS}\n")

    assert DONE == made.code
    assert "AGE ENCRYPTED FILE" in Path("sealed.key").read_text()
    recipient = made.out.strip().splitlines()[-1]
    ktpsync.init_office(tmp_path / "office", recipients=[recipient], places="")
    monkeypatch.chdir(tmp_path / "office")
    right = run("keys", "test", "--identity", "../sealed.key", typed=f"{WORDS}\n")
    wrong = run("keys", "test", "--identity", "../sealed.key", typed="other words\n")
    assert (DONE, FAILED) == (right.code, wrong.code)
    assert "try it again" in wrong.err
    for answer in (made, right, wrong):
        assert WORDS not in answer.out + answer.err


def test_keys_are_tried_at_set_up_and_with_a_packet(office: Path) -> None:
    """Before there is a packet, a probe is opened; afterwards also the newest packet. Status shows the date."""
    before = run("status")
    at_set_up = run("keys", "test", "--identity", "../recovery.key", "--json")
    (packet_id,) = record()
    later = run("keys", "test", "--identity", "../recovery.key")
    status = run("status", "--json").json()

    assert "No key was ever shown to open" in before.err
    assert (DONE, None) == (at_set_up.code, at_set_up.json()["packet_id"])
    assert DONE == later.code
    assert f"Packet {packet_id} was opened" in later.out
    assert [False, True] == [key["last_test"] is not None for key in status["keys"]]
    assert [["packets", "usb-a"]] * 2 == [key["opens"] for key in status["keys"]]
    assert "No key was" not in run("status").err


def test_a_wrong_key_is_noticed(office: Path) -> None:
    """The file in the safe is another one: now is the time to learn it."""
    run("keygen", "-o", "../other.key")

    answer = run("keys", "test", "--identity", "../other.key")

    assert PERSON == answer.code
    assert "This office seals nothing to this identity" in answer.err
    assert [None, None] == [key["last_test"] for key in run("keys", "list", "--json").json()["keys"]]


def test_a_packet_that_the_key_does_not_open_is_noticed(office: Path) -> None:
    """The newest packet was sealed before the key was named: rewrap is what is lacking."""
    record()
    new = run("keygen", "-o", "../new.key", "--json").json()["recipient"]
    Path("recipients.txt").write_text(f"{new}\n")

    answer = run("keys", "test", "--identity", "../new.key")

    assert PERSON == answer.code
    assert "does not open" in answer.err


def test_keys_change(office: Path) -> None:
    """New recipients are named, everything is rewrapped with an old key, and the new key opens it all."""
    record(2)
    run("backup", "usb-a")
    new = run("keygen", "-o", "../new.key", "--json").json()["recipient"]
    centre = Path("recipients.txt").read_text().splitlines()[0]
    Path("recipients.txt").write_text(f"{centre}\n{new}\n")

    answer = run("rewrap", "--identity", "../recovery.key", "--who", "wati")

    assert DONE == answer.code
    assert "Spool: 2 packets have a new header." in answer.out
    assert "destroy those disks" in answer.out
    assert DONE == run("keys", "test", "--identity", "../new.key").code
    assert DONE == run("verify", "usb-a", "--open", "../new.key").code
    assert DAMAGED == run("verify", "usb-a", "--open", "../recovery.key").code
    again = run("rewrap", "usb-a", "--identity", "../recovery.key", "--who", "wati", "--json").json()
    assert (True, 0, 0) == (
        again["done"],
        again["spool"]["rewrapped"],
        again["backups"]["usb-a"]["rewrapped"],
    )
    assert [] == again["spool"]["closed"]
    assert DONE == run("restore", "../usb-a", "--into", "../new-office", "--identity", "../new.key").code


def test_what_is_left_is_told(office: Path, tmp_path: Path) -> None:
    """A disk that is not plugged in: code 3, and its name."""
    record()
    run("backup", "usb-a")
    (tmp_path / "usb-a").rename(tmp_path / "elsewhere")

    answer = run("rewrap", "--identity", "../recovery.key", "--who", "wati")

    assert WAITING == answer.code
    assert "usb-a is left for later" in answer.err


def test_status_without_recipients(office: Path) -> None:
    """Where nothing can be sealed, where the packets stand can be said all the same."""
    Path("recipients.txt").write_text("")

    answer = run("status")

    assert "no recipients" in answer.err
    assert "free" in answer.out
