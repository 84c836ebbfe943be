"""The processes of the crash test: each submits or delivers until somebody kills it. Not a test itself.

Usage: outbox_worker.py DATABASE FOLDER. Reads lines ``submit SEED`` or ``deliver SEED``, forks a process
for each and answers with its number: forking after the imports leaves more of a short life to be killed in.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ktpsync.courier import Courier, CourierPolicy
from ktpsync.errors import ConflictError
from ktpsync.outbox import DestinationSpec, Outbox, Submission
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import Backend, Health, Receipt


class FolderCentre(Backend):
    """A centre that other processes share and that outlives them: one file per packet, appearing whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Store the packet once; a second delivery gives the receipt of the first."""
        path = self.folder / packet.packet_id
        with packet.open() as file:
            data = file.read()
        handle, name = tempfile.mkstemp(dir=self.folder.parent / "arriving")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        try:
            os.link(name, path)
        except FileExistsError:
            if path.read_bytes() != data:
                raise ConflictError(packet.packet_id) from None
        Path(name).unlink()
        held = path.read_bytes()
        return Receipt.of(
            packet,
            sha256=hashlib.sha256(held).hexdigest(),
            stored_at=datetime.fromtimestamp(path.stat().st_mtime, tz=UTC),
        )

    def check(self) -> Health:
        """Always there."""
        return Health(summary="there")


def submit(outbox: Outbox, folder: Path, chance: random.Random) -> None:
    """Submit single packets and batches for ever; note each before, and again once it is acknowledged."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    attempted = os.open(folder / "attempted", flags)
    acknowledged = os.open(folder / "acknowledged", flags)
    while True:
        batch = []
        for _ in range(chance.choice([1, 1, 1, 5])):
            data = chance.randbytes(chance.randrange(1, 20_000))
            batch.append(
                Submission(sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest())
            )
        note = "".join(f"{item.packet_id} {item.sha256}\n" for item in batch).encode()
        os.write(attempted, note)
        if len(batch) == 1:
            outbox.submit(batch[0].sealed, packet_id=batch[0].packet_id, sha256=batch[0].sha256)
        else:
            outbox.submit_many(batch)
        os.write(acknowledged, note)


def deliver(outbox: Outbox, folder: Path) -> None:
    """Drain for ever."""
    courier = Courier(
        outbox, "central", FolderCentre(folder / "centre"), policy=CourierPolicy(concurrency=3, lease=0.5)
    )
    while True:
        courier.drain()


def work(role: str, database: str, folder: Path, seed: str) -> None:
    """Run until killed."""
    address = database if "://" in database else Path(database)
    outbox = Outbox.open(address, folder / "spool", destinations=[DestinationSpec(name="central")])
    if role == "submit":
        submit(outbox, folder, random.Random(seed))
    else:
        deliver(outbox, folder)


def main() -> None:
    """Fork a process for each line of standard input."""
    database, folder = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        role, seed = line.split()
        child = os.fork()
        if child == 0:
            try:
                work(role, database, folder, seed)
            finally:
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
