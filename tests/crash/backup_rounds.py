"""Run by test_backup_kill.py: backups that are interrupted, and what is left of them.

A process of its own without threads, so that it can fork: each round's station is a child that records,
backs up and prunes until it is interrupted. Prints one JSON object.

Usage: backup_rounds.py FOLDER KIND ROUNDS SEED [MOUNT_POINT IMAGE]

KIND is ``step`` (SIGKILL at one change of the medium after the other), ``kill`` (SIGKILL at random changes and
moments) or ``disk`` (a real disk, mounted at MOUNT_POINT from IMAGE: killed, full, failing, pulled out, cut off
from power, at random changes).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ktpsync import age, files
from ktpsync.backends.disk import init_disk
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.backup import Repository, Retention, backup, prune, restore_station, verify
from ktpsync.errors import BackendError
from ktpsync.keys import StationKey
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, ByteSize

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = ("kill", "full", "io-error", "pulled-out", "power-cut")
DEEP_EVERY = 20
RETENTION = Retention(last=2, daily=0, weekly=0, monthly=0)


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox of a data directory."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


def open_repository(disk: Path) -> Repository:
    """Open the repository on a disk."""
    settings = DiskSettings(path=disk, reserve=ByteSize(0))
    return Repository.open(DiskBackend(settings, BackendContext(name="usb-a")))


def spooled(folder: Path) -> dict[str, str]:
    """Return the digests of all sealed packets of a data directory."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "spool").glob("*/*.age")
    }


def at_changes_of(device: int, act: Callable[[], None]) -> None:
    """Call something before each durable change of a file system that the code is about to make."""

    def before(real: Callable[..., Any], place: Callable[..., int]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            with contextlib.suppress(FileNotFoundError):
                if place(*args) == device:
                    act()
            return real(*args, **options)

        return changed

    files.fsync_file = before(files.fsync_file, lambda file: os.fstat(file.fileno()).st_dev)
    files.fsync_folder = before(files.fsync_folder, lambda folder: folder.stat().st_dev)
    files._rename_new = before(files._rename_new, lambda _from, to: to.parent.stat().st_dev)
    Path.unlink = before(Path.unlink, lambda path, **_: path.parent.stat().st_dev)


class Rounds:
    """A station and its repository, through many interruptions."""

    def __init__(self, folder: Path, seed: int, disk: Path, image: Path | None) -> None:
        self.data = folder / "data"
        self.disk = disk
        self.image = image
        self.elsewhere = folder / "elsewhere"
        self.folder = folder
        self.data.mkdir()
        self.random = random.Random(seed)
        self.station = StationKey.generate()
        self.identity = age.generate_identity("x25519")
        init_disk(disk)
        settings = DiskSettings(path=disk, reserve=ByteSize(0))
        Repository.create(
            DiskBackend(settings, BackendContext(name="usb-a")), recipients=[str(self.identity.recipient)]
        )
        self.device = disk.stat().st_dev
        self.failures: list[str] = []
        self.safe: set[str] = set()

    # --- the station, in a child ---

    def work(self, *, once: bool, begun: Callable[[], None] = lambda: None) -> None:
        """Record, back up and prune: what the child does."""
        common = {"station": self.station, "memory": self.data / "backups"}
        with open_outbox(self.data) as outbox:
            begun()
            repository = open_repository(self.disk)
            while True:
                for size in self.random.choices(range(500, 9_000), k=self.random.randrange(1, 5)):
                    sealed = self.random.randbytes(size)
                    digest = hashlib.sha256(sealed).hexdigest()
                    outbox.submit(sealed, packet_id=new_packet_id(), sha256=digest)
                full = self.random.random() < 0.3
                backup(outbox, repository, full=full, pack_size=8_000, snapshot_size=30_000, **common)
                if once or self.random.random() < 0.3:
                    prune(outbox, repository, retention=RETENTION, pack_size=8_000, **common)
                if once:
                    return

    def last(self, work: Callable[[], None]) -> NoReturn:
        """Do something, and end this process whatever happens; what a bad disk must lead to is no failure."""
        try:
            work()
        except BackendError:
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def in_a_child(self, work: Callable[[], None], seed: float) -> int:
        """Do something in a child; return its exit code, negative for a signal."""
        child = os.fork()
        if child == 0:
            self.random.seed(seed)
            self.last(work)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    # --- interruptions ---

    def killed_at(self, number: int) -> bool:
        """Let the child kill itself before one of its changes; return whether it got there."""

        def work() -> None:
            at_changes_of(self.device, self.nth(number, self.die))
            self.work(once=True)

        return self.in_a_child(work, number) == -signal.SIGKILL

    def killed_after(self, seconds: float, *, while_opening: bool) -> None:
        """Kill the child some time after it was started, or after it had opened the outbox."""
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            self.random.seed(seconds)
            self.last(lambda: self.work(once=False, begun=lambda: os.write(told, b".") and None))
        os.close(told)
        if not while_opening:
            os.read(ready, 1)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)

    def interrupted(self, number: int, fault: str) -> None:
        """Interrupt a child on the real disk at a random change, and put the disk in order again."""
        at = self.random.randrange(1, 70)
        ballast = self.disk / "ballast"

        def work() -> None:
            if fault == "full":
                self.fill(ballast, self.random.randrange(60_000))
            else:
                act = {
                    "kill": self.die,
                    "io-error": self.fail,
                    "pulled-out": self.pull_out,
                    "power-cut": self.cut_power,
                }[fault]
                at_changes_of(self.device, self.nth(at, act, ever_after=fault == "io-error"))
            self.work(once=False)

        code = self.in_a_child(work, number)
        expected = -signal.SIGKILL if fault in {"kill", "power-cut"} else 0
        if code != expected:
            self.failures.append(f"round {number}, {fault}: the child ended with {code}")
        if fault == "full":
            ballast.unlink()
        elif fault == "pulled-out":
            if any(self.disk.iterdir()):
                self.failures.append(f"round {number}: something was written where the disk was")
            self.system("mount", self.loop_device(), self.disk)
        elif fault == "power-cut":
            # What had reached the medium at that moment is all there is when the power comes back.
            self.system("umount", self.disk)
            self.system("cp", "--sparse=always", self.folder / "cut.img", self.image)
            self.system("losetup", "-c", device := self.loop_device())
            self.system("blockdev", "--flushbufs", device)
            self.system("mount", device, self.disk)

    @staticmethod
    def nth(number: int, act: Callable[[], None], *, ever_after: bool = False) -> Callable[[], None]:
        """Return what acts at the nth call, and from then on if wanted."""
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == number or (ever_after and count > number):
                act()

        return step

    @staticmethod
    def die() -> None:
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def fail() -> None:
        """Be refused by the medium."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def pull_out(self) -> None:
        """Take the disk away while files on it are open."""
        self.system("umount", "-l", self.disk)

    def cut_power(self) -> None:
        """Keep what is on the medium at this moment, and die."""
        self.system("cp", "--sparse=always", self.image, self.folder / "cut.img")
        self.die()

    def fill(self, ballast: Path, left: int) -> None:
        """Fill the disk but for a few bytes."""
        with ballast.open("wb") as file:
            size = 0
            for step in (1 << 20, 1 << 14, 1 << 12):
                with contextlib.suppress(OSError):
                    while files.free_bytes(self.disk) - step > left:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step

    def loop_device(self) -> str:
        """Return the device that stands for the image."""
        done = self.system("losetup", "-n", "-O", "NAME", "-j", self.image)
        return done.split()[0]

    @staticmethod
    def system(*command: object) -> str:
        """Run a program of the system."""
        words = [str(word) for word in command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    # --- what is left ---

    def check(self, what: str, *, deep: bool = True, finished: bool = False) -> None:
        """Verify what is there, and restore it if the look is to be deep."""
        repository = open_repository(self.disk)
        report = verify(repository, trusted=[self.station.public], memory=self.data / "backups")
        self.failures += [f"{what}: {problem}" for problem in report.problems]
        if finished:
            # A pack that was sent and not used would have been sent twice.
            self.failures += [f"{what}: {note}" for note in report.notes]
        if not report.snapshots or not deep:
            return
        shutil.rmtree(self.elsewhere, ignore_errors=True)
        restored = restore_station(
            repository,
            self.elsewhere,
            identities=[self.identity],
            open_outbox=open_outbox,
            memory=self.elsewhere / "backups",
        )
        self.failures += [f"{what}: {line}" for line in restored.problems]
        here, there = spooled(self.data), spooled(self.elsewhere)
        if any(here[packet_id] != digest for packet_id, digest in there.items()):
            self.failures.append(f"{what}: a restored packet differs")
        if self.safe - there.keys():
            self.failures.append(f"{what}: packets that were restored before are lost")
        self.safe |= there.keys()
        with open_outbox(self.data) as outbox:
            recorded = {packet.packet_id for packet in outbox.packets()}
        if finished and (recorded - there.keys() or restored.missing):
            self.failures.append(f"{what}: {len(recorded)} packets recorded, {len(there)} restored")

    def finish(self, what: str, *, deep: bool) -> None:
        """Back up and prune undisturbed: everything must be there then, and nothing besides."""
        if code := self.in_a_child(lambda: self.work(once=True), 0):
            self.failures.append(f"{what}: the undisturbed run ended with {code}")
        self.check(what, deep=deep, finished=True)


def main(folder: Path, kind: str, rounds: int, seed: int, mounted: list[Path]) -> None:
    """Play the rounds and print what went wrong."""
    disk, image = mounted or (folder / "disk", None)
    play = Rounds(folder, seed, disk, image)
    kinds: dict[str, int] = {}
    for number in range(1, rounds + 1):
        what = f"round {number}"
        fault = FAULTS[number % len(FAULTS)] if kind == "disk" else kind
        if kind == "step":
            if not play.killed_at(number):
                break
        elif kind == "kill":
            # However slow the machine is, most children get to work before they die.
            play.killed_after(play.random.uniform(0.0, 0.12), while_opening=number % 5 == 0)
        else:
            play.interrupted(number, fault)
        kinds[fault] = kinds.get(fault, 0) + 1
        deep = kind == "step" or number % DEEP_EVERY == 0
        if number % DEEP_EVERY == 0:
            play.finish(f"{what}, {fault}, then finished", deep=deep)
        else:
            play.check(f"{what}, {fault}", deep=deep)
    play.finish("at the end", deep=True)
    told = {"rounds": kinds, "packets": len(spooled(play.data)), "failures": play.failures}
    print(json.dumps(told))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), [Path(p) for p in sys.argv[5:7]])
