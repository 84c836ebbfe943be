"""Back up, add, verify and restore the same files with ktpsync and with what else there is, in one run.

Every number is the wall time of a whole process, start of the interpreter included, ended by ``sync`` of the
file system where the program itself does not sync. Programs that are not installed are skipped by name.

    python benchmarks/backup.py                       # 2,000 files of 300 kB, then 3 more
    python benchmarks/backup.py --scale 1000 300000   # cost against the number of small packets
"""

# ruff: noqa: PLC0415 - what a measured process imports is part of what is measured

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ktpsync.outbox import Outbox

PEERS = ("restic", "borg", "rclone")


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox of a data directory."""
    from ktpsync.outbox import DestinationSpec, Outbox

    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


def record(folder: Path, count: int, size: int, seed: int) -> None:
    """Put packets of random bytes into the outbox."""
    from ktpsync.outbox import Submission
    from ktpsync.packet import new_packet_id

    source = random.Random(seed)
    with open_outbox(folder) as outbox:
        for start in range(0, count, 200):
            batch = []
            for _ in range(min(200, count - start)):
                sealed = source.randbytes(size)
                digest = hashlib.sha256(sealed).hexdigest()
                batch.append(Submission(sealed=sealed, packet_id=new_packet_id(), sha256=digest))
            outbox.submit_many(batch)


def work(what: str, base: Path) -> None:
    """Do one thing with ktpsync; the body of the measured process."""
    from ktpsync import age
    from ktpsync.backends.disk import init_disk
    from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
    from ktpsync.backup import Depth, Repository, Retention, backup, prune, restore_station, verify
    from ktpsync.keys import StationKey
    from ktpsync.plugins import BackendContext

    data, disk = base / "data", base / "ktpsync"
    storage = DiskBackend(DiskSettings(path=disk, reserve=0), BackendContext(name="bench"))
    if what == "init":
        init_disk(disk)
        StationKey.generate().save(base / "station.pem")
        identity = age.generate_identity()
        age.write_identity_file(base / "identity.txt", identity)
        Repository.create(storage, recipients=[str(identity.recipient)])
        return
    repository = Repository.open(storage)
    memory = data / "backups"
    if what == "restore":
        new = base / "restored-ktpsync"
        identities = age.read_identity_file(base / "identity.txt")
        report = restore_station(
            repository, new, identities=identities, open_outbox=open_outbox, memory=new / "backups"
        )
        assert report.ok
    elif what in {"list", "verify"}:
        assert verify(repository, depth=Depth.LIST if what == "list" else Depth.READ, memory=memory).ok
    else:
        station = StationKey.load(base / "station.pem")
        with open_outbox(data) as outbox:
            if what == "backup":
                assert backup(outbox, repository, station=station, memory=memory).ok
            else:
                prune(outbox, repository, station=station, memory=memory, retention=Retention(), dry_run=True)


def timed(command: Sequence[str], **options: object) -> float:
    """Return the seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start


def own(what: str, base: Path) -> float:
    """Return the seconds that ktpsync takes."""
    return timed([sys.executable, __file__, "--work", what, str(base)])


class Peers:
    """The other programs, each with a repository of its own below the same folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.spool = base / "data" / "spool"
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.found = {name: shutil.which(name, path=search) for name in PEERS}
        self.environment = {
            **os.environ,
            "RESTIC_PASSWORD": "benchmark",
            "BORG_PASSPHRASE": "benchmark",
            "BORG_BASE_DIR": str(base / "borg-home"),
            "RESTIC_CACHE_DIR": str(base / "restic-cache"),
            "RCLONE_CONFIG": str(base / "rclone.conf"),
        }

    def missing(self) -> list[str]:
        """Return the programs that are not installed."""
        return [name for name, path in self.found.items() if path is None]

    def run(self, name: str, *arguments: str, cwd: Path | None = None) -> float:
        """Return the seconds that one of them takes."""
        program = self.found[name]
        assert program is not None
        return timed([program, *arguments], env=self.environment, cwd=cwd or self.base)

    def init(self) -> None:
        """Make the repositories."""
        if self.found["restic"]:
            self.run("restic", "init", "-q", "-r", str(self.base / "restic"))
        if self.found["borg"]:
            self.run("borg", "init", "-e", "repokey-blake2", str(self.base / "borg"))
        if self.found["rclone"]:
            self.run(
                "rclone",
                "config",
                "create",
                "sealed",
                "crypt",
                f"remote={self.base / 'rclone'}",
                "password=benchmark",
                "--obscure",
            )

    def backup(self, name: str, label: str) -> float:
        """Back the spool up."""
        if name == "restic":
            return self.run("restic", "backup", "-q", "-r", str(self.base / "restic"), str(self.spool))
        if name == "borg":
            return self.run("borg", "create", f"{self.base / 'borg'}::{label}", str(self.spool))
        took = self.run("rclone", "copy", "--transfers", "4", str(self.spool), "sealed:")
        return took + timed(["sync", "-f", str(self.base)])

    def restore(self, name: str, label: str) -> float:
        """Bring everything back into an empty folder."""
        target = self.base / f"restored-{name}"
        target.mkdir()
        if name == "restic":
            took = self.run(
                "restic", "restore", "latest", "-q", "-r", str(self.base / "restic"), "--target", str(target)
            )
        elif name == "borg":
            took = self.run("borg", "extract", f"{self.base / 'borg'}::{label}", cwd=target)
        else:
            took = self.run("rclone", "copy", "--transfers", "4", "sealed:", str(target))
        return took + timed(["sync", "-f", str(self.base)])


def floor(base: Path, name: str) -> float:
    """Return the seconds of tar and sync."""
    start = time.perf_counter()
    timed(["tar", "-cf", str(base / name), "-C", str(base / "data"), "spool"])
    return time.perf_counter() - start + timed(["sync", "-f", str(base)])


def compare(base: Path, count: int, size: int, more: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the seconds of each program for each task, in one round."""
    (base / "data").mkdir(parents=True)
    peers = Peers(base)
    record(base / "data", count, size, seed)
    own("init", base)
    peers.init()
    present = [name for name in PEERS if peers.found[name]]
    os.sync()
    full = {"tar + sync": floor(base, "floor.tar"), "ktpsync": own("backup", base)}
    full |= {name: peers.backup(name, "full") for name in present}
    record(base / "data", more, size, seed + 1)
    os.sync()
    added = {"ktpsync": own("backup", base)} | {name: peers.backup(name, "more") for name in present}
    spool = [str(path) for path in (base / "data" / "spool").glob("*/*.age")]
    checked = {"sha256sum": timed(["sha256sum", *spool]), "ktpsync": own("verify", base)}
    back = {"ktpsync": own("restore", base) + timed(["sync", "-f", str(base)])}
    back |= {name: peers.restore(name, "more") for name in present}
    return {"full": full, f"{more} more": added, "verify": checked, "restore": back}


def table(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print medians and ratios to ktpsync."""
    print(f"{'':10} {'program':12} {'seconds':>9} {'ktpsync is':>12}")
    for task in rounds[0]:
        medians = {name: statistics.median(r[task][name] for r in rounds) for name in rounds[0][task]}
        for name, seconds in medians.items():
            ratio = "" if name == "ktpsync" else f"{medians['ktpsync'] / seconds:.2f} x"
            print(f"{task:10} {name:12} {seconds:9.3f} {ratio:>12}")


def scale(base: Path, counts: Sequence[int], size: int) -> None:
    """Print what things cost against the number of packets that are there already."""
    (base / "data").mkdir(parents=True)
    own("init", base)
    print(f"{'packets':>9} {'+100 [s]':>9} {'written less packets':>22} {'list [s]':>9} {'prune -n [s]':>13}")
    have = 0
    for count in counts:
        record(base / "data", count - have, size, seed=count)
        own("backup", base)
        record(base / "data", 100, size, seed=count + 1)
        before = used(base / "ktpsync")
        seconds = own("backup", base)
        extra = used(base / "ktpsync") - before - 100 * size
        print(
            f"{count:9} {seconds:9.2f} {extra:22} {own('list', base):9.2f} {own('prune', base):13.2f}",
            flush=True,
        )
        have = count + 100


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_folder(parent: Path, task: Callable[[Path], object]) -> object:
    """Do something in a new folder, and remove it."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="ktpsync-bench-") as folder:
        return task(Path(folder))


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--more", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, nargs="+", metavar="PACKETS")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure"
    )
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work[0], Path(arguments.work[1]))
    elif arguments.scale:
        in_folder(arguments.folder, lambda base: scale(base, arguments.scale, min(arguments.size, 1_000)))
    else:
        missing = Peers(arguments.folder).missing()
        if missing:
            print(f"not installed, skipped: {', '.join(missing)}")
        rounds: list[dict[str, dict[str, float]]] = []
        for number in range(arguments.rounds):
            in_folder(
                arguments.folder,
                lambda base, number=number: rounds.append(
                    compare(base, arguments.count, arguments.size, arguments.more, 2 * number)
                ),
            )
        table(rounds)


if __name__ == "__main__":
    main()
