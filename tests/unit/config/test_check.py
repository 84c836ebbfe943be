"""Every problem of a configuration at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ktpsync import age
from ktpsync.config import check, load
from ktpsync.errors import ConfigError
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECIPIENT = str(age.generate_identity("x25519").recipient)
OFFICE = f'[office]\ndata = "data"\nrecipients = ["{RECIPIENT}"]\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Returns a function that writes a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "ktpsync.toml"
        path.write_bytes(text.encode())
        return path

    return write


def problems(path: Path) -> list[str]:
    """Return the problems found with everything that is installed."""
    return check(path, PluginRegistry.load())


def test_a_right_file_has_no_problems(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its disk is in a drawer: nothing is opened."""
    monkeypatch.setenv("KTPSYNC_TEST_TOKEN", "token")
    path = write(
        OFFICE
        + '[destinations.central]\nbackend = "http"\nurl = "https://central.example/"\nrate = "64 kB"\n'
        + 'token = { env = "KTPSYNC_TEST_TOKEN" }\nwindow = "18:00-06:30"\nconnect_timeout = "30s"\n'
        + '[backups.usb-a]\nbackend = "disk"\npath = "/nowhere"\nevery = "1h"\nreserve = "64 MiB"\n'
    )

    assert [] == problems(path)
    assert ["central"] == list(load(path).destinations)


def test_everything_wrong_is_listed_at_once(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all sections, of ktpsync and of the backends, each by its place; one run is enough."""
    monkeypatch.delenv("KTPSYNC_TEST_TOKEN", raising=False)
    path = write(
        '[office]\ndata = "data"\nrecipients = ["age1nonsense"]\n'
        "[destination.x]\n"
        '[destinations.central]\nbackend = "http"\nurl = "http://central.example/"\nconcurency = 2\n'
        'concurrency = 0\nwindow = "evening"\nconnect_timeout = "soon"\ntoken = { env = "KTPSYNC_TEST_TOKEN" }\n'
        '[destinations.usb]\nbackend = "dsik"\n'
        "[destinations.Usb]\n"
        '[destinations.nothing]\npath = "x"\n'
        '[backups.a]\nbackend = "http"\nurl = "https://central.example/"\n'
        '[destinations.other]\nbackend = "http"\n'
        '[backups.b]\nbackend = "disk"\nreserve = "64 gigs"\nevery = true\nrecipients = ["age1other"]\n'
        '[spool]\nbackend = "http"\nurl = "https://central.example/"\nbucket = "b"\n'
    )

    found = problems(path)

    expected = [
        r"\[backups.a\] backend: backups need storage such as \"disk\" or \"s3\"; 'http' is none",
        r"\[backups.b\] every: expected a time such as .*",
        r"\[backups.b\] reserve: expected a size such as .*",
        r"\[destination\] is not a section; perhaps \[destinations\]",
        r"\[destinations.Usb\]: names are lower-case letters.*",
        r"\[destinations.central\] concurency: there is no such setting; perhaps 'concurrency'",
        r"\[destinations.central\] concurrency: expected at least 1, and concurrency is 0",
        r"\[destinations.central\] connect_timeout: expected a time such as .*",
        r"\[destinations.central\] token: the environment variable KTPSYNC_TEST_TOKEN is not set",
        r"\[destinations.central\] url: expected https: .*",
        r"\[destinations.central\] window: 'evening' is no window of hours; write it like 18:00-06:30.",
        r"\[destinations.nothing\] backend: this setting is missing",
        r"\[destinations.other\] url: this setting is missing",
        r"\[destinations.usb\] backend: No plugin offers a backend 'dsik'. Perhaps 'disk'.*",
        r"\[spool\] backend: a spool needs storage such as \"disk\" or \"s3\"; 'http' is none",
        r"\[spool\] bucket: there is no such setting.*",
        r"\[spool\]: a spool in storage is for machines that share an outbox: .*",
        r".*\[office\]: not age recipients:\n  - age1nonsense.*",
    ]
    unmatched = [line for line in found if not any(re.fullmatch(one, line) for one in expected)]
    missing = [one for one in expected if not any(re.fullmatch(one, line) for line in found)]
    assert ([], []) == (missing, unmatched)


def test_a_file_from_a_windows_editor_is_read(write: Callable[[str], Path]) -> None:
    """With a byte order mark and its line ends."""
    path = write("\ufeff" + OFFICE.replace("\n", "\r\n"))

    assert [] == problems(path)


def test_windows_paths_in_double_quotes_are_explained(write: Callable[[str], Path]) -> None:
    """TOML takes a backslash there as the beginning of something else."""
    path = write(OFFICE + '[backups.a]\nbackend = "disk"\npath = "D:\\kopi"\n')

    with pytest.raises(ConfigError, match=r"Write Windows paths in single quotes: 'D:.folder'"):
        problems(path)


def test_a_database_with_a_password_is_masked(write: Callable[[str], Path]) -> None:
    """The URL of a shared outbox never shows, whatever is printed."""
    path = write(OFFICE + 'database = "postgresql://ktpsync:hush-hush@db/outbox"\n')

    assert "hush-hush" not in repr(load(path))


CLASHING = """
from attrs import frozen
from ktpsync.plugins import Backend, BackendSpec, hookimpl
@frozen(kw_only=True)
class Settings:
    rate: int = 1
    every: int = 2
class Clashing(Backend):
    def deliver(self, packet): ...
    def check(self): ...
@hookimpl
def ktpsync_backends():
    yield BackendSpec(name="clashing", api_version=1, summary="x", config=__name__ + ":Settings",
                      factory=__name__ + ":Clashing")
"""


def test_a_plugin_whose_settings_ktpsync_takes_for_its_own_is_told(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would never reach the backend."""
    from importlib.metadata import EntryPoint

    (tmp_path / "ktpsync_test_clashing.py").write_text(CLASHING)
    monkeypatch.syspath_prepend(tmp_path)
    registry = PluginRegistry([EntryPoint("clashing", "ktpsync_test_clashing", "ktpsync")])

    found = check(write(OFFICE + '[destinations.x]\nbackend = "clashing"\n'), registry)

    assert 1 == len(found)
    assert (
        "'clashing' has settings whose names ktpsync uses itself (every, rate); tell its author" in found[0]
    )


@pytest.mark.parametrize(
    "given", ["app.db", "sqlite:///app.db", "sqlite:///app.db?timeout=5", "ABSOLUTE", "sqlite:///ABSOLUTE"]
)
def test_a_sqlite_file_is_the_same_from_every_folder(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Relative to the configuration file, as all paths are: a service and an application work in different folders."""
    path = write(OFFICE + f"database = '{given.replace('ABSOLUTE', str(tmp_path / 'app.db'))}'\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [] == problems(path)
    database = load(path).office.database
    assert database is not None
    assert f"sqlite:///{tmp_path / 'app.db'}" == database.reveal()


@pytest.mark.parametrize(
    "given",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        ":memory:",
        "sqlite:/secret.db",
        "mysql://u:secret@h/x",
        "postgresql:/u:secret@h/x",
        "postgresql://u:secret@h:port/x",
    ],
)
def test_what_is_no_database_is_a_problem_of_the_file(write: Callable[[str], Path], given: str) -> None:
    """And not an error of another library, when the office is opened; a password in it is not shown."""
    (problem,) = problems(write(OFFICE + f"database = '{given}'\n"))
    assert problem.startswith("[office] database: ")
    assert "secret" not in problem
    assert "give a path, sqlite:///PATH or postgresql://" in problem or not given


def test_a_database_server_is_left_as_it_is_named(write: Callable[[str], Path]) -> None:
    """Its address is no path."""
    database = load(
        write(OFFICE + "database = 'postgresql://u:p@h:5433/x?sslmode=require'\n")
    ).office.database
    assert database is not None
    assert "postgresql://u:p@h:5433/x?sslmode=require" == database.reveal()
