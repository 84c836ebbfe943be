"""What importing costs."""

from __future__ import annotations

import subprocess
import sys

import ktpsync


def run(program: str) -> str:
    """Run a program in a new interpreter and return what it printed."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_importing_ktpsync_loads_nothing_heavy() -> None:
    """An app that imports it starts as fast as before."""
    heavy = "{'boto3', 'sqlalchemy', 'alembic', 'urllib3', 'cattrs', 'cryptography', 'rich', 'click'}"
    program = f"import sys, ktpsync; print({heavy} & set(sys.modules)); print([m for m in sys.modules if 'ktpsync.' in m])"

    assert ["set()", "[]"] == run(program).split("\n")[:2]


def test_every_public_name_is_there() -> None:
    """The names in ``__all__`` load, and only they are public."""
    assert sorted(ktpsync.__all__) == ktpsync.__all__
    assert [] == [name for name in ktpsync.__all__ if getattr(ktpsync, name) is None]


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
