"""Every system call of a delivery fails once, with every reason that a disk has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ktpsync.backends.disk import init_disk


@pytest.mark.slow
def test_every_call_may_fail(tmp_path: Path) -> None:
    """The packet is whole or not there, the others are whole, the error says which disk, the next try succeeds."""
    if shutil.which("fiu-run") is None:
        pytest.skip("fiu-run (Debian: fiu-utils) is not installed")
    init_disk(tmp_path / "usb", label="red")
    program = Path(__file__).with_name("failing_calls.py")

    done = subprocess.run(
        ["fiu-run", "-x", "-f", "", sys.executable, program, tmp_path / "usb"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )

    assert 0 == done.returncode, done.stderr[-4000:]
    failed = json.loads(done.stdout)
    # Each call is made at least so often in a delivery; each time it failed with four reasons.
    assert failed["open"] >= 3 * 4
    assert failed["read"] >= 4
    assert failed["write"] >= 4
    assert failed["fsync"] >= 2 * 4
    assert failed["unlink"] >= 4
