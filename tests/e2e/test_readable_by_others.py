"""What other users of the machine can read of an office, and what is said where they can read a secret."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

import ktpsync
from command_line import DONE, run
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folder's access list decides there")

RECIPIENT = str(ktpsync.age.generate_identity().recipient)
CENTRAL = '[destinations.central]\nbackend = "http"\nurl = "http://127.0.0.1:9/"\n'


@pytest.fixture(autouse=True)
def everybody_may_read_by_default() -> Iterator[None]:
    """As on most systems."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_the_database_is_the_owner_s_like_the_spool(tmp_path: Path) -> None:
    """References, states and hashes are for the station alone, also while journals are written."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT])
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=3000))
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in office.data.database.parent.iterdir()
            if path.name.startswith(office.data.database.name)
        }

    assert {"outbox.db", "outbox.db-wal", "outbox.db-shm"} <= set(modes)
    assert {0o600} == set(modes.values())


def test_a_new_configuration_is_the_owner_s(tmp_path: Path) -> None:
    """The places may hold a token, and then nothing needs to be said."""
    config = ktpsync.init_office(
        tmp_path / "office", recipients=[RECIPIENT], places=CENTRAL + 'token = "made-up"\n'
    )

    assert 0o600 == stat.S_IMODE(config.stat().st_mode)
    with ktpsync.Office.open(config) as office:
        assert [] == office.attention()


@pytest.mark.parametrize(
    "setting",
    [
        'token = "made-up"',
        'oauth = { token_url = "https://a.example/", client_id = "a", client_secret = "made-up" }',
    ],
)
def test_a_secret_in_a_configuration_that_all_can_read_is_told(tmp_path: Path, setting: str) -> None:
    """By the office and by the check, without the secret; the check does not fail for it."""
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=f"{CENTRAL}{setting}\n")
    config.chmod(0o644)
    expected = [
        f"{config} holds a secret in clear and can be read by other users of this machine: run `chmod 600 {config}`."
    ]

    with ktpsync.Office.open(config) as office:
        assert expected == office.attention()
    done = run("config", "check", "--json", "--config", config)
    assert (DONE, expected) == (done.code, done.json()["exposed"])


def test_a_file_of_a_secret_that_all_can_read_is_told(tmp_path: Path) -> None:
    """A group is often made for the service, so that its files are no reason; nor is the database's address."""
    places = CENTRAL + "token = { file = 'token' }\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[RECIPIENT], places=places)
    config.write_text(config.read_text().replace("[office]\n", "[office]\ndatabase = 'sqlite:///x.db'\n"))
    config.chmod(0o644)
    token = config.parent / "token"
    token.write_text("made-up")

    with ktpsync.Office.open(config) as office:
        assert [
            f"{token} holds a secret and can be read by other users of this machine: run `chmod 600 {token}`."
        ] == office.attention()
        token.chmod(0o640)
        assert [] == office.attention()
