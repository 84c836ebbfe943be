"""What importing costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

import ktpsync

PARTS = [
    "ktpsync.age",
    "ktpsync.backup",
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

    assert sorted({"ktpsync.lazy", package}) == ast.literal_eval(run(program))


def test_help_is_quick() -> None:
    """Showing the help imports neither the outbox nor a backend."""
    program = (
        "import sys; sys.argv = ['ktpsync', '--help']\n"
        "from ktpsync.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'boto3', 'sqlalchemy', 'alembic', 'uvicorn', 'ktpsync.outbox'} & set(sys.modules))"
    )

    assert "set()" == run(program).strip().split("\n")[-1]


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
