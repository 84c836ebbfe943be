"""The command line as the staff meets it: what works, and what each failure says."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ktpsync
from command_line import BAD_INPUT, DAMAGED, DONE, FAILED, PERSON, USAGE, WAITING, every_command, run
from ktpsync import records
from ktpsync.central import CentralSettings, running
from ktpsync.errors import StationFullError
from ktpsync.keys import StationPublicKey
from ktpsync.office import _intake
from ktpsync.outbox import Outbox
from ktpsync.records._form import form_fields
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ktpsync.outbox import Submission


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office set up at the command line, with a disk; its folder is the current one."""
    monkeypatch.chdir(tmp_path)
    assert DONE == run("keygen", "-o", "safe.txt").code
    recipient = run("keygen", "-o", "second.txt", "--json").json()["recipient"]
    Path("recipients.txt").write_text(f"# the centre\n{recipient}\n")
    assert DONE == run("init", "office", "--recipients-file", "recipients.txt").code
    assert DONE == run("disk", "init", "usb-a", "--label", "red").code
    config = tmp_path / "office" / "ktpsync.toml"
    config.write_text(
        config.read_text()
        + '[destinations.usb-a]\nbackend = "disk"\npath = "../usb-a"\n[backups.usb-a]\nbackend = "disk"\npath = "../usb-a"\n'
    )
    monkeypatch.chdir(tmp_path / "office")
    for seed in range(3):
        records.save_folder(make_enrollment(seed, size=4000), Path(f"captured/{seed}"))
    return tmp_path / "office"


@pytest.fixture
def centre(office: Path) -> Iterator[str]:
    """A centre that knows the office's station; the office is connected to it only."""
    station = StationPublicKey.from_pem((office / "data" / "keys" / "station.pub.pem").read_bytes())
    settings = CentralSettings(
        folder=office.parent / "centre",
        identities=[ktpsync.age.read_identity_file(office.parent / "second.txt")],
        tokens={"right": "3578"},
        stations=[station],
        faults=True,
    )
    with running(settings) as url:
        connect(office, url)
        yield url


def connect(office: Path, url: str, token: str = "right") -> None:  # noqa: S107 - made up
    """Write the centre into the configuration as the only destination."""
    (office / "ktpsync.toml").write_text(
        f'[office]\ndata = "data"\nrecipients_file = "recipients.txt"\n'
        f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = "{token}"\n'
        '[backups.usb-a]\nbackend = "disk"\npath = "../usb-a"\n'
    )


def test_the_whole_day(office: Path) -> None:
    """Submit, sync, status, backup, verify, restore: each says what it did, and to programs as JSON."""
    submitted = run("submit", "captured", "--json").json()["submitted"]
    assert isinstance(submitted, list)
    assert 3 == len(submitted)
    packet_id = submitted[0]["packet_id"]

    assert "usb-a\t3\t0\t0" in run("status").out
    synced = run("sync")
    assert (DONE, True) == (synced.code, "usb-a\t3\t0\t0\t-" in synced.out)
    assert "delivered" in run("status", packet_id).out
    assert "delivered" == run("status", packet_id, "--json").json()["deliveries"][0]["state"]  # type: ignore[index]
    assert "Nothing is rejected" in run("rejected").out
    assert "Backed up 3 new packets" in run("backup", "usb-a").out
    assert "Nothing is new" in run("backup", "usb-a").out
    assert "all good" in run("verify", "usb-a").out
    assert "all good" in run("verify", "usb-a", "--list").out
    assert "all good" in run("verify", "usb-a", "--open", "../second.txt").out
    assert "all good" in run("verify", "../usb-a").out

    restored = run("restore", "../usb-a", "--into", "../new", "--identity", "../second.txt")
    assert (DONE, True) == (restored.code, "Restored 3 packets" in restored.out)
    assert packet_id in run("status", packet_id, "--config", "../new").out


def test_a_drill_tries_the_key(office: Path) -> None:
    """With the right identity a restore would work; with another one that is told before it is needed."""
    run("submit", "captured")
    run("backup", "usb-a")

    good, bad = (
        run("backup", "drill", "usb-a", "--identity", "../second.txt"),
        run("backup", "drill", "usb-a", "--identity", "../safe.txt"),
    )

    assert (DONE, DAMAGED) == (good.code, bad.code)
    assert "3 packets opened: a restore would work" in good.out
    assert "identit" in bad.err


def test_what_people_decide_is_in_the_audit_trail(office: Path) -> None:
    """Who and why, in a chain that verifies."""
    submitted = run("submit", "captured", "--json").json()["submitted"]
    first, second, _ = [line["packet_id"] for line in submitted]  # type: ignore[attr-defined]

    assert DONE == run("cancel", first, "usb-a", "--who", "ana", "--why", "recorded twice").code
    assert DONE == run("handled", second, "usb-a", "--who", "budi", "--why", "disk handed over").code
    assert DONE == run("requeue", first, "usb-a", "--who", "ana", "--why", "was right").code
    trail = [json.loads(line) for line in run("audit", "export").out.splitlines()]
    verified = run("audit", "verify")

    decided = [(line["packet_id"], line["who"]) for line in trail if line["who"]]
    assert [(first, "ana"), (second, "budi"), (first, "ana")] == decided
    assert (DONE, True) == (verified.code, "nothing was changed or removed" in verified.out)
    synced = run("sync", "--json").json()["destinations"]
    assert [2] == [line["delivered"] for line in synced]  # type: ignore[attr-defined]


def test_a_changed_audit_trail_is_noticed(office: Path) -> None:
    """Somebody who edits the database is told of."""
    run("submit", "captured")
    with sqlite3.connect("data/outbox.db") as connection:
        connection.execute("UPDATE ktpsync_audit SET detail = detail || ' ' WHERE seq = 2")
    connection.close()

    assert DAMAGED == run("audit", "verify").code


def test_a_damaged_backup_is_named(office: Path) -> None:
    """Exit code 5, the pack and the packet on the screen."""
    packet_id = run("submit", "captured/0", "--json").json()["submitted"][0]["packet_id"]  # type: ignore[index]
    run("backup", "usb-a")
    (pack,) = Path("../usb-a").rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)

    found = run("verify", "usb-a")

    assert DAMAGED == found.code
    assert pack.name in found.err
    assert packet_id in found.err


def test_who_stops_a_command_is_told_that_it_goes_on(office: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a backup: nothing is lost, and nobody needs to wonder."""
    run("submit", "captured")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ktpsync.Office.backup", stopped)
        answer = run("backup", "usb-a")

    assert 130 == answer.code
    assert "Stopped. Nothing that was stored is lost" in answer.err
    assert DONE == run("backup", "usb-a").code


def test_a_backup_folder_that_became_empty_is_told_by_name(office: Path) -> None:
    """Somebody must look which disk or server it is; nothing is written there."""
    run("submit", "captured")
    assert DONE == run("backup", "usb-a").code
    disk = office.parent / "usb-a"
    (marker,) = disk.rglob("ktpsync-repository.json")
    marker.unlink()

    answer = run("backup", "usb-a")

    assert PERSON == answer.code
    assert "usb-a: The backup that was here before is missing" in answer.err
    assert "Plug in the right disk, or look at the server" in answer.err
    assert not marker.exists()


def test_a_backup_without_a_snapshot_is_not_called_good(office: Path) -> None:
    """A repository whose first backup never came to its end restores nothing."""
    run("submit", "captured/0")
    run("backup", "usb-a")
    for file in [*Path("../usb-a").rglob("*.manifest.json"), *Path("../usb-a").rglob("*.sig")]:
        file.unlink()

    found = run("verify", "../usb-a")

    assert (PERSON, False) == (found.code, "all good" in found.out)
    assert "There is no snapshot in this backup yet" in found.out


def test_a_restore_names_what_the_backup_lacks(office: Path) -> None:
    """A packet whose bytes were gone before the backup is not passed over in silence."""
    packets = run("submit", "captured", "--json").json()["submitted"]
    assert isinstance(packets, list)
    lost = packets[0]["packet_id"]
    Path(f"data/spool/{lost[-2:]}/{lost}.age").unlink()
    assert DAMAGED == run("backup", "usb-a").code

    restored = run("restore", "../usb-a", "--into", "../new", "--identity", "../second.txt")

    assert DAMAGED == restored.code
    assert f"The bytes of packet {lost} are not in this backup." in restored.err
    assert "Restored 2 packets" in restored.out
    assert "give data/keys/station.pub.pem in that folder to the centre" in restored.out


def test_bad_folders_are_all_listed_and_none_is_submitted(office: Path) -> None:
    """Unless the good ones are asked for."""
    broken = Path("captured/0/enrollment.json")
    body = json.loads(broken.read_text())
    body["biodata"]["nik"] = "3171013102990001"
    broken.write_text(json.dumps(body))
    (Path("captured/1/biometrics") / "face.png").unlink()

    refused = run("submit", "captured")
    partly = run("submit", "captured", "--skip-bad")

    assert (BAD_INPUT, BAD_INPUT) == (refused.code, partly.code)
    assert "biodata.nik: A NIK's digits 7 to 10 are a day and month of the calendar" in refused.err
    assert "biometrics.face: The file it names is not there" in refused.err
    assert "2 of 3 have problems; none was submitted" in refused.err
    assert "3171013102990001" not in refused.err
    assert 1 == partly.out.count("stored ")


def table(rows: int) -> Path:
    """Write a CSV file of people whose samples are in the captured folders."""
    files = {field.path for field in form_fields() if field.kind == "file"}
    columns = [name for name in run("submit", "--template").out.strip().split(",") if "[" not in name]
    lines = [";".join(columns)]
    for seed in range(rows):
        folder = Path(f"captured/{seed}")
        body = json.loads((folder / "enrollment.json").read_text())
        cells = []
        for column in columns:
            place = body
            for name in [*column.split("."), *(["file"] if column in files else [])]:
                place = place.get(name, {}) if isinstance(place, dict) else {}
            cells.append(f"{folder}/{place}" if column in files else "" if place == {} else str(place))
        lines.append(";".join(cells))
    path = Path("people.csv")
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def test_a_table_is_submitted_whole_or_not_at_all(office: Path) -> None:
    """All bad rows at once, in the reader's language; the good ones only when asked for; never anybody twice."""
    path = table(3)
    good = path.read_text(encoding="utf-8")
    rows = good.splitlines()
    rows[1] = rows[1].replace("LAKI-LAKI", "X").replace("PEREMPUAN", "X")
    rows[3] = rows[3].replace("captured/2/biometrics/face.png", "gone.png")
    path.write_text("\n".join(rows), encoding="utf-8")

    refused = run("submit", "people.csv", "--language", "id")
    partly = run("submit", "people.csv", "--skip-bad", "--json")
    path.write_text(good, encoding="utf-8")
    corrected = run("submit", "people.csv")

    assert (BAD_INPUT, BAD_INPUT, DONE) == (refused.code, partly.code, corrected.code)
    assert "people.csv line 2" in refused.err
    assert "biodata.sex: Ini bukan salah satu dari: LAKI-LAKI, PEREMPUAN. [json.not-a-choice]" in refused.err
    assert "people.csv line 4" in refused.err
    assert "biometrics.face: Berkas yang disebut tidak ada. [file.missing]" in refused.err
    assert "stored" not in refused.out
    assert ["people.csv line 3"] == [line["path"] for line in partly.json()["submitted"]]  # type: ignore[attr-defined]
    assert ["people.csv line 2", "people.csv line 4"] == [
        line["path"]
        for line in partly.json()["problems"]  # type: ignore[attr-defined]
    ]
    assert (1, 2) == (corrected.out.count("already stored "), corrected.out.count("\nstored "))
    assert "usb-a\t3\t0\t0" in run("status").out


def test_a_full_disk_stops_the_import_and_loses_nothing(
    office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored before stays, what was not is counted, and the same command carries on later."""
    submit_many = Outbox.submit_many

    def full(self: Outbox, submissions: Sequence[Submission], **options: None) -> object:
        if submissions[0].reference == "made-up-1":
            raise StationFullError("The disk is full; nothing was stored.")
        return submit_many(self, submissions, **options)

    monkeypatch.setattr(_intake, "_BATCH_RECORDS", 1)
    monkeypatch.setattr(Outbox, "submit_many", full)
    stopped = run("submit", "captured")
    monkeypatch.undo()
    monkeypatch.chdir(office)
    resumed = run("submit", "captured", "--json").json()["submitted"]

    assert (FAILED, 1) == (stopped.code, stopped.out.count("stored "))
    assert "captured/1: The disk is full" in stopped.err
    assert "2 not stored" in stopped.err
    assert [False, True, True] == [line["created"] for line in resumed]  # type: ignore[attr-defined]


def test_another_person_under_a_used_reference_is_told(office: Path) -> None:
    """The others are stored all the same, and the exit code says that something is wrong."""
    run("submit", "captured/0")
    document = Path("captured/1/enrollment.json")
    document.write_text(document.read_text().replace("made-up-1", "made-up-0"))

    answer = run("submit", "captured/1", "captured/2")

    assert BAD_INPUT == answer.code
    assert "captured/1" in answer.err
    assert "made-up-0" in answer.err
    assert 1 == answer.out.count("stored ")


def test_warnings_are_shown_and_hold_nothing_up(office: Path) -> None:
    """A person may want to look at a name of one word."""
    document = Path("captured/1/enrollment.json")
    body = json.loads(document.read_text())
    body["biodata"]["full_name"] = "SUKARNO"
    document.write_text(json.dumps(body))

    answer = run("submit", "captured/1", "--language", "id")

    assert DONE == answer.code
    assert "captured/1: peringatan: biodata.full_name: Nama hanya satu kata" in answer.err
    assert "SUKARNO" not in answer.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not readable JSON"),
        ("[]", "has no field 'schema'"),
        ('{"schema": "x/9"}', "this release reads"),
    ],
)
def test_malformed_json_is_told(office: Path, content: str, words: str) -> None:
    """With the folder it is in."""
    Path("captured/0/enrollment.json").write_text(content)

    answer = run("submit", "captured/0")

    assert BAD_INPUT == answer.code
    assert "captured/0" in answer.err
    assert words in answer.err


def test_a_folder_that_is_none(office: Path) -> None:
    """Nothing is made up."""
    Path("empty").mkdir()

    assert BAD_INPUT == run("submit", "empty").code
    assert USAGE == run("submit", "nowhere").code


def test_a_missing_configuration_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is in the wrong folder."""
    monkeypatch.chdir(tmp_path)

    answer = run("sync")

    assert BAD_INPUT == answer.code
    assert "ktpsync init" in answer.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not TOML"),
        ("[ofice]\n", "[ofice] is not a section"),
        ('[office]\ndata = "data"\nrecipient = []\n', "perhaps 'recipients'"),
        ('[office]\ndata = "data"\n[destinations.A]\nbackend = "disk"\n', "lower-case"),
        (
            '[office]\ndata = "data"\n[destinations.a]\npath = "x"\n',
            "[destinations.a] backend: this setting is missing",
        ),
        ('[office]\ndata = "data"\n[destinations.a]\nbackend = "dsk"\n', "Perhaps 'disk'"),
        (
            '[office]\ndata = "data"\n[destinations.a]\nbackend = "disk"\n',
            "[destinations.a]: a disk needs a path",
        ),
        ("destinations = 1\n", "[destinations]: expected a table"),
    ],
)
def test_mistakes_in_the_configuration_are_told(office: Path, text: str, words: str) -> None:
    """By name, on one screen."""
    Path("ktpsync.toml").write_text(text)

    answer = run("sync")

    assert answer.code in (FAILED, BAD_INPUT)
    assert words in answer.err
    assert answer.err.count("\n") < 24


def test_keys_are_never_overwritten(office: Path) -> None:
    """Neither by keygen nor by init."""
    before = Path("../safe.txt").read_bytes()

    assert FAILED == run("keygen", "-o", "../safe.txt").code
    assert BAD_INPUT == run("init", ".", "--recipients-file", "../recipients.txt").code
    assert before == Path("../safe.txt").read_bytes()


def test_what_keygen_prints_is_a_file_of_recipients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as the shell of Windows writes it; what is for the person goes to standard error."""
    monkeypatch.chdir(tmp_path)
    answer = run("keygen", "-o", "recovery.txt")
    Path("recovery.pub").write_text(answer.out, encoding="utf-16")

    assert DONE == run("init", "office", "--recipients-file", "recovery.pub").code
    assert answer.out == Path("office/recipients.txt").read_text()
    assert "recovery.txt" in answer.err


def test_an_office_without_destinations_says_where_its_packets_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty table would look as if nothing had been stored."""
    monkeypatch.chdir(tmp_path)
    recipient = run("keygen", "-o", "recovery.txt").out.strip()
    assert DONE == run("init", "--recipient", recipient).code

    for command in ("status", "packets", "sync"):
        assert "packets stay on this machine" in run(command).out


def test_a_key_open_to_others_is_refused(office: Path) -> None:
    """The message says what to run."""
    Path("data/keys/station.pem").chmod(0o644)

    answer = run("status")

    assert FAILED == answer.code
    assert "chmod 600" in answer.err


def test_a_disk_that_is_not_plugged_in(office: Path) -> None:
    """The packets wait, and the exit code says so."""
    run("submit", "captured")
    Path("../usb-a").rename("../drawer")

    synced, backed_up = run("sync"), run("backup", "usb-a")

    assert (WAITING, WAITING) == (synced.code, backed_up.code)
    assert "Plug in the right disk" in synced.out
    assert "Plug in the right disk" in backed_up.err
    Path("../drawer").rename("../usb-a")
    assert DONE == run("sync").code


def test_a_wrong_token(office: Path, centre: str) -> None:
    """A person is asked; the packets wait."""
    connect(office, centre, token="wrong")
    run("submit", "captured")

    answer = run("sync")

    assert PERSON == answer.code
    assert "Renew the token" in answer.out
    assert "wrong" not in answer.out
    assert [] == list(office.parent.joinpath("centre").rglob("*.age"))
    again, state = run("sync").out, run("status").out
    assert re.search(
        r"it is stopped since 20\d\d-\d\d-\d\d [\d:]{8} \w+: (?!central: ).*Renew the token\. When that is corrected, "
        r"run `ktpsync resume central --who YOU`\.",
        again,
    ), again
    assert "central is stopped: central: " not in state
    connect(office, centre)
    assert DONE == run("resume", "central", "--who", "admin").code
    assert DONE == run("sync").code
    assert 3 == len(list(office.parent.joinpath("centre").rglob("*.age")))


@pytest.mark.parametrize("status", [500, 503])
def test_a_centre_with_trouble(office: Path, centre: str, status: int) -> None:
    """Its trouble costs nothing; afterwards everything arrives."""
    import urllib3

    run("submit", "captured")
    urllib3.request("POST", f"{centre}sandbox/faults", json={"fail_next": 1000, "fail_status": status})

    answer = run("sync")

    assert WAITING == answer.code
    assert re.search(rf"answered {status}", answer.out)
    urllib3.request("POST", f"{centre}sandbox/faults", json={"fail_next": 0})
    assert DONE == run("sync").code


def test_errors_are_json_for_programs(office: Path) -> None:
    """The class and the sentence, with the same exit code."""
    answer = run("backup", "nowhere", "--json")

    error = answer.json()["error"]
    assert isinstance(error, dict)
    assert ("UnknownDestinationError", answer.code) == (error["class"], error["exit"])


def test_requeue_needs_to_know_who_and_why(office: Path) -> None:
    """A person's decision has a name and a reason in the audit trail."""
    assert USAGE == run("requeue", "some-id", "usb-a").code
    wrong = run("requeue", "some-id", "usb-a", "--json")
    assert USAGE == wrong.code
    message = "Missing option '--who'. Missing option '--why'."
    assert {"error": {"class": "UsageError", "message": message, "exit": 2}} == wrong.json()
    assert FAILED == run("requeue", "some-id", "usb-a", "--who", "me", "--why", "corrected").code


def test_plugins_lists_the_backends() -> None:
    """What is installed, and that it is usable."""
    answer = run("plugins", "--json")

    found = {line["plugin"]: line["rejected"] for line in answer.json()["plugins"]}  # type: ignore[attr-defined]
    assert (DONE, {"disk": None, "http": None, "keyring": None, "s3": None}) == (answer.code, found)


def test_every_command_has_help() -> None:
    """And says what it is for."""
    for path, command in every_command():
        assert DONE == run(*path, "--help").code
        assert command.help or command.short_help, path


def test_the_demo_loses_nothing(tmp_path: Path) -> None:
    """The story in a process and a folder of its own; its numbers come from the centre and the disk."""
    arguments = ["--enrollments", "6", "--json", "--folder", "demo"]
    done = subprocess.run(
        [sys.executable, "-m", "ktpsync", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )

    assert (0, "") == (done.returncode, done.stderr)
    expected = {"recorded": 6, "delivered": 6, "duplicates_in_effect": 0, "changed": 0, "lost": 0}
    expected |= {"restored": 6, "ok": True}
    assert expected == json.loads(done.stdout)
