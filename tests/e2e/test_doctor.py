"""``ktpsync doctor``: from a damaged database back to an office that works, at the command line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import ktpsync
from command_line import BAD_INPUT, DAMAGED, DONE, FAILED, PERSON, USAGE, WAITING, invoke
from ktpsync import age, packet, records
from ktpsync.testing import make_enrollment


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    result = invoke(*arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office with three packets, all delivered to a disk and backed up there; then two more."""
    monkeypatch.chdir(tmp_path)
    assert DONE == run("keygen", "-o", "safe.txt")[0]
    recipient = json.loads(run("keygen", "-o", "second.txt", "--json")[1])["recipient"]
    assert DONE == run("init", "office", "--recipient", recipient)[0]
    assert DONE == run("disk", "init", "usb-a")[0]
    config = tmp_path / "office" / "ktpsync.toml"
    place = 'backend = "disk"\npath = "../usb-a"\n'
    config.write_text(config.read_text() + f"[destinations.usb-a]\n{place}[backups.usb-a]\n{place}")
    monkeypatch.chdir(tmp_path / "office")
    for seed in range(5):
        folder = Path(f"captured/{seed}")
        records.save_folder(make_enrollment(seed, size=4000), folder)
        assert DONE == run("submit", folder)[0]
        if seed == 2:
            assert DONE == run("sync")[0]
            assert DONE == run("backup", "usb-a")[0]
    return tmp_path / "office"


def spoil(office: Path) -> bytes:
    """Damage the database, as a failing disk does; return what is left."""
    database = office / "data" / "outbox.db"
    database.write_bytes(b"\xff" * database.stat().st_size)
    return database.read_bytes()


def test_a_healthy_office_is_examined(office: Path) -> None:
    """Nothing is wrong, and `--read` reads every byte."""
    assert DONE == run("doctor")[0]
    code, out, _ = run("doctor", "--read", "--json")
    found = json.loads(out)
    assert (DONE, 5, []) == (code, found["packets"], found["problems"])


def test_a_damaged_packet_is_named(office: Path) -> None:
    """The exit code says damage, the message which packet."""
    path = min((office / "data" / "spool").glob("*/*.age"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    code, _, err = run("doctor", "--read")
    assert DAMAGED == code
    assert path.stem in err


def test_a_damaged_database_is_made_anew_from_the_sealed_files(office: Path) -> None:
    """Every command says what to do; afterwards all is there, and the next backup is whole."""
    left = spoil(office)
    for command in ("status", "sync", "doctor"):
        code, _, err = run(command)
        assert DAMAGED == code
        assert "ktpsync doctor --rebuild" in err
    code, out, _ = run("doctor", "--rebuild", "--json")
    found = json.loads(out)
    assert (DONE, 5, 5, []) == (code, found["packets"], found["from_spool"], found["problems"])
    assert left == (Path(found["aside"]) / "outbox.db").read_bytes()
    assert DONE == run("sync")[0]
    assert DONE == run("backup", "usb-a")[0]
    assert DONE == run("doctor", "--read")[0]
    code, out, _ = run("verify", "usb-a", "--json")
    assert DONE == code
    into = office.parent / "restored"
    assert DONE == run("restore", office.parent / "usb-a", "--into", into, "--identity", "../second.txt")[0]
    with ktpsync.Office.open(into) as restored:
        assert 5 == len(list(restored.outbox.packets()))


def test_with_a_backup_and_an_identity_the_state_comes_back_too(office: Path) -> None:
    """Receipts and references up to the snapshot, and a file that the failing disk has lost as well."""
    with ktpsync.Office.open(office) as opened:
        backed_up = next(opened.outbox.packets())
        lost = opened.outbox.spool.path(backed_up.packet_id)
    lost.unlink()
    spoil(office)
    assert USAGE == run("doctor", "--rebuild", "--backup", "usb-a")[0]
    code, out, err = run("doctor", "--rebuild", "--backup", "usb-a", "--identity", "../second.txt", "--json")
    assert (DONE, "") == (code, err)
    assert 5 == json.loads(out)["packets"]
    assert DONE == run("doctor", "--read")[0]
    with ktpsync.Office.open(office) as opened:
        (line,) = opened.summary()
        assert (3, 2) == (line.delivered, line.pending)
        assert backed_up == opened.status(backed_up.packet_id).packet
    assert DONE == run("sync")[0]
    assert DONE == run("backup", "usb-a")[0]


def test_an_outbox_on_a_server_is_not_rebuilt_here(office: Path) -> None:
    """The message says what to do instead."""
    config = office / "ktpsync.toml"
    config.write_text(
        config.read_text().replace("[office]\n", '[office]\ndatabase = "postgresql://nobody@nowhere/x"\n', 1)
    )
    code, _, err = run("doctor", "--rebuild")
    assert BAD_INPUT == code
    assert "ktpsync restore" in err


def spooled(office: Path) -> list[Path]:
    """Return the sealed files, oldest packet first; the first three are in the backup."""
    return sorted((office / "data" / "spool").glob("*/*.age"), key=lambda path: path.stem)


def damage(path: Path) -> bytes:
    """Flip a byte of a file; return what is left."""
    data = path.read_bytes()
    bad = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes(bad)
    return bad


def flip_in_backup(office: Path, sealed: bytes) -> None:
    """Damage the backup's copy of a packet."""
    for pack in (office.parent / "usb-a" / "packs").glob("*.tar"):
        data = bytearray(pack.read_bytes())
        at = data.find(sealed)
        if at >= 0:
            data[at + len(sealed) // 2] ^= 1
            pack.write_bytes(data)
            return
    raise AssertionError


def rebuild(office: Path) -> tuple[int, dict[str, Any], str]:
    """Spoil the database and make it anew, with the backup's help."""
    spoil(office)
    code, out, err = run(
        "doctor",
        "--rebuild",
        "--backup",
        "usb-a",
        "--identity",
        "../second.txt",
        "--config",
        office,
        "--json",
    )
    return code, json.loads(out), err


def test_a_damaged_file_makes_way_for_the_backups_whole_copy(office: Path) -> None:
    """The damaged bytes are in quarantine, the good ones in the spool."""
    path = spooled(office)[0]
    good = path.read_bytes()
    bad = damage(path)

    code, found, err = rebuild(office)

    assert DAMAGED == code
    assert good == path.read_bytes()
    assert bad == (Path(found["quarantine"]) / path.name).read_bytes()
    assert f"{path.name}: it differs from the backup's whole copy" in err
    assert DONE == run("doctor", "--read")[0]


def test_a_file_stays_where_the_backups_copy_is_damaged_too(office: Path) -> None:
    """Neither is proven whole: both are kept where they are, the packet is named, and does not count as whole."""
    path = spooled(office)[0]
    good = path.read_bytes()
    flip_in_backup(office, good)
    bad = damage(path)

    code, found, err = rebuild(office)

    assert DAMAGED == code
    assert bad == path.read_bytes()
    assert [] == found["quarantined"]
    assert (
        f"{path.stem}: its file differs from what the backup recorded, and the backup's copy is damaged"
        in err
    )
    code, _, err = run("doctor", "--read")
    assert DAMAGED == code
    assert path.stem in err


@pytest.mark.slow
def test_a_newer_whole_file_is_not_given_up_for_an_older_copy(office: Path) -> None:
    """Rewrapped after the backup, it opens with the identity: it stays, whether the backup's copy is whole or not."""
    first, second = spooled(office)[:2]
    flip_in_backup(office, first.read_bytes())
    (identity,) = age.read_identities(Path("../second.txt"))
    newer = {}
    for path in (first, second):
        sealed = packet.rewrap(path.read_bytes(), [identity], [identity.recipient])
        assert sealed is not None
        path.write_bytes(sealed)
        newer[path] = sealed

    code, found, _ = rebuild(office)

    assert newer == {path: path.read_bytes() for path in newer}
    assert [] == found["quarantined"]
    assert DONE == code
    assert DONE == run("doctor", "--read")[0]
    assert DONE == run("backup", "usb-a")[0]


def test_a_rebuild_that_cannot_open_the_backup_moves_nothing(office: Path) -> None:
    """A wrong identity is told before any file leaves the spool."""
    path = spooled(office)[0]
    path.write_bytes(b"no packet")
    assert DONE == run("keygen", "-o", "../wrong.txt")[0]
    spoil(office)

    code, _, err = run("doctor", "--rebuild", "--backup", "usb-a", "--identity", "../wrong.txt")

    assert FAILED == code
    assert "recovery recipients" in err
    assert b"no packet" == path.read_bytes()
    assert not (office / "data" / "spool.quarantine").exists()


# --- repair ---


def test_damaged_and_missing_packets_are_mended_in_one_step(office: Path) -> None:
    """Good bytes come from the backup, the delivery goes on, the damaged bytes and the audit trail tell of it."""
    first, second, _, fourth, _ = spooled(office)
    good = {path: path.read_bytes() for path in spooled(office)}
    assert DONE == run("backup", "usb-a")[0]
    bad = damage(fourth)
    second.unlink()
    assert PERSON == run("sync")[0]

    code, out, err = run("doctor", "--repair", "--who", "siti")

    assert (DONE, "") == (code, err)
    assert (
        f"Packet {fourth.stem} was damaged: a good copy from usb-a is in its place now; it goes on to usb-a."
        in out
    )
    assert f"Packet {second.stem} was missing: a good copy from usb-a is in its place now." in out
    assert first.stem not in out
    assert good == {path: path.read_bytes() for path in good}
    apart = office / "data" / "spool.quarantine"
    assert bad == (apart / fourth.name).read_bytes()
    assert {fourth.name, f"{fourth.name}.reason.json"} == {path.name for path in apart.iterdir()}
    with ktpsync.Office.open(office) as opened:
        (told,) = [entry for entry in opened.status(fourth.stem).history if entry.event == "mended"]
        assert "siti" == told.who
        assert {"source": "usb-a", "why": "ktpsync doctor --repair"}.items() <= json.loads(
            told.detail
        ).items()
    assert DONE == run("sync")[0]
    assert DONE == run("doctor", "--read")[0]
    assert "No packet is to be mended." in run("doctor", "--repair", "--read", "--who", "siti")[1]


@pytest.mark.slow
def test_a_destination_that_holds_the_packet_gives_it_back(office: Path) -> None:
    """The backup's copy is damaged too; what was delivered is asked for."""
    path = spooled(office)[0]
    good = path.read_bytes()
    flip_in_backup(office, good)
    config = office / "ktpsync.toml"
    config.write_text(config.read_text().replace("[backups.usb-a]", "[backups.usb-b]"))
    damage(path)

    code, out, err = run("doctor", "--repair", "--read", "--who", "siti")

    assert (DONE, "") == (code, err)
    assert f"Packet {path.stem} was damaged: a good copy from usb-a is in its place now." in out
    assert good == path.read_bytes()


def test_what_no_place_has_is_left_and_named(office: Path) -> None:
    """Recorded after the backup and delivered nowhere; the backup that is away is named, and nothing is moved."""
    path = spooled(office)[4]
    bad = damage(path)
    (office.parent / "usb-a").rename(office.parent / "away")

    code, _, err = run("doctor", "--repair", "--read", "--who", "siti")

    assert DAMAGED == code
    assert f"Packet {path.stem} was damaged, and no good copy was found." in err
    assert "usb-a could not be read" in err
    assert bad == path.read_bytes()


@pytest.mark.slow
def test_bytes_that_a_person_put_back_by_hand_let_the_delivery_go_on(office: Path) -> None:
    """Nothing is mended then; what was set aside because of the damage is delivered."""
    path = spooled(office)[4]
    good = path.read_bytes()
    damage(path)
    assert PERSON == run("sync")[0]
    path.write_bytes(good)

    code, out, _ = run("doctor", "--repair", "--who", "siti", "--why", "file put back")

    assert DONE == code
    assert f"Packet {path.stem} is whole; it goes on to usb-a." in out
    assert DONE == run("sync")[0]


@pytest.mark.slow
def test_a_quarantined_packet_that_the_database_does_not_know_comes_back(office: Path) -> None:
    """After a rebuild without the backup its row is gone; the backup has it whole, and it is delivered."""
    path = spooled(office)[0]
    good = path.read_bytes()
    path.write_bytes(good[:60])
    spoil(office)
    assert DAMAGED == run("doctor", "--rebuild")[0]
    assert not path.exists()

    code, out, _ = run("doctor", "--repair", "--who", "siti")

    assert DONE == code
    assert f"Packet {path.stem} was in quarantine and unknown to the database: a good copy from usb-a" in out
    assert good == path.read_bytes()
    with ktpsync.Office.open(office) as opened:
        assert 5 == len(list(opened.outbox.packets()))
    assert DONE == run("sync")[0]
    assert DONE == run("doctor", "--read")[0]


def test_repair_asks_who_and_goes_with_nothing_else(office: Path) -> None:
    """The command line says what is missing."""
    for wrong in (["--repair"], ["--repair", "--rebuild", "--who", "siti"], ["--who", "siti"]):
        assert USAGE == run("doctor", *wrong, "--config", office)[0]


def test_a_spool_whose_disk_is_not_mounted_is_said_and_a_lost_one_is_replaced(office: Path) -> None:
    """An empty folder in its place: all commands say so, until somebody says that what was in it is lost."""
    spool = office / "data" / "spool"
    spool.rename(office / "away")
    spool.mkdir()
    assert WAITING == (refused := run("submit", "captured/4"))[0]
    assert "Nothing was stored" in refused[2]
    code, out, err = run("status")
    assert (PERSON, True, True) == (code, "Disk: away." in out, "--new-spool" in out + err)
    code, _, err = run("doctor")
    assert (DAMAGED, 1) == (code, err.count("--new-spool"))
    assert WAITING == run("sync")[0]
    assert WAITING == run("doctor", "--repair", "--who", "budi")[0]
    assert USAGE == run("doctor", "--new-spool")[0]
    assert [] == list(spool.iterdir())

    code, _, err = run("doctor", "--repair", "--new-spool", "--who", "budi")
    assert (DAMAGED, 2) == (code, err.count("no good copy was found"))
    assert 3 == len(list(spool.glob("*/*.age")))
    assert DONE == run("submit", "captured/4")[0]


def test_a_whole_database_is_not_made_anew(office: Path) -> None:
    """A rebuild typed by mistake is refused, before anything is set aside."""
    assert DONE == run("destination", "pause", "usb-a", "--who", "wati", "--why", "office hours")[0]
    before = sorted(path.name for path in (office / "data").iterdir())
    for more in ((), ("--backup", "usb-a", "--identity", "../second.txt")):
        code, _, err = run("doctor", "--rebuild", *more)
        assert FAILED == code
        assert "nothing to make anew" in err
    assert before == sorted(path.name for path in (office / "data").iterdir())


def test_what_a_person_decided_after_the_backup_outlives_a_rebuild(office: Path) -> None:
    """As far as the damaged database can be read: a pause, and a packet that is not to be sent."""
    with ktpsync.Office.open(office) as opened:
        packet_id = [view.packet_id for view in opened.outbox.packets()][-1]
    assert DONE == run("cancel", packet_id, "usb-a", "--who", "budi", "--why", "wrong person")[0]
    assert DONE == run("backup", "usb-a")[0]
    with ktpsync.Office.open(office) as opened:
        other = [view.packet_id for view in opened.outbox.packets()][-2]
    assert DONE == run("cancel", other, "usb-a", "--who", "budi", "--why", "asked for it")[0]
    assert DONE == run("destination", "pause", "usb-a", "--who", "wati", "--why", "office hours")[0]
    with sqlite3.connect(office / "data" / "outbox.db") as connection:
        connection.execute("UPDATE ktpsync_audit SET who = 'nobody' WHERE seq = 2")
    connection.close()

    assert DONE == run("doctor", "--rebuild", "--backup", "usb-a", "--identity", "../second.txt")[0]

    with ktpsync.Office.open(office) as opened:
        (state,) = opened.outbox.destinations()
        assert "office hours" == state.paused
        for cancelled, why in ((packet_id, "wrong person"), (other, "asked for it")):
            (delivery,) = opened.status(cancelled).deliveries
            assert "cancelled" == delivery.state
            told = [entry for entry in opened.outbox.audit.entries(packet_id=cancelled) if entry.who]
            assert [("cancelled", "budi", True)] == [(one.event, one.who, why in one.detail) for one in told]
    code, out, _ = run("audit", "verify")
    assert DONE == code
    assert "set aside" in out
