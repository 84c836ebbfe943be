"""What a monitor is told by `office.attention()`, `office.summary()` and the exit code of `ktpsync status`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ktpsync
from command_line import DONE, PERSON, invoke
from ktpsync.clock import SystemClock
from ktpsync.testing import ManualClock, make_enrollment

DAY_MS = 86_400_000
HTTP = "backend = 'http'\nurl = 'http://127.0.0.1:9/'\n"


def office_with(folder: Path, places: str) -> Path:
    """Set up an office with these places, whatever is wrong with them."""
    recipient = str(ktpsync.age.generate_identity().recipient)
    config = ktpsync.init_office(folder / "office", recipients=[recipient])
    config.write_text(config.read_text() + places)
    return config


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (f"[destinations.central]\n{HTTP}token = {{ env = 'NOT_SET_ANYWHERE' }}\n", "NOT_SET_ANYWHERE"),
        ("[destinations.central]\nbackend = 'sftpp'\n", "sftpp"),
        ("[destinations.central]\nbackend = 'http'\nurll = 'http://127.0.0.1:9/'\n", "urll"),
    ],
    ids=["no secret", "no backend", "misspelt"],
)
def test_a_destination_that_can_never_be_used_needs_a_person(tmp_path: Path, places: str, told: str) -> None:
    """Nothing is paused and nothing has failed: without this a monitor would see a destination that works."""
    config = office_with(tmp_path, places)
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=4000))
        (line,) = office.summary()
        (sentence,) = office.attention()
    assert told in line.unusable
    assert sentence == f"central cannot be used, and its packets wait: {line.unusable}"
    shown = invoke("status", "--config", config)
    assert PERSON == shown.exit_code
    assert "cannot be used" in shown.stdout
    assert told in shown.stderr


def test_a_backup_that_can_never_be_used_needs_a_person(tmp_path: Path) -> None:
    """Also where it is made by hand only."""
    config = office_with(tmp_path, "[backups.usb]\nbackend = 'disk'\npathh = '/x'\n")
    with ktpsync.Office.open(config) as office:
        (state,) = office.backup_states()
        assert list(state.warnings) == office.attention()
    assert "The backup usb cannot be used" in state.warnings[0]
    assert PERSON == invoke("status", "--config", config).exit_code


def test_a_secret_that_is_set_again_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An office that is open looks each time."""
    config = office_with(
        tmp_path, f"[destinations.central]\n{HTTP}token = {{ env = 'KTPSYNC_TEST_TOKEN' }}\n"
    )
    with ktpsync.Office.open(config) as office:
        assert 1 == len(office.attention())
        monkeypatch.setenv("KTPSYNC_TEST_TOKEN", "x")
        assert [] == office.attention()
    assert DONE == invoke("status", "--config", config).exit_code


def test_packets_that_go_nowhere_need_a_person(tmp_path: Path) -> None:
    """An office without destinations is fine until something is recorded."""
    config = office_with(tmp_path, "")
    with ktpsync.Office.open(config) as office:
        assert [] == office.attention()
        office.submit(make_enrollment(1, size=4000))
        (sentence,) = office.attention()
    assert "names no destination" in sentence
    assert PERSON == invoke("status", "--config", config).exit_code


def test_keys_that_nobody_has_tried_need_a_person_after_a_week(tmp_path: Path) -> None:
    """A new office has time to try them; later it is the loss of everything that is not noticed."""
    config = office_with(tmp_path, f"[destinations.central]\n{HTTP}")
    clock = ManualClock(ms=SystemClock().now_ms())
    with ktpsync.Office.open(config, clock=clock) as office:
        assert [] == office.attention()
        clock.ms += 8 * DAY_MS
        assert office.key_warnings() == office.attention()
        assert "keys test" in office.attention()[0]


def test_an_older_copy_of_the_outboxs_own_database_needs_a_person(tmp_path: Path) -> None:
    """What doctor and the service say, a monitor is told as well."""
    config = office_with(tmp_path, f"[destinations.central]\n{HTTP}")
    database = config.parent / "data" / "outbox.db"
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=4000))
    copy = shutil.copy(database, tmp_path / "older.db")
    with ktpsync.Office.open(config) as office:
        office.submit_many([make_enrollment(number, size=4000) for number in (2, 3)])
    for part in ("-wal", "-shm"):
        Path(f"{database}{part}").unlink(missing_ok=True)
    Path(copy).replace(database)
    with ktpsync.Office.open(config) as office:
        (sentence,) = office.attention()
    assert "older copy" in sentence
    assert PERSON == invoke("status", "--config", config).exit_code
