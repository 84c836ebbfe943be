"""Back up, add, verify and restore the same files with ktpsync and with what else there is, in one run.

Every number is the wall time of a whole process, start of the interpreter included, ended by ``sync`` of the
file system where the program itself does not sync. Programs that are not installed are skipped by name.

    python benchmarks/backup.py                       # 2,000 files of 300 kB, then 3 more: 6 GB a round
    python benchmarks/backup.py --scale 1000 300000   # cost against the number of small packets
    python benchmarks/backup.py --pauses              # how long a backup keeps recording waiting
    python benchmarks/backup.py --purge               # what it costs that a purge reads each packet back from the backup
"""

# ruff: noqa: PLC0415, SLF001 - what a measured process imports is part of what is measured; the service's own purge is run

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

import ktpsync
import ktpsync.files

T = TypeVar("T")
PEERS = ("restic", "borg", "rclone")


CONFIG = """
[destinations.central]
backend = "http"
url = "http://127.0.0.1:9/"
token = "none"

[backups.bench]
backend = "disk"
path = {disk}
reserve = 0
"""


def set_up(base: Path) -> None:
    """Set up an office with one backup below a folder."""
    from ktpsync import age

    identity = age.generate_identity()
    age.write_identity_file(base / "identity.txt", identity)
    ktpsync.init_disk(base / "ktpsync")
    ktpsync.init_office(
        base,
        recipients=[str(identity.recipient)],
        places=CONFIG.format(disk=json.dumps(str(base / "ktpsync"))),
    )


def record(base: Path, count: int, size: int, seed: int) -> None:
    """Put packets of random bytes into the outbox: what is sealed already looks like that."""
    from ktpsync.outbox import Submission
    from ktpsync.packet import new_packet_id

    source = random.Random(seed)
    with ktpsync.Office.open(base) as office:
        for start in range(0, count, 200):
            batch = []
            for _ in range(min(200, count - start)):
                sealed = source.randbytes(size)
                digest = hashlib.sha256(sealed).hexdigest()
                batch.append(Submission(sealed=sealed, packet_id=new_packet_id(), sha256=digest))
            office.outbox.submit_many(batch)


def timed(command: Sequence[str], **options: object) -> float:
    """Return the seconds that a command takes."""
    # As installed from a wheel: compiled once, not at each start.
    environment = {**os.environ, **options.pop("env", {})}  # type: ignore[dict-item]
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, **options
    )  # type: ignore[call-overload]
    return time.perf_counter() - start


def own(base: Path, *arguments: str) -> float:
    """Return the seconds that a command of ktpsync takes."""
    program = Path(sys.executable).with_name("ktpsync")
    return timed([str(program), *arguments, "--config", str(base)])


def own_processor(base: Path, *arguments: str) -> float:
    """Return the processor seconds that a command of ktpsync takes: what else the machine does hardly counts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    own(base, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def own_restore(base: Path) -> float:
    """Return the seconds that a restore by ktpsync takes."""
    program = Path(sys.executable).with_name("ktpsync")
    options = ["--into", str(base / "restored-ktpsync"), "--identity", str(base / "identity.txt")]
    return timed([str(program), "restore", str(base / "ktpsync"), *options])


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
    set_up(base)
    peers = Peers(base)
    record(base, count, size, seed)
    peers.init()
    present = [name for name in PEERS if peers.found[name]]
    os.sync()
    full = {"tar + sync": floor(base, "floor.tar"), "ktpsync": own(base, "backup", "bench")}
    os.sync()
    full |= {name: peers.backup(name, "full") for name in present}
    record(base, more, size, seed + 1)
    os.sync()
    added = {"ktpsync": own(base, "backup", "bench")}
    added |= {name: peers.backup(name, "more") for name in present}
    spool = [str(path) for path in (base / "data" / "spool").glob("*/*.age")]
    os.sync()
    checked = {"sha256sum": timed(["sha256sum", *spool]), "ktpsync": own(base, "verify", "bench")}
    os.sync()
    back = {"ktpsync": own_restore(base) + timed(["sync", "-f", str(base)])}
    back |= {name: peers.restore(name, "more") for name in present}
    return {"full": full, f"{more} more": added, "verify": checked, "restore": back}


def compare_again(base: Path, arguments: argparse.Namespace) -> list[dict[str, dict[str, float]]]:
    """Return the seconds of each program for each task, for each round."""
    rounds = []
    for number in range(arguments.rounds):
        # Removed together in the end: for minutes ext4 searches past the inodes of what was just deleted, and who
        # restores first in the next round would pay for that.
        folder = base / str(number)
        folder.mkdir()
        rounds.append(compare(folder, arguments.count, arguments.size, arguments.more, 2 * number))
    return rounds


def table(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print medians and ratios to ktpsync."""
    print(f"{'':10} {'program':12} {'seconds':>9} {'ktpsync is':>12}")
    for task in rounds[0]:
        medians = {name: statistics.median(r[task][name] for r in rounds) for name in rounds[0][task]}
        for name, seconds in medians.items():
            ratio = "" if name == "ktpsync" else f"{medians['ktpsync'] / seconds:.2f} x"
            print(f"{task:10} {name:12} {seconds:9.3f} {ratio:>12}")


def scale(base: Path, counts: Sequence[int], size: int) -> list[Cost]:
    """Print and return what things cost against the number of packets that are there already: the best of three, in processor seconds."""
    set_up(base)
    print(f"{'packets':>9} {'+100 [s]':>9} {'written less packets':>22} {'list [s]':>9} {'prune -n [s]':>13}")
    costs: list[Cost] = []
    have = 0
    for count in counts:
        record(base, count - have, size, seed=count)
        own(base, "backup", "bench")
        added, extra = [], []
        for number in range(3):
            record(base, 100, size, seed=count + 1 + number)
            os.sync()
            before = used(base / "ktpsync")
            added.append(own_processor(base, "backup", "bench"))
            extra.append(used(base / "ktpsync") - before - 100 * size)
        costs.append(
            Cost(
                packets=count,
                incremental=min(added),
                extra_bytes=max(extra),
                listing=min(own_processor(base, "verify", "bench", "--list") for _ in range(3)),
                prune=min(own_processor(base, "backup", "prune", "bench", "--dry-run") for _ in range(3)),
            )
        )
        line = costs[-1]
        print(
            f"{count:9} {line.incremental:9.2f} {line.extra_bytes:22} {line.listing:9.2f} {line.prune:13.2f}",
            flush=True,
        )
        have = count + 300
    return costs


class Cost(NamedTuple):
    """What things cost, in processor seconds and bytes."""

    packets: int
    incremental: float
    extra_bytes: int
    listing: float
    prune: float


def picture(costs: Sequence[Cost]) -> str:
    """Return a drawing of the costs as SVG: both axes logarithmic."""
    lines = {
        "backup of 100 new packets": ("#1a5fb4", [cost.incremental for cost in costs]),
        "verify --list": ("#26a269", [cost.listing for cost in costs]),
        "prune --dry-run": ("#c64600", [cost.prune for cost in costs]),
    }
    left, top, width, height = 60, 20, 480, 240
    across = [math.log10(cost.packets) for cost in costs]
    ups = [math.log10(second) for _, seconds in lines.values() for second in seconds]
    low, high = math.floor(min(ups)), math.ceil(max(ups))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + width * (x - across[0]) / (across[-1] - across[0]),
            top + height * (high - y) / (high - low),
        )

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 320" font-family="sans-serif" font-size="12">',
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>',
        f'<text x="{left + width / 2}" y="310" text-anchor="middle">packets in the backup already; processor seconds of a whole command</text>',
    ]
    for power in range(low, high + 1):
        _, y = place(across[0], power)
        parts.append(f'<path d="M{left} {y:.1f}h{width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for cost, x in zip(costs, across, strict=True):
        parts.append(
            f'<text x="{place(x, low)[0]:.1f}" y="{top + height + 18}" text-anchor="middle">{cost.packets:,}</text>'
        )
    below = 0.0
    for name, (colour, seconds) in sorted(lines.items(), key=lambda line: -line[1][1][-1]):
        points = [place(x, math.log10(second)) for x, second in zip(across, seconds, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        below = max(y + 4, below + 15)
        parts.append(f'<text x="{x + 8:.1f}" y="{below:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def pauses(base: Path, count: int, size: int) -> None:
    """Print how long recording takes at its longest while a backup of the same office runs, and while none does."""
    set_up(base)
    record(base, count, size, seed=1)
    os.sync()
    with subprocess.Popen([sys.executable, __file__, "--record", str(base), str(size)], **_PIPES) as recorder:
        recorder.stdout.readline()  # type: ignore[union-attr]
        time.sleep(3)
        own(base, "backup", "bench")
        recorder.stdin.write("stop\n")  # type: ignore[union-attr]
        recorder.stdin.flush()  # type: ignore[union-attr]
        quiet, busy = json.loads(recorder.stdout.readline())  # type: ignore[union-attr]
    for name, took in (("alone", quiet), ("while a backup runs", busy)):
        took.sort()
        print(
            f"{name:20} {len(took)} submits: median {took[len(took) // 2] * 1e3:.1f} ms, "
            f"99 % below {took[len(took) * 99 // 100] * 1e3:.1f} ms, longest {took[-1] * 1e3:.1f} ms"
        )


_PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def keep_recording(base: Path, size: int) -> None:
    """Record one packet after the other until told to stop; the first three seconds count as alone."""
    import threading

    from ktpsync.packet import new_packet_id

    sealed = os.urandom(size)
    digest = hashlib.sha256(sealed).hexdigest()
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    took: list[tuple[float, float]] = []
    with ktpsync.Office.open(base) as office:
        print("ready", flush=True)
        began = time.perf_counter()
        while not stop.is_set():
            start = time.perf_counter()
            office.outbox.submit(sealed, packet_id=new_packet_id(), sha256=digest)
            took.append((start - began, time.perf_counter() - start))
            time.sleep(0.005)
    alone = [seconds for at, seconds in took if at < 3]
    print(json.dumps([alone, [seconds for at, seconds in took if at >= 3]]), flush=True)


def purging(base: Path, count: int, size: int) -> None:
    """Purge groups of packets in turns: as it is, without a look at the backup, and only read the same bytes back."""
    from datetime import UTC, datetime, timedelta

    from ktpsync.plugins import Receipt, StatusChange, StatusPage

    set_up(base)
    record(base, count, size, seed=1)
    now = datetime.now(UTC)
    ways: dict[str, list[tuple[float, float]]] = {}
    with ktpsync.Office.open(base) as office:
        outbox, offload = office.outbox, office._backups.offload
        office.backup("bench")
        office.verify("bench")
        while leases := outbox.claim("central", 500, 600):
            for lease in leases:
                outbox.settle(lease, Receipt.of(lease.packet, sha256=lease.packet.sha256, stored_at=now))
        ids = [view.packet_id for view in outbox.packets()]
        groups = [ids[start : start + 250] for start in range(0, count, 250)]
        packs = sorted((base / "ktpsync" / "packs").glob("*.tar"))

        def read_back() -> None:
            for pack in packs:
                with pack.open("rb") as file:
                    ktpsync.files.drop_page_cache(file)
                    hashlib.file_digest(file, "sha256")

        def measure(name: str, run: Callable[[], object], packets: int) -> None:
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            took = (time.perf_counter() - wall) / packets, (time.process_time() - cpu) / packets
            ways.setdefault(name, []).append(took)

        for number, group in enumerate(groups):
            said = [
                StatusChange(packet_id=one, status="CARD_ISSUED", changed_at=now - timedelta(days=1))
                for one in group
            ]
            outbox.apply_statuses("central", StatusPage(changes=said, cursor=str(number), more=False))
            if number % 2:
                unseen = {"who": "bench", "prove": lambda _: True}
                measure(
                    "a purge that looks at no backup",
                    lambda o=unseen: outbox.purge(timedelta(0), **o),
                    len(group),
                )  # type: ignore[misc]
            else:
                measure("a purge", lambda: offload.purge(0, who="bench"), len(group))
            assert office.status(group[-1]).packet.location == "purged"
        for _ in range(3):
            measure("to read and hash all packs once", read_back, count)
    print(f"{count} packets of {size} bytes, per packet in us:           wall   processor")
    for name, took in ways.items():
        wall, cpu = (statistics.median(values) * 1e6 for values in zip(*took, strict=True))
        print(f"  {name:<45} {wall:10.0f} {cpu:10.0f}")


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_folder(parent: Path, task: Callable[[Path], T]) -> T:
    """Do something in a new folder, remove it, and return what came of it."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="ktpsync-bench-") as folder:
        return task(Path(folder))


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    compileall.compile_dir(Path(ktpsync.__file__).parent, quiet=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--more", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, nargs="+", metavar="PACKETS")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure"
    )
    parser.add_argument("--picture", type=Path, help="with --scale: draw what was measured, as SVG")
    parser.add_argument("--pauses", action="store_true", help="how long a backup keeps recording waiting")
    parser.add_argument("--purge", action="store_true", help="what proving packets costs a purge")
    parser.add_argument("--record", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.record:
        keep_recording(Path(arguments.record[0]), int(arguments.record[1]))
    elif arguments.pauses:
        in_folder(arguments.folder, lambda base: pauses(base, arguments.count, arguments.size))
    elif arguments.purge:
        in_folder(arguments.folder, lambda base: purging(base, arguments.count, arguments.size))
    elif arguments.scale:
        costs = in_folder(
            arguments.folder, lambda base: scale(base, arguments.scale, min(arguments.size, 1_000))
        )
        if arguments.picture:
            arguments.picture.write_text(picture(costs))
    else:
        missing = Peers(arguments.folder).missing()
        if missing:
            print(f"not installed, skipped: {', '.join(missing)}")
        rounds = in_folder(arguments.folder, lambda base: compare_again(base, arguments))
        table(rounds)


if __name__ == "__main__":
    main()
