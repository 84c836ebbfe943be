"""The guide on recovery without ktpsync, executed with the tools it names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ktpsync import age, packet
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backup import Repository, backup
from ktpsync.clock import SystemClock
from ktpsync.keys import StationKey
from ktpsync.outbox import Outbox
from ktpsync.plugins import BackendContext
from ktpsync.testing import make_enrollment

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "recover-without-ktpsync.md"
TOOLS = ("age", "tar", "unzip", "sha256sum", "openssl", "gzip", "sed", "sh")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
def test_the_guide_recovers_everything_with_ordinary_tools(tmp_path: Path) -> None:
    """Its commands check every signature and digest and bring back every file of every packet."""
    disk, data, work = tmp_path / "disk", tmp_path / "data", tmp_path / "work"
    data.mkdir()
    work.mkdir()
    init_disk(disk)
    # Not every installed age knows hybrid keys yet.
    identity = age.generate_identity("x25519")
    age.write_identity_file(tmp_path / "identity.txt", identity)
    station = StationKey.generate()
    storage = DiskBackend(DiskSettings(path=disk, reserve=0), BackendContext(name="usb-a"))
    repository = Repository.create(storage, recipients=[str(identity.recipient)])
    enrollments = {}
    with Outbox.open(data / "outbox.db", data / "spool") as outbox:
        for person in range(4):
            enrollment = make_enrollment(person, size=2_000)
            sealing = packet.seal(
                enrollment, recipients=[identity.recipient], station_key=station, clock=SystemClock()
            )
            made = sealing.packet
            outbox.submit(sealing.sealed, packet_id=made.packet_id, sha256=made.sha256)
            enrollments[made.packet_id] = enrollment
            if person % 2:
                backup(outbox, repository, station=station, memory=data / "backups")

    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL))
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "REPOSITORY": str(disk),
        "IDENTITY": str(tmp_path / "identity.txt"),
    }
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=work,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert ["Signature Verified Successfully"] * 5 + ["4"] == done.stdout.splitlines()
    for packet_id, enrollment in enrollments.items():
        folder = work / "packets" / packet_id
        assert enrollment.biodata.nik.digits in (folder / "enrollment.json").read_text()
        assert 1 < len([path for path in (folder / "biometrics").rglob("*") if path.is_file()])
