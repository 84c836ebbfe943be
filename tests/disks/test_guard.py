"""No test run leaves a file system mounted, however it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MOUNT_AND_WAIT = """
import importlib.util, pathlib, sys, time
spec = importlib.util.spec_from_file_location("disks", sys.argv[1])
disks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(disks)
disks.RealDisk("tmpfs", pathlib.Path(sys.argv[2], "image"), pathlib.Path(sys.argv[2], "usb")).plug_in()
print("mounted", flush=True)
time.sleep(300)
"""


@pytest.mark.slow
def test_a_killed_test_run_leaves_nothing_mounted(new_disk: Callable[..., Any], tmp_path: Path) -> None:
    """The guard notices that its test run is gone, and unmounts."""
    new_disk("tmpfs")  # skips where nothing can be mounted
    conftest = Path(__file__).with_name("conftest.py")
    command = [sys.executable, "-c", MOUNT_AND_WAIT, conftest, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert "mounted\n" == killed.stdout.readline()
        assert (tmp_path / "usb").is_mount()
        killed.kill()

    deadline = time.monotonic() + 60
    while (tmp_path / "usb").is_mount() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert not (tmp_path / "usb").is_mount()
