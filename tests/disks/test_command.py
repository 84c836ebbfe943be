"""``ktpsync disk`` on a disk that is really plugged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ktpsync.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def disks_at(mount_point: Path) -> list[dict[str, Any]]:
    """Return what ``disk list`` tells of a mount point."""
    listed = CliRunner().invoke(main, ["disk", "list", "--json"]).stdout
    return [disk for disk in json.loads(listed)["disks"] if Path(disk["path"]).is_relative_to(mount_point)]


def test_disk_list_shows_what_is_plugged_in(new_disk: Callable[..., Any]) -> None:
    """A disk is seen before and after it is marked, with its label and room; without it, nothing is."""
    disk = new_disk("exfat", size_mb=16)
    (before,) = disks_at(disk.mount_point)
    marked = CliRunner().invoke(main, ["disk", "init", str(disk.mount_point), "--label", "biru", "--json"])
    (after,) = disks_at(disk.mount_point)
    lines = CliRunner().invoke(main, ["disk", "list"]).stdout.splitlines()
    disk.pull_out()

    assert ("unmarked", None) == (before["state"], before["uuid"])
    assert {
        "state": "marked",
        "label": "biru",
        "uuid": json.loads(marked.stdout)["uuid"],
    }.items() <= after.items()
    assert not json.loads(marked.stdout)["on_system_disk"]
    assert 0 < after["free"] <= after["size"] <= 16 << 20
    assert 1 == sum(str(disk.mount_point) in line and "biru" in line and "marked" in line for line in lines)
    assert [] == disks_at(disk.mount_point)


def test_marking_a_folder_of_the_system_disk_is_pointed_out(new_disk: Callable[..., Any]) -> None:
    """The office meant the external disk, which is not plugged in."""
    disk = new_disk("ext4", size_mb=16)
    disk.pull_out()
    if disk.mount_point.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("temporary files are not on the system's disk here")

    said = CliRunner().invoke(main, ["disk", "init", str(disk.mount_point)])

    assert 0 == said.exit_code
    assert "is a folder on this machine's own disk" in said.stdout
