"""The example plugins and a new skeleton, as somebody else would use them: installed, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ktpsync.cli._skeleton import write_skeleton

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PLUGINS = ("ktpsync-sftp", "ktpsync-webdav", "ktpsync-tape-robot")
MOST_LINES = 120

OFFLINE = "hatchling>=1.27 (from versions: none)"
"""What pip says first where it reaches no index. A dependency of ours that does not exist is not skipped."""


def plugin_folder(name: str, new: Path) -> Path:
    """Return where a plugin's source is: among the examples, or just written."""
    return EXAMPLES / name if (EXAMPLES / name).is_dir() else new / name


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with ktpsync and the plugins, installed from their folders as pip does it."""
    folder = tmp_path_factory.mktemp("fresh")
    write_skeleton("tape-robot", folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [str(ROOT), *(f"{plugin_folder(name, folder)}[test]" for name in PLUGINS)]
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if OFFLINE in done.stderr:
        pytest.skip("no package index can be reached, not even for hatchling")
    assert done.returncode == 0, done.stderr
    return folder


def run(environment: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the fresh environment, with nothing of this one."""
    python = environment / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "KTPSYNC", "PYTEST"))
    }
    return subprocess.run(
        [python, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd, env=clean
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_passes_its_own_tests(environment: Path, name: str) -> None:
    """The inherited contract on real servers, and that ktpsync finds it."""
    done = run(
        environment,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        cwd=plugin_folder(name, environment),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ktpsync_lists_what_is_installed(environment: Path) -> None:
    """With its distribution and version, and it can be imported."""
    listed = run(environment, "-m", "ktpsync", "plugins", cwd=environment)
    checked = run(environment, "-m", "ktpsync", "plugins", "--check", "sftp", cwd=environment)

    assert (0, 0) == (listed.returncode, checked.returncode), listed.stderr + checked.stderr
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in listed.stdout.splitlines()}
    assert {
        name.removeprefix("ktpsync-"): [
            name,
            "0.1.0",
            "1",
            f"backend {name.removeprefix('ktpsync-')}",
            "usable",
        ]
        for name in PLUGINS
    } == {name: lines[name] for name in ("sftp", "webdav", "tape-robot")}
    assert checked.stdout.startswith("sftp can be imported")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_installed_ktpsync_writes_the_same_skeleton(environment: Path) -> None:
    """Its templates are in the wheel."""
    made = run(
        environment, "-m", "ktpsync", "plugins", "new", "tape-robot", "--into", "again", cwd=environment
    )

    assert made.returncode == 6
    made = run(environment, "-m", "ktpsync", "plugins", "new", "other", "--into", "again", cwd=environment)
    assert made.returncode == 0, made.stderr
    here = write_skeleton("other", environment / "here")
    assert {path.relative_to(here): path.read_bytes() for path in here.rglob("*") if path.is_file()} == {
        path.relative_to(environment / "again" / "ktpsync-other"): path.read_bytes()
        for path in (environment / "again" / "ktpsync-other").rglob("*")
        if path.is_file()
    }


def test_the_webdav_backend_is_short() -> None:
    """What the documentation promises: under 120 lines, blank ones and comments left out."""
    source = EXAMPLES / "ktpsync-webdav" / "src" / "ktpsync_webdav" / "backend.py"
    lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]

    assert len([line for line in lines if line and not line.startswith("#")]) < MOST_LINES
