"""The conformance kit catches what it is there to catch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import pytest

from ktpsync.testing import BackendContract, CentralContract, StorageContract

HERE = Path(__file__).parent
ONLY_WHAT_MUST_FAIL = """
def pytest_pycollect_makeitem(collector, name):
    wanted = getattr(getattr(collector, "cls", None), "caught_by", ())
    return [] if wanted and name.startswith("test_") and name not in wanted else None
"""
"""A broken backend runs the tests that must catch it; a right one runs all."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Returns for each broken backend's test class the contract tests that failed, parameters left out."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(ONLY_WHAT_MUST_FAIL)
    (folder / "test_broken_backends.py").write_text(
        (HERE / "broken_backends.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    report = folder / "report.xml"
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    arguments = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--tb=no", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=plain,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, set[str]] = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own report
        name = case.get("classname", "").rpartition(".")[2]
        failed = case.find("failure") is not None or case.find("error") is not None
        found[name] |= {case.get("name", "").partition("[")[0]} if failed else set()
    return found


def expected() -> dict[str, tuple[str, ...]]:
    """Return for each test class in `broken_backends.py` the tests that must fail."""
    spec = importlib.util.spec_from_file_location("broken_backends", HERE / "broken_backends.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value.caught_by for name, value in vars(module).items() if name.startswith("Test")}


EXPECTED = expected()


@pytest.mark.parametrize("name", [name for name, caught_by in EXPECTED.items() if caught_by])
def test_each_broken_backend_is_caught(failures: dict[str, set[str]], name: str) -> None:
    """By the contract test that is there for it."""
    assert set(EXPECTED[name]) == failures[name]


@pytest.mark.parametrize("name", [name for name, caught_by in EXPECTED.items() if not caught_by])
def test_what_is_right_passes(failures: dict[str, set[str]], name: str) -> None:
    """A backend that keeps the contract, or whose author names how it does not, sees no failure."""
    assert name in failures
    assert set() == failures[name]


def test_every_contract_test_catches_something() -> None:
    """A test that nothing fails would be for show."""
    tests = {
        name
        for contract in (BackendContract, StorageContract, CentralContract)
        for name in dir(contract)
        if name.startswith("test_")
    }

    assert tests == {name for caught_by in EXPECTED.values() for name in caught_by}


def test_a_failing_contract_test_shows_the_values(tmp_path: Path) -> None:
    """An author sees what was compared, as in tests of their own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_broken.py").write_text((HERE / "broken_backends.py").read_text(encoding="utf-8"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "TestLosingTheEnd and is_read",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )

    assert "assert b'\\x00\\x01" in done.stdout


def test_a_deviation_that_names_no_test_is_refused() -> None:
    """A typing error must not switch anything off in silence."""
    with pytest.raises(
        TypeError, match="no test test_put_keeps_what_was_there; perhaps test_put_keeps_what_is_there"
    ):
        type("Odd", (StorageContract,), {"known_deviations": {"test_put_keeps_what_was_there": "a reason"}})
