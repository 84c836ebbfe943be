"""Many writers, many files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.backends.disk import init_disk
from ktpsync.packet import new_packet_id
from ktpsync.plugins import packet_key
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.backends.disk.backend import DiskBackend

pytestmark = pytest.mark.slow


def test_two_offices_write_to_one_disk_at_once(folder: Path, tmp_path: Path) -> None:
    """Every packet is there whole, and both got the same receipt for those that both delivered."""
    count = 40
    command = [
        sys.executable,
        Path(__file__).with_name("one_office.py"),
        folder,
        tmp_path / "go",
        str(count),
        "7",
    ]
    offices = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for office in offices:
        assert office.stdout is not None
        assert "ready\n" == office.stdout.readline()
    (tmp_path / "go").touch()

    first, second = (json.loads(office.communicate(timeout=120)[0]) for office in offices)

    assert [0, 0] == [office.returncode for office in offices]
    assert count == len(first.keys() & second.keys())
    assert 3 * count == len(first | second)
    for packet_id in first.keys() & second.keys():
        assert first[packet_id] == second[packet_id]
    found = {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("packets/*/*.age")
    }
    assert {packet_id: sha256 for packet_id, (sha256, _) in (first | second).items()} == found
    assert [] == list(folder.rglob("*.part"))


def test_300_000_files(new_disk: Callable[..., Any], backend_on: Callable[..., DiskBackend]) -> None:
    """A disk that holds years of packets is listed in constant memory, and a delivery looks at none of the others."""
    folder: Path = new_disk("many").mount_point
    init_disk(folder)
    backend, (first, new) = backend_on(folder), (made_up_packet(b"first"), made_up_packet(b"new"))
    backend.deliver(first)
    numbers = range(300_000)
    for digits in range(256):
        (folder / "packets" / f"{digits:02x}").mkdir(exist_ok=True)
    root, start = os.open(folder, os.O_RDONLY), new_packet_id()[:-12]
    for number in numbers:
        os.close(os.open(packet_key(f"{start}{number:012x}"), os.O_CREAT | os.O_WRONLY, dir_fd=root))
    os.close(root)

    before, most, listed = sys.getallocatedblocks(), 0, 0
    for listed, _ in enumerate(backend.list("packets/"), start=1):  # noqa: B007 - read after the loop
        most = max(most, sys.getallocatedblocks())
    receipt = backend.deliver(new)

    assert len(numbers) + 1 == listed
    assert most - before < 20_000
    assert new.sha256 == receipt.sha256
    assert first.sha256 == backend.deliver(first).sha256
