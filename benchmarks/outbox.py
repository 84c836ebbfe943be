"""What the outbox costs, each figure beside its floor or its peers from the same run.

    python benchmarks/outbox.py [--folder DIR] [--rows 1000000]

Peers (``pip install persist-queue huey``) are left out where they are not installed. Only ratios of one run on
one machine mean anything; run it when the machine has nothing else to do. Draining has ``benchmarks/drain.py``.
"""

# ruff: noqa: SLF001 - the rows alone are compared with peers that keep no files, and their own settings are set
from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ktpsync import age
from ktpsync.files import fsync_folder
from ktpsync.outbox import (
    Delivered,
    DestinationSpec,
    Outbox,
    Submission,
    _audit,
    _deliveries,
    _destinations,
    _intake,
)
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

BATCH = 100
RECEIPT = "r" * 205
"""As long as a receipt is."""


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(what: str, value: float, unit: str, floor: float | None = None, goal: str = "") -> None:
    """Print one line of the table."""
    ratio = "" if floor is None else f"{value / floor:7.2f}x"
    print(f"{what:<58} {value:10.1f} {unit:<6} {ratio:>8}  {goal}")


def submission(size: int) -> Submission:
    """Return new random bytes under a new id."""
    data = os.urandom(size)
    return Submission(sealed=data, packet_id=new_packet_id(), sha256=hashlib.sha256(data).hexdigest())


def open_outbox(folder: Path, *names: str) -> Outbox:
    """Open an outbox with one destination, or several."""
    destinations = [DestinationSpec(name=name) for name in names or ["central"]]
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=destinations)


def put(outbox: Outbox, items: list[Submission]) -> None:
    """Put rows in, as a submission does after its files are durable. The peers store no files, so here are none."""
    spool = outbox.spool
    spool.lacking = lambda _: []  # type: ignore[method-assign]
    spool.keep = lambda _: None  # type: ignore[method-assign]
    outbox._intake._record(items, outbox._now(), None)


def receipt(packet: SealedPacket) -> Receipt:
    """Return the receipt of an honest destination."""
    return Receipt(
        packet_id=packet.packet_id, sha256=packet.sha256, size=packet.size, stored_at=datetime.now(UTC)
    )


class Floor:
    """The least that durability costs: a file written, synced, renamed, its folder synced, one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(256):
            (folder / f"{number:02x}").mkdir(parents=True)
        self.database = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE packet (id TEXT PRIMARY KEY, sha256 TEXT, size INT, state TEXT, note TEXT)"
        )

    def submit(self, item: Submission) -> None:
        """Store one packet."""
        folder = self.folder / item.packet_id[-2:]
        temporary = folder / f"{item.packet_id}.part"
        with temporary.open("wb") as file:
            file.write(item.sealed)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / item.packet_id)
        fsync_folder(folder)
        self.insert(item)

    def insert(self, item: Submission) -> None:
        """Commit one row of about 500 bytes."""
        self.database.execute("BEGIN IMMEDIATE")
        self.database.execute(
            "INSERT INTO packet VALUES (?, ?, ?, 'open', ?)",
            (item.packet_id, item.sha256, len(item.sealed), "x" * 350),
        )
        self.database.execute("COMMIT")


def bench_submit(folder: Path, count: int) -> None:
    """Durable submits of 300 kB, taken in turns with the floor, and what sealing costs beside them."""
    floor = Floor(folder / "floor")
    recipient = age.generate_identity().recipient
    ours: list[float] = []
    bare: list[float] = []
    seals: list[float] = []
    with open_outbox(folder / "submit") as outbox:
        for number in range(count + 300):
            item = submission(300_000)

            def submit(item: Submission = item) -> None:
                outbox.submit(item.sealed, packet_id=item.packet_id, sha256=item.sha256)

            pair = (timed(lambda item=item: floor.submit(item)), timed(submit))  # type: ignore[misc]
            if number >= 300:  # the 256 folders of the spool are made by then
                bare.append(pair[0])
                ours.append(pair[1])
                seals.append(timed(lambda item=item: age.encrypt(item.sealed, [recipient])))  # type: ignore[misc]
        digest = statistics.median(timed(lambda: hashlib.sha256(item.sealed).digest()) for _ in range(50))
        batches = [[submission(300_000) for _ in range(BATCH)] for _ in range(3)]
        batch = statistics.median(timed(lambda one=one: outbox.submit_many(one)) for one in batches)  # type: ignore[misc]
    floor_us, ours_us, seal_us = (statistics.median(values) * 1e6 for values in (bare, ours, seals))
    row("submit 300 kB: floor (file + one commit)", floor_us, "us")
    row("submit 300 kB", ours_us, "us", floor_us)
    row("  of which the digest is verified", digest * 1e6, "us")
    row("sealing 300 kB to a hybrid recipient", seal_us, "us")
    row(
        "seal and submit, against floor and sealing", ours_us + seal_us, "us", floor_us + seal_us, "goal 1.3x"
    )
    row(f"submit_many 300 kB, batches of {BATCH}, per packet", batch / BATCH * 1e6, "us", floor_us)


def life_of_ours(folder: Path, count: int) -> float:
    """Put, claim, settle in the couriers' batches; the rows only, as the peers."""
    with open_outbox(folder) as outbox:
        items = [submission(200) for _ in range(count)]

        def live() -> None:
            for start in range(0, count, BATCH):
                put(outbox, items[start : start + BATCH])
            while leases := outbox.claim("central", BATCH, 60):
                outbox.apply("central", [Delivered(lease=one, receipt=receipt(one.packet)) for one in leases])

        return timed(live) / count


def life_of_persist_queue(folder: Path, count: int) -> float | None:
    """persist-queue's queue with acknowledgements, at synchronous=FULL."""
    try:
        from persistqueue import SQLiteAckQueue  # noqa: PLC0415 - a peer that may not be installed
    except ImportError:
        return None
    queue = SQLiteAckQueue(str(folder), auto_commit=True, multithreading=True)
    for connection in (queue._conn, queue._getter, queue._putter):
        connection.execute("PRAGMA synchronous = FULL")
    data = [os.urandom(200) for _ in range(count)]

    def live() -> None:
        for item in data:
            queue.put(item)
        for _ in range(count):
            queue.ack(queue.get())

    seconds = timed(live) / count
    queue.close()
    return seconds


def life_of_huey(folder: Path, count: int) -> float | None:
    """Huey's SQLite storage at synchronous=FULL; its dequeue deletes, so a crash loses the task."""
    try:
        from huey.storage import SqliteStorage  # noqa: PLC0415 - a peer that may not be installed
    except ImportError:
        return None
    storage = SqliteStorage("bench", filename=str(folder / "huey.db"), fsync=True)
    data = [os.urandom(200) for _ in range(count)]

    def live() -> None:
        for item in data:
            storage.enqueue(item)
        for _ in range(count):
            storage.dequeue()

    seconds = timed(live) / count
    storage.close()
    return seconds


def bench_life(folder: Path, count: int) -> None:
    """One packet's life in the store against job queues; the middle of five runs each, in turns."""
    names = {
        "life of a packet: put, claim, settle": life_of_ours,
        "  persist-queue SQLiteAckQueue": life_of_persist_queue,
        "  huey SqliteHuey (loses tasks in a crash)": life_of_huey,
    }
    found: dict[str, list[float]] = {}
    for turn in range(5):
        for number, (name, life) in enumerate(names.items()):
            place = folder / f"life-{turn}-{number}"
            place.mkdir(parents=True)
            seconds = life(place, count)
            if seconds is not None:
                found.setdefault(name, []).append(seconds * 1e6)
    ours = statistics.median(found["life of a packet: put, claim, settle"])
    for name, values in found.items():
        row(name, statistics.median(values), "us", ours, "goal: peers at least 2x" if values else "")


class SameRows:
    """The outbox's own statements, with values of the same sizes, written straight to sqlite3 on the same schema.

    What is over this floor is Python; what this floor is over the one of a single table are rows and indexes: a
    delivery beside the packet, the destination's count, an entry of the audit trail and the end of its chain.
    """

    def __init__(self, folder: Path) -> None:
        with open_outbox(folder) as outbox:
            statements = {
                "packet": _intake._INSERT,
                "delivery": _intake._DELIVERIES,
                "claim": _deliveries._CLAIM,
                "delivered": _deliveries._DELIVERED,
                "count": _destinations._ALL_WELL,
                "next": _audit._NEXT,
                "entry": _audit._INSERT,
            }
            self.sql = {name: outbox._database._driver_text(text) for name, text in statements.items()}
            self.row = outbox._intake._row
        self.database = sqlite3.connect(folder / "outbox.db", isolation_level=None)
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute("PRAGMA foreign_keys = ON")

    def run(self, name: str, values: dict[str, Any]) -> list[Any]:
        """Run one statement."""
        return self.database.execute(self.sql[name], values).fetchall()

    def tell(self, event: str, packet_id: str) -> None:
        """Append an entry to the trail."""
        ((seq, _, _),) = self.run("next", {"count": 1})
        entry = {"seq": seq, "at_ms": 1, "event": event, "packet_id": packet_id, "destination": "central"}
        self.run("entry", {**entry, "who": "", "detail": "x" * 120, "hash": "0" * 64})

    def put(self, item: Submission) -> None:
        """Commit what a put writes."""
        self.database.execute("BEGIN IMMEDIATE")
        row = {**self.row(item, 1), "now": 1}
        self.run("packet", row)
        self.run("delivery", row)
        self.tell("submitted", item.packet_id)
        self.database.execute("COMMIT")

    def claim(self) -> tuple[Any, ...]:
        """Commit what a claim writes; return the row."""
        values = {"dest": "central", "count": 1, "lease": 60_000, "owner": "0" * 16}
        self.database.execute("BEGIN IMMEDIATE")
        ((*row,),) = self.run("claim", {**values, "now": time.time_ns() // 1_000_000})
        self.database.execute("COMMIT")
        return tuple(row)

    def settle(self, claimed: tuple[Any, ...]) -> None:
        """Commit what a settle writes."""
        number, packet_id, fence = claimed[:3]
        self.database.execute("BEGIN IMMEDIATE")
        self.run("delivered", {"id": number, "fence": fence, "receipt": RECEIPT, "now": 1})
        self.run("count", {"dest": "central", "delivered": 1})
        self.tell("delivered", packet_id)
        self.database.execute("COMMIT")


def bench_single(folder: Path, count: int) -> None:
    """Single operations, one commit each, in turns with raw sqlite3: one table, and the same rows as ours."""
    floor = Floor(folder / "single-floor")
    floor.database.execute("CREATE INDEX due ON packet (id) WHERE state = 'open'")
    same = SameRows(folder / "single-same")

    def raw_claim() -> str:
        floor.database.execute("BEGIN IMMEDIATE")
        ((packet_id,),) = floor.database.execute(
            "UPDATE packet SET state = 'leased' WHERE id = (SELECT id FROM packet WHERE state = 'open' LIMIT 1) "
            "RETURNING id"
        ).fetchall()
        floor.database.execute("COMMIT")
        return str(packet_id)

    def raw_settle(packet_id: str) -> None:
        floor.database.execute("BEGIN IMMEDIATE")
        floor.database.execute(
            "UPDATE packet SET state = 'done', note = ? WHERE id = ?", (RECEIPT, packet_id)
        )
        floor.database.execute("COMMIT")

    found: dict[str, list[float]] = {}

    def timing(name: str, run: Callable[[], T]) -> T:
        start, cpu = time.perf_counter(), time.thread_time()
        answer = run()
        found.setdefault(name, []).append(time.perf_counter() - start)
        found.setdefault(f"{name} cpu", []).append(time.thread_time() - cpu)
        return answer

    with open_outbox(folder / "single") as outbox:
        for _ in range(count):
            item = submission(200)
            timing("put raw", lambda item=item: floor.insert(item))  # type: ignore[misc]
            timing("put same", lambda item=item: same.put(item))  # type: ignore[misc]
            timing("put", lambda item=item: put(outbox, [item]))  # type: ignore[misc]
            packet_id = timing("claim raw", raw_claim)
            claimed = timing("claim same", same.claim)
            (lease,) = timing("claim", lambda: outbox.claim("central", 1, 60))
            proof = receipt(lease.packet)
            timing("settle raw", lambda packet_id=packet_id: raw_settle(packet_id))  # type: ignore[misc]
            timing("settle same", lambda claimed=claimed: same.settle(claimed))  # type: ignore[misc]
            timing("settle", lambda lease=lease, proof=proof: outbox.settle(lease, proof))  # type: ignore[misc]
    middle = {name: statistics.median(times) * 1e6 for name, times in found.items()}
    for name in ("put", "claim", "settle"):
        base = middle[f"{name} raw"]
        row(f"single {name}: raw sqlite3, one table", base, "us")
        row(f"single {name}: raw sqlite3, the same rows", middle[f"{name} same"], "us", base)
        row(f"single {name}", middle[name], "us", base, "goal 2x")
        cpus = (middle[f"{name} raw cpu"], middle[f"{name} same cpu"], middle[f"{name} cpu"])
        print(f"  CPU of the three: {', '.join(f'{cpu:.1f}' for cpu in cpus)} us")


def fill(outbox: Outbox, rows: int) -> None:
    """Put rows into the store without their files."""
    data = os.urandom(100)
    sha256 = hashlib.sha256(data).hexdigest()
    for start in range(0, rows, 5000):
        count = min(5000, rows - start)
        put(outbox, [Submission(sealed=data, packet_id=new_packet_id(), sha256=sha256) for _ in range(count)])


def bench_claim(folder: Path, rows: int) -> None:
    """Claim latency with a small and a huge stock."""
    found = []
    for stock in (1000, rows):
        with open_outbox(folder / f"claim-{stock}") as outbox:
            fill(outbox, stock)
            found.append(statistics.median(timed(lambda: outbox.claim("central", 8, 60)) for _ in range(60)))
    row("claim of 8 with 1,000 packets", found[0] * 1e6, "us")
    row(f"claim of 8 with {rows:,} packets", found[1] * 1e6, "us", found[0] * 1e6, "goal 1.5x")


def bench_stock(folder: Path, rows: int) -> None:
    """What an office asks for again and again, with a small and a large stock for two destinations."""
    found: dict[str, list[float]] = {}
    for stock in (1000, rows):
        with open_outbox(folder / f"stock-{stock}", "central", "usb") as outbox:
            fill(outbox, stock)
            last = max(view.packet_id for view in outbox.packets())
            questions: dict[str, Callable[[], object]] = {
                "put": lambda: put(outbox, [submission(200)]),
                "status of a packet": lambda last=last: outbox.status(last),  # type: ignore[misc]
                "summary": outbox.summary,
                "room and forecast": outbox.storage,
                "registration statuses": outbox.registration_statuses,
                "purge, nothing to do": lambda: outbox.purge(
                    timedelta(days=30), who="bench", prove=lambda _: True
                ),
            }
            for name, question in questions.items():
                found.setdefault(name, []).append(statistics.median(timed(question) for _ in range(9)))
    for name, (small, large) in found.items():
        row(f"{name}, 1,000 packets", small * 1e6, "us")
        row(f"{name}, {rows:,} packets", large * 1e6, "us", small * 1e6)


def bench_memory(folder: Path) -> None:
    """Peak memory of a process that drains a stock, by its size."""
    found = []
    for stock in (1000, 100_000):
        output = subprocess.run(
            [sys.executable, __file__, "--memory", str(stock), "--folder", str(folder / f"memory-{stock}")],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found.append(int(output) / 1024)
    row("peak memory, 1,000 packets put and settled", found[0], "MiB")
    row("peak memory, 100,000 packets put and settled", found[1], "MiB", found[0], "goal: flat")


def put_and_settle(folder: Path, stock: int) -> None:
    """Put a stock, claim and settle it, walk over all, and print the peak memory in KiB."""
    with open_outbox(folder) as outbox:
        fill(outbox, stock)
        while leases := outbox.claim("central", BATCH, 60):
            outbox.apply("central", [Delivered(lease=one, receipt=receipt(one.packet)) for one in leases])
        for _ in outbox.packets():
            pass
        for _ in outbox.export():
            pass
    # Not getrusage: its peak is handed down from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    """Run all, or the part that a child process is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; the disk under it is measured")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stock", type=int, default=300_000)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        put_and_settle(options.folder, options.memory)
        return
    folder = Path(tempfile.mkdtemp(prefix="ktpsync-bench-", dir=options.folder))
    try:
        bench_submit(folder, 300)
        bench_life(folder, 2000)
        bench_single(folder, 500)
        bench_claim(folder, options.rows)
        bench_stock(folder, options.stock)
        bench_memory(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
