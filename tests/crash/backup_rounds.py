"""Run by test_backup_kill.py: backups that are killed, and what is left of them.

A process of its own without threads, so that it can fork: each round's station is a child that records,
backs up and prunes until SIGKILL ends it. Prints one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ktpsync import age, files
from ktpsync.backup import Repository, Retention, backup, prune, restore_station, verify
from ktpsync.errors import NotFoundError
from ktpsync.keys import StationKey
from ktpsync.outbox import DestinationSpec, Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Health, ObjectInfo, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FolderStorage(StorageBackend):
    """Objects as files; says before and after each change that it is about to be made, or was made."""

    def __init__(self, folder: Path, step: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._step = step

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """Store an object."""
        self._step()
        data = source.read()
        assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())
        path = self._folder / key
        files.make_folder(path.parent)
        if path.exists():
            assert data == path.read_bytes()
        else:
            files.write_atomic(path, data, replace=False)
        self._step()
        return self.stat(key)

    def open(self, key: str) -> BinaryIO:
        """Open an object."""
        try:
            return (self._folder / key).open("rb")
        except FileNotFoundError:
            raise NotFoundError(key) from None

    def stat(self, key: str) -> ObjectInfo:
        """Look at an object."""
        try:
            found = (self._folder / key).stat()
        except FileNotFoundError:
            raise NotFoundError(key) from None
        return ObjectInfo(key=key, size=found.st_size, modified=datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects."""
        for path in self._folder.rglob("*"):
            key = path.relative_to(self._folder).as_posix()
            if path.is_file() and key.startswith(prefix) and not key.endswith(files.TEMPORARY_SUFFIX):
                yield self.stat(key)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._step()
        (self._folder / key).unlink(missing_ok=True)
        self._step()

    def check(self) -> Health:
        """Say that all is well."""
        return Health(summary="A folder.")


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox of a data directory."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


def spooled(folder: Path) -> dict[str, str]:
    """Return the digests of all sealed packets of a data directory."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "spool").glob("*/*.age")
    }


class Rounds:
    """A station and its repository, through many crashes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.data = folder / "data"
        self.disk = folder / "disk"
        self.elsewhere = folder / "elsewhere"
        self.data.mkdir()
        self.disk.mkdir()
        self.random = random.Random(seed)
        self.station = StationKey.generate()
        self.identity = age.generate_identity("x25519")
        Repository.create(FolderStorage(self.disk), recipients=[str(self.identity.recipient)])
        self.failures: list[str] = []
        self.safe: set[str] = set()

    def work(self, *, step: Callable[[], None], once: bool, begun: Callable[[], None] = lambda: None) -> None:
        """Record, back up and prune: what the child does."""
        repository = Repository.open(FolderStorage(self.disk, step))
        common = {"station": self.station, "memory": self.data / "backups"}
        with open_outbox(self.data) as outbox:
            begun()
            while True:
                for size in self.random.choices(range(500, 9_000), k=self.random.randrange(1, 5)):
                    sealed = self.random.randbytes(size)
                    digest = hashlib.sha256(sealed).hexdigest()
                    outbox.submit(sealed, packet_id=new_packet_id(), sha256=digest)
                full = self.random.random() < 0.3
                backup(outbox, repository, full=full, pack_size=8_000, snapshot_size=30_000, **common)
                if once or self.random.random() < 0.3:
                    retention = Retention(last=2, daily=0, weekly=0, monthly=0)
                    prune(outbox, repository, retention=retention, pack_size=8_000, **common)
                if once:
                    return

    def last(
        self, *, step: Callable[[], None], once: bool, begun: Callable[[], None] = lambda: None
    ) -> NoReturn:
        """Work, and end this process whatever happens."""
        try:
            self.work(step=step, once=once, begun=begun)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def killed_after(self, seconds: float, *, while_opening: bool) -> None:
        """Kill the child some time after it was started, or after it had opened the outbox."""
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            self.random.seed(seconds)
            self.last(step=lambda: None, once=False, begun=lambda: os.write(told, b"."))
        os.close(told)
        if not while_opening:
            os.read(ready, 1)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)

    def killed_at(self, number: int) -> bool:
        """Let the child kill itself at one of its steps; return whether it got there."""
        child = os.fork()
        if child == 0:
            steps = 0

            def step() -> None:
                nonlocal steps
                steps += 1
                if steps == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            self.random.seed(number)
            self.last(step=step, once=True)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    def check(self, what: str, *, deep: bool = True, complete: bool = False) -> None:
        """Verify what is there, and restore it if the look is to be deep."""
        repository = Repository.open(FolderStorage(self.disk))
        report = verify(repository, trusted=[self.station.public], memory=self.data / "backups")
        self.failures += [f"{what}: {problem}" for problem in report.problems]
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
        if complete and (recorded - there.keys() or restored.missing):
            self.failures.append(f"{what}: {len(recorded)} packets recorded, {len(there)} restored")

    def finish(self) -> None:
        """Back up undisturbed: everything must be there then."""
        with open_outbox(self.data) as outbox:
            backup(
                outbox,
                Repository.open(FolderStorage(self.disk)),
                station=self.station,
                memory=self.data / "backups",
            )
        self.check("at the end", complete=True)


def main(folder: Path, kind: str, rounds: int, seed: int) -> None:
    """Play the rounds and print what went wrong."""
    play = Rounds(folder, seed)
    kills = 0
    for number in range(1, rounds + 1):
        if kind == "time":
            # However slow the machine is, most children get to work before they die.
            play.killed_after(play.random.uniform(0.0, 0.12), while_opening=number % 5 == 0)
        elif not play.killed_at(number):
            break
        kills += 1
        play.check(f"round {number}", deep=kind == "step" or number % 10 == 0)
    play.finish()
    print(json.dumps({"kills": kills, "packets": len(spooled(play.data)), "failures": play.failures}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
