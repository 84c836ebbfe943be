"""`ktpsync plugins` and `ktpsync config` as the person who sets up an office meets them."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

import ktpsync
from command_line import BAD_INPUT, DONE, FAILED, PERSON, USAGE, WAITING
from command_line import invoke as run
from ktpsync.central import CentralSettings, running
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator


PLUGIN = """
import sys
from attrs import frozen
from ktpsync.backends.disk.backend import DiskBackend
from ktpsync.plugins import Backend, BackendSpec, Health, hookimpl

@frozen(kw_only=True)
class Settings:
    mood: str = "well"

class Moody(Backend):
    def __init__(self, settings, context):
        if settings.mood == "angry":
            raise RuntimeError("hush")
        self.mood = settings.mood
    def deliver(self, packet):
        raise RuntimeError("dropped")
    def check(self):
        if self.mood != "well":
            raise RuntimeError(self.mood)
        return Health(summary="All is well.", free=7, details={"colour": "blue"})

class Broken(DiskBackend):
    def put(self, key, source, *, size, sha256):
        raise RuntimeError("hush")

@frozen(kw_only=True)
class Greedy:
    rate: int = 1

@hookimpl
def ktpsync_backends():
    yield BackendSpec(name="greedy", api_version=1, summary="x", config="ktpsync_test_moody:Greedy",
                      factory="ktpsync_test_moody:Moody")
    yield BackendSpec(name="moody", api_version=1, summary="x", config="ktpsync_test_moody:Settings",
                      factory="ktpsync_test_moody:Moody")
    yield BackendSpec(name="misspelt", api_version=1, summary="x", config="ktpsync.no_such_module:Settings",
                      factory="ktpsync_test_moody:Moody")
    yield BackendSpec(name="broken", api_version=1, summary="x", factory="ktpsync_test_moody:Broken",
                      config="ktpsync.backends.disk.backend:DiskSettings")
    yield BackendSpec(name="gone", api_version=1, summary="x", config="no_such_package:Settings",
                      factory="no_such_package:Gone")
@hookimpl
def ktpsync_delivered(): ...
"""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office with a marked disk; its folder is the current one."""
    ktpsync.init_disk(tmp_path / "usb-a", label="red")
    recipient = str(ktpsync.age.generate_identity("x25519").recipient)
    ktpsync.init_office(tmp_path / "office", recipients=[recipient], places="")
    monkeypatch.chdir(tmp_path / "office")
    return tmp_path / "office"


def configure(office: Path, places: str) -> None:
    """Write the places into the configuration."""
    path = office / "ktpsync.toml"
    path.write_text(path.read_text() + places)


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed plugin; returns the name of its module."""
    site = tmp_path / "site"
    information = site / "ktpsync_moody-3.4.dist-info"
    information.mkdir(parents=True)
    (site / "ktpsync_test_moody.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ktpsync-moody\nVersion: 3.4\n")
    (information / "entry_points.txt").write_text("[ktpsync]\nmood = ktpsync_test_moody\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "ktpsync_test_moody", raising=False)
    return "ktpsync_test_moody"


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[str]:
    """A centre with one token."""
    identity = ktpsync.age.generate_identity("x25519")
    settings = CentralSettings(folder=tmp_path / "centre", identities=[identity], tokens={"right": "3578"})
    with running(settings) as url:
        yield url


def test_plugins_are_listed_with_all_that_is_known(moody: str) -> None:
    """For a person as lines, for a program as JSON."""
    listed, document = run("plugins"), run("plugins", "--json")

    lines = {line.split("\t")[0]: line.split("\t") for line in listed.stdout.splitlines()}
    assert ["plugin", "distribution", "version", "api", "offers", "state"] == lines["plugin"]
    assert [
        "mood",
        "ktpsync-moody",
        "3.4",
        "1",
        "backend greedy, backend moody, backend misspelt, backend broken, backend gone, observes delivered",
        "usable",
    ] == lines["mood"]
    assert "secrets keyring" == lines["keyring"][4]
    (found,) = [line for line in json.loads(document.stdout)["plugins"] if line["plugin"] == "mood"]
    assert {
        "plugin": "mood",
        "distribution": "ktpsync-moody",
        "version": "3.4",
        "api_version": 1,
        "backends": ["greedy", "moody", "misspelt", "broken", "gone"],
        "secret_providers": [],
        "observes": ["ktpsync_delivered"],
        "rejected": None,
        "notes": [],
    } == found


def test_a_rejected_plugin_is_listed_with_the_reason(moody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a person must look, unless a person disabled it."""
    broken = Path(sys.path[0]) / "ktpsync_test_moody.py"
    source = broken.read_text()
    broken.write_text("raise RuntimeError('oops')\n")
    rejected = run("plugins")
    broken.write_text(source)
    monkeypatch.setenv("KTPSYNC_DISABLE_PLUGINS", "ktpsync-moody:mood")

    listed, checked = run("plugins"), run("plugins", "--check", "mood")

    assert PERSON == rejected.exit_code
    assert "mood\tktpsync-moody\t3.4\t-\t-\tit failed to load: RuntimeError: oops" in rejected.stdout
    assert (DONE, FAILED) == (listed.exit_code, checked.exit_code)
    assert "mood\tktpsync-moody\t3.4\t-\t-\tdisabled by KTPSYNC_DISABLE_PLUGINS" in listed.stdout
    assert "ktpsync-moody:mood is not used: disabled by KTPSYNC_DISABLE_PLUGINS" in checked.stderr


def test_listing_imports_no_backend() -> None:
    """Neither does asking for help."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print([m for m in sys.modules if m.endswith('.backend') or m in ('boto3', 'urllib3')]))\n"
        "sys.argv = ['ktpsync', 'plugins']\nfrom ktpsync.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (0, "[]") == (done.returncode, done.stdout.splitlines()[-1]), done.stderr


def test_what_is_well_says_so(office: Path, centre: str, moody: str) -> None:
    """Destinations and backups, by their own names or by what they use."""
    configure(
        office,
        f'[destinations.central]\nbackend = "http"\nurl = "{centre}"\ntoken = "right"\n'
        '[destinations.usb-a]\nbackend = "disk"\npath = "../usb-a"\n'
        '[backups.usb-a]\nbackend = "disk"\npath = "../usb-a"\n[destinations.m]\nbackend = "moody"\n',
    )

    disk, central, mood = (run("plugins", "--check", name) for name in ("disk", "central", "m"))
    document = json.loads(run("plugins", "--check", "m", "--json").stdout)

    assert (DONE, DONE, DONE) == (disk.exit_code, central.exit_code, mood.exit_code)
    assert ["[destinations.usb-a] (disk): well", "[backups.usb-a] (disk): well"] == [
        line for line in disk.stdout.splitlines() if line.startswith("[")
    ]
    assert "Disk red at" in disk.stdout
    assert "[destinations.central] (http): well" in central.stdout
    assert "[destinations.m] (moody): well\n  All is well.\n  colour: blue\n" == mood.stdout
    assert [
        {
            "place": "[destinations.m]",
            "backend": "moody",
            "well": True,
            "summary": "All is well.",
            "free": 7,
            "details": {"colour": "blue"},
        }
    ] == document["checks"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("place", "words", "code"),
    [
        ('backend = "disk"\npath = "../drawer"\n', "Plug in the right disk", WAITING),
        (
            'backend = "disk"\npath = "../usb-a"\ndisk = "00000000-0000-4000-8000-000000000000"\n',
            "Plug in the right disk",
            PERSON,
        ),
        ('backend = "disk"\npath = "../usb-a"\nreserve = "900 TB"\n', "is full", PERSON),
        ('backend = "http"\nurl = "{centre}"\ntoken = "wrong-hush"\n', "Renew the token", PERSON),
        ('backend = "http"\nurl = "http://127.0.0.1:{port}/"\n', "127.0.0.1", WAITING),
        ('backend = "http"\nurl = "{centre}"\ntokn = "wrong-hush"\n', "perhaps 'token'", BAD_INPUT),
        ('backend = "http"\n', "url: this setting is missing", BAD_INPUT),
        ('backend = "dsik"\n', "Perhaps 'disk'", FAILED),
        ('backend = "gone"\n', "needs the package 'no_such_package', which is missing", FAILED),
        (
            'backend = "misspelt"\n',
            "'ktpsync.no_such_module:Settings' names no module. Tell the plugin's",
            FAILED,
        ),
        ('backend = "greedy"\n', "settings whose names ktpsync uses itself (rate)", BAD_INPUT),
        ('backend = "moody"\nmood = "angry"\n', "x cannot be used: RuntimeError in the plugin", FAILED),
        (
            'backend = "moody"\nmood = "sad"\n',
            "x: RuntimeError in the plugin ktpsync-moody:mood, version 3.4: sad. Tell its author",
            FAILED,
        ),
    ],
)
@pytest.mark.usefixtures("moody")
def test_what_is_not_well_says_what_to_do(
    office: Path, centre: str, place: str, words: str, code: int
) -> None:
    """The disk in the drawer, another disk, a full one, a wrong token, nobody there, a typing error."""
    configure(office, "[destinations.x]\n" + place.format(centre=centre, port=free_port()))

    checked = run("plugins", "--check", "x")
    document = json.loads(run("plugins", "--check", "x", "--json").stdout)

    assert code == checked.exit_code
    assert checked.stdout.startswith("[destinations.x] (")
    assert "not well" in checked.stdout
    assert words in checked.stdout
    assert words in document["checks"][0]["error"]["message"]
    assert "hush" not in checked.stdout + checked.stderr
    assert len(checked.stdout.splitlines()) <= 3


@pytest.mark.usefixtures("moody")
def test_a_plugin_that_cannot_be_made_stops_no_other(office: Path) -> None:
    """Whatever its constructor raises: the service goes on with the others, `sync` says which one it is."""
    configure(
        office,
        '[destinations.greedy]\nbackend = "greedy"\n'
        '[destinations.bad]\nbackend = "moody"\nmood = "angry"\n'
        '[destinations.good]\nbackend = "disk"\npath = "../usb-a"\n',
    )
    stop = threading.Event()
    with ktpsync.Office.open(office) as opened, ThreadPoolExecutor(1) as pool:
        opened.submit(make_enrollment(1))
        service = pool.submit(opened.run, stop)
        while not service.done() and not opened.outbox.destination("good").delivered:
            stop.wait(0.05)
        delivered = opened.outbox.destination("good").delivered
        stop.set()
        service.result()

    assert 1 == delivered
    synced = run("sync")

    assert FAILED == synced.exit_code
    assert "bad cannot be used: RuntimeError in the plugin" in synced.stdout + synced.stderr
    assert (
        "greedy cannot be used: the backend 'greedy' has settings whose names"
        in synced.stdout + synced.stderr
    )
    assert "hush" not in synced.stdout + synced.stderr


@pytest.mark.usefixtures("moody")
def test_a_plugin_that_breaks_in_a_backup_is_told_in_a_sentence(
    office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is for its author, who asks for it."""
    configure(office, '[backups.b]\nbackend = "broken"\npath = "../usb-a"\n')

    made = run("backup", "b")

    assert FAILED == made.exit_code
    assert made.stderr.startswith("ktpsync: RuntimeError in ktpsync_test_moody.")
    assert "hush" not in made.stdout + made.stderr
    monkeypatch.setenv("KTPSYNC_DEBUG", "1")
    with pytest.raises(RuntimeError, match="hush"):
        run("backup", "b")


@pytest.mark.usefixtures("moody")
@pytest.mark.parametrize("mood", ["angry", "sad"])
def test_a_mistake_of_a_plugin_has_a_traceback(office: Path, mood: str) -> None:
    """Wherever it is made: in the constructor, asked how it is, in a delivery; only for who asks."""
    configure(office, f'[destinations.x]\nbackend = "moody"\nmood = "{mood}"\n')
    with ktpsync.Office.open(office) as opened:
        opened.submit(make_enrollment(1))
    program = "from ktpsync.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": sys.path[0]}

    def said(*arguments: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment | more,
            cwd=office,
        )
        return done.stdout + done.stderr

    checked = said("plugins", "--check", "x", KTPSYNC_DEBUG="1")
    synced = said("sync", KTPSYNC_DEBUG="1")
    quiet = said("sync")

    for told in (checked, synced):
        assert "Traceback (most recent call last)" in told
        assert "in the plugin ktpsync-moody:mood, version 3.4" in told
        assert "Tell its author; KTPSYNC_DEBUG=1 shows the traceback" in told
    assert "ktpsync_test_moody.py" in checked
    assert "ktpsync_test_moody.py" in synced
    assert "Traceback" not in quiet


def test_a_token_is_in_no_log(office: Path, centre: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where everything is logged, by the libraries too."""
    configure(office, f'[destinations.x]\nbackend = "http"\nurl = "{centre}"\ntoken = "wrong-hush"\n')
    caplog.set_level(logging.DEBUG)

    assert PERSON == run("plugins", "--check", "x").exit_code

    assert caplog.records
    assert "hush" not in caplog.text


def test_the_worst_answer_decides_the_exit_code(office: Path, moody: str) -> None:
    """One place that is well does not hide another that is not."""
    configure(
        office,
        '[destinations.a]\nbackend = "disk"\npath = "../usb-a"\n[destinations.b]\nbackend = "disk"\npath = "../no"\n',
    )

    checked = run("plugins", "--check", "disk")

    assert WAITING == checked.exit_code
    assert "[destinations.a] (disk): well" in checked.stdout
    assert "[destinations.b] (disk): not well" in checked.stdout


def test_a_plugin_that_nothing_uses_is_imported(
    office: Path, moody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a configuration or without; a backend that cannot be imported is told."""
    here, keyring, gone = (run("plugins", "--check", name) for name in ("moody", "keyring", "gone"))
    monkeypatch.chdir(tmp_path)
    elsewhere = run("plugins", "--check", "moody")

    assert (DONE, DONE, DONE) == (here.exit_code, keyring.exit_code, elsewhere.exit_code)
    assert "moody can be imported; nothing in ktpsync.toml uses it" in here.stdout
    assert "there is no ktpsync.toml that uses it" in elsewhere.stdout
    assert FAILED == gone.exit_code
    assert "no_such_package" in gone.stderr


def test_a_name_that_is_nothing_is_told(office: Path) -> None:
    """With where the names are."""
    checked = run("plugins", "--check", "nothing")

    assert FAILED == checked.exit_code
    assert "`ktpsync plugins` lists the plugins" in checked.stderr


def test_a_new_plugin_is_written_once(tmp_path: Path) -> None:
    """And never over something; names that cannot be are refused."""
    made = run("plugins", "new", "ktpsync-tape", "--into", tmp_path)
    again = run("plugins", "new", "tape", "--into", tmp_path)
    odd = [run("plugins", "new", name, "--into", tmp_path) for name in ("Tape", "a--b", "../x", "disk", "-x")]

    assert (DONE, BAD_INPUT) == (made.exit_code, again.exit_code)
    assert "exists already; nothing was written" in again.stderr
    assert {BAD_INPUT, USAGE} == {answer.exit_code for answer in odd}
    assert ["ktpsync-tape"] == [path.name for path in tmp_path.iterdir()]
    assert {"pyproject.toml", "README.md", "__init__.py", "backend.py", "plugin.py", "test_contract.py"} == {
        path.name for path in (tmp_path / "ktpsync-tape").rglob("*") if path.is_file()
    }


def test_config_check_lists_all_problems(office: Path) -> None:
    """And says so when there are none."""
    right = run("config", "check")
    configure(office, '[destinations.x]\nbackend = "dsik"\n[destinations.y]\nbackend = "http"\nurll = "x"\n')
    wrong, document = run("config", "check"), run("config", "check", "--json")

    assert (DONE, BAD_INPUT) == (right.exit_code, wrong.exit_code)
    assert "ktpsync.toml is right" in right.stdout
    assert "ktpsync.toml: 3 problems." in wrong.stdout
    assert 3 == len(json.loads(document.stdout)["problems"])


def test_config_schema_is_a_schema_of_what_init_writes(office: Path) -> None:
    """On standard output, alone, so that it can go into a file."""
    printed = run("config", "schema")

    assert (DONE, "") == (printed.exit_code, printed.stderr)
    jsonschema.validate(
        tomllib.loads((office / "ktpsync.toml").read_text(encoding="utf-8")), json.loads(printed.stdout)
    )
