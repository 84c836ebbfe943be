"""Setting up an office at the command line without losing what is there, and giving its station a new key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ktpsync
from command_line import BAD_INPUT, DONE, FAILED, run
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the key pairs of a centre and for recovery."""
    monkeypatch.chdir(tmp_path)
    for name in ("centre", "recovery"):
        assert DONE == run("keygen", "-o", f"{name}.txt", "--pub", f"{name}.pub", "--kind", "x25519").code
    return tmp_path


def init(folder: str, *files: str) -> tuple[int, str, str]:
    """Run ``ktpsync init`` with recipients from files."""
    done = run("init", folder, *(word for file in files for word in ("--recipients-file", file)))
    return done.code, done.out, done.err


def test_a_recipient_is_never_left_out_unnoticed(keys: Path) -> None:
    """A file without one and one given twice are refused; what is sealed to is listed; one key alone is warned of."""
    (keys / "empty.pub").write_text("# nothing\n")
    for files, words in (
        (("centre.pub", "empty.pub"), "No recipient is in empty.pub; nothing was set up."),
        (("centre.pub", "centre.pub"), "The same recipient is given twice"),
    ):
        code, _, err = init("office", *files)
        assert (BAD_INPUT, True) == (code, words in err)
        assert not (keys / "office" / "ktpsync.toml").exists()
    code, out, err = init("office", "centre.pub", "recovery.pub")
    assert (DONE, "") == (code, err)
    tails = [(keys / f"{name}.pub").read_text().strip()[-6:] for name in ("centre", "recovery")]
    assert all(tail in out for tail in tails)
    code, _, err = init("other", "centre.pub")
    assert (DONE, True) == (code, "sealed to one key alone" in err)


def test_key_files_are_not_overwritten_and_a_recipient_is_printed_again(keys: Path) -> None:
    """Made twice by mistake: both files stay as they are, and `keys recipient` tells which one belongs to which."""
    before = (keys / "recovery.pub").read_bytes()
    for pub in ("recovery.pub", "new.pub"):
        assert FAILED == run("keygen", "-o", "recovery.txt", "--pub", pub).code
    assert before == (keys / "recovery.pub").read_bytes()
    assert not (keys / "new.pub").exists()
    assert before.decode() == run("keys", "recipient", "--identity", "recovery.txt").out


def test_a_private_key_given_as_a_recipient_is_not_shown(keys: Path) -> None:
    """It is said what it is and what to do; nothing of it is repeated."""
    secret = next(line for line in (keys / "recovery.txt").read_text().splitlines() if "SECRET" in line)
    code, out, err = init("office", "recovery.txt")
    assert (BAD_INPUT, True) == (code, "is a private key, which must not be on a station" in err)
    assert secret[16:22] not in out + err


def test_init_never_writes_over_an_office(keys: Path) -> None:
    """Neither over recipients of others, nor where the data of an office is; what an interrupted run left is completed."""
    assert DONE == init("office", "centre.pub", "recovery.pub")[0]
    office = keys / "office"
    recipients = (office / "recipients.txt").read_bytes()
    (office / "ktpsync.toml").unlink()
    code, _, err = init("office", "centre.pub")
    assert (BAD_INPUT, True) == (code, "holds the data of an office without its ktpsync.toml" in err)
    assert recipients == (office / "recipients.txt").read_bytes()

    fresh = keys / "fresh"
    fresh.mkdir()
    (fresh / "recipients.txt").write_bytes(recipients)
    code, _, err = init("fresh", "centre.pub")
    assert (BAD_INPUT, True) == (code, "names other recipients; nothing was changed" in err)
    assert DONE == init("fresh", "centre.pub", "recovery.pub")[0]


def test_a_station_gets_a_new_key_and_goes_on(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is lost: the message names a command that works; packets and backups of both keys are believed, and restore."""
    assert DONE == init("office", "centre.pub", "recovery.pub")[0]
    monkeypatch.chdir(keys / "office")
    ktpsync.init_disk(keys / "usb")
    with (keys / "office" / "ktpsync.toml").open("a") as file:
        file.write(f"[backups.usb]\nbackend = \"disk\"\npath = '{keys / 'usb'}'\n")
    with ktpsync.Office.open(keys / "office") as office:
        first = office.submit(make_enrollment(1, size=4000)).packet_id
        before = office.station.key_id
    assert DONE == run("backup", "usb").code
    (keys / "office" / "data" / "keys" / "station.pem").unlink()
    assert "`ktpsync keys replace-station`" in run("status").err

    made = run("keys", "replace-station", "--who", "budi", "--why", "disk failed", "--json").json()
    assert (before, None) == (made["before"], made["kept"])
    with ktpsync.Office.open(keys / "office") as office:
        assert made["station_key_id"] == office.station.key_id != before
        second = office.submit(make_enrollment(2, size=4000)).packet_id
    assert '"station-key-replaced"' in run("audit", "export").out
    assert DONE == run("backup", "usb").code
    for command in (("keys", "test", "--identity"), ("verify", "usb", "--open")):
        told = run(*command, keys / "recovery.txt")
        assert DONE == told.code, told.err
    told = run("restore", keys / "usb", "--into", keys / "new", "--identity", keys / "recovery.txt")
    assert DONE == told.code, told.err
    with ktpsync.Office.open(keys / "new") as office:
        assert [first, second] == [view.packet_id for view in office.outbox.packets()]

    again = run("keys", "replace-station", "--who", "budi", "--why", "it was copied", "--json").json()
    assert made["station_key_id"] == again["before"]
    assert "PRIVATE KEY" in (keys / "office" / "data" / "keys" / again["kept"]).read_text()
