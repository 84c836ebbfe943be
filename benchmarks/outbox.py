"""What the outbox costs, each figure beside its floor or its peers from the same run.

    python benchmarks/outbox.py [--folder DIR] [--rows 1000000] [--packets 5000]

Peers (``pip install persist-queue huey``) are left out where they are not installed. Only ratios of one run on
one machine mean anything; run it when the machine has nothing else to do.
"""

# ruff: noqa: SLF001 - the rows alone are compared with peers that keep no files, and their own settings are set
from __future__ import annotations

import argparse
import hashlib
import http.server
import os
import resource
import shutil
import socketserver
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from ktpsync.courier import Courier, CourierPolicy
from ktpsync.errors import UnavailableError
from ktpsync.files import fsync_folder
from ktpsync.outbox import Delivered, DestinationSpec, Outbox, Submission
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import Backend, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 100


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


def open_outbox(folder: Path) -> Outbox:
    """Open an outbox with one destination."""
    return Outbox.open(folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")])


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
    """Durable submits of 300 kB, taken in turns with the floor."""
    floor = Floor(folder / "floor")
    ours: list[float] = []
    bare: list[float] = []
    with open_outbox(folder / "submit") as outbox:
        for number in range(count + 300):
            item = submission(300_000)

            def submit(item: Submission = item) -> None:
                outbox.submit(item.sealed, packet_id=item.packet_id, sha256=item.sha256)

            pair = (timed(lambda item=item: floor.submit(item)), timed(submit))  # type: ignore[misc]
            if number >= 300:  # the 256 folders of the spool are made by then
                bare.append(pair[0])
                ours.append(pair[1])
        digest = statistics.median(timed(lambda: hashlib.sha256(item.sealed).digest()) for _ in range(50))
        batches = [[submission(300_000) for _ in range(BATCH)] for _ in range(3)]
        batch = statistics.median(timed(lambda one=one: outbox.submit_many(one)) for one in batches)  # type: ignore[misc]
    floor_us = statistics.median(bare) * 1e6
    row("submit 300 kB: floor (file + one commit)", floor_us, "us")
    row("submit 300 kB", statistics.median(ours) * 1e6, "us", floor_us, "goal 1.3x")
    row("  of which the digest is verified", digest * 1e6, "us")
    row(f"submit_many 300 kB, batches of {BATCH}, per packet", batch / BATCH * 1e6, "us", floor_us)


def life_of_ours(folder: Path, count: int) -> float:
    """Put, claim, settle in the couriers' batches; the rows only, as the peers."""
    with open_outbox(folder) as outbox:
        items = [submission(200) for _ in range(count)]
        # The peers store no files; the rows are put in as submit_many does after its files are durable.
        intake = outbox._intake

        def live() -> None:
            for start in range(0, count, BATCH):
                intake._record(items[start : start + BATCH], outbox._now(), None)
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
    """One packet's life in the store against job queues; the middle of three runs each, in turns."""
    names = {
        "life of a packet: put, claim, settle": life_of_ours,
        "  persist-queue SQLiteAckQueue": life_of_persist_queue,
        "  huey SqliteHuey (loses tasks in a crash)": life_of_huey,
    }
    found: dict[str, list[float]] = {}
    for turn in range(3):
        for number, (name, life) in enumerate(names.items()):
            place = folder / f"life-{turn}-{number}"
            place.mkdir(parents=True)
            seconds = life(place, count)
            if seconds is not None:
                found.setdefault(name, []).append(seconds * 1e6)
    ours = statistics.median(found["life of a packet: put, claim, settle"])
    for name, values in found.items():
        row(name, statistics.median(values), "us", ours, "goal: peers at least 2x" if values else "")


def bench_single(folder: Path, count: int) -> None:
    """Single operations, one commit each, against raw sqlite3."""
    floor = Floor(folder / "single-floor")
    items = [submission(200) for _ in range(count)]
    raw_put = [timed(lambda one=one: floor.insert(one)) for one in items]  # type: ignore[misc]

    def raw_claim() -> None:
        floor.database.execute("BEGIN IMMEDIATE")
        floor.database.execute(
            "UPDATE packet SET state = 'leased' WHERE id = (SELECT id FROM packet WHERE state = 'open' LIMIT 1) "
            "RETURNING id"
        ).fetchall()
        floor.database.execute("COMMIT")

    def raw_settle(packet_id: str) -> None:
        floor.database.execute("BEGIN IMMEDIATE")
        floor.database.execute("UPDATE packet SET state = 'done', note = 'r' WHERE id = ?", (packet_id,))
        floor.database.execute("COMMIT")

    floor.database.execute("CREATE INDEX due ON packet (id) WHERE state = 'open'")
    raw_claims = [timed(raw_claim) for _ in items]
    raw_settles = [timed(lambda one=one: raw_settle(one.packet_id)) for one in items]  # type: ignore[misc]
    with open_outbox(folder / "single") as outbox:
        put = [timed(lambda one=one: outbox._intake._record([one], outbox._now(), None)) for one in items]  # type: ignore[misc]
        leases = []
        claim = [timed(lambda: leases.extend(outbox.claim("central", 1, 60))) for _ in items]
        settle = [timed(lambda one=one: outbox.settle(one, receipt(one.packet))) for one in leases]  # type: ignore[misc]
    for name, ours, raw in (
        ("put", put, raw_put),
        ("claim", claim, raw_claims),
        ("settle", settle, raw_settles),
    ):
        base = statistics.median(raw) * 1e6
        row(f"single {name}: raw sqlite3", base, "us")
        row(f"single {name}", statistics.median(ours) * 1e6, "us", base, "goal 2x")


def fill(outbox: Outbox, rows: int) -> None:
    """Put rows into the store without their files."""
    data = os.urandom(100)
    sha256 = hashlib.sha256(data).hexdigest()
    for start in range(0, rows, 5000):
        outbox._intake._record(
            [
                Submission(sealed=data, packet_id=new_packet_id(), sha256=sha256)
                for _ in range(min(5000, rows - start))
            ],
            outbox._now(),
            None,
        )


def bench_claim(folder: Path, rows: int) -> None:
    """Claim latency with a small and a huge stock."""
    found = []
    for stock in (1000, rows):
        with open_outbox(folder / f"claim-{stock}") as outbox:
            fill(outbox, stock)
            found.append(statistics.median(timed(lambda: outbox.claim("central", 8, 60)) for _ in range(60)))
    row("claim of 8 with 1,000 packets", found[0] * 1e6, "us")
    row(f"claim of 8 with {rows:,} packets", found[1] * 1e6, "us", found[0] * 1e6, "goal 1.5x")


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes a PUT and answers 201 with a short body."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment per answer: two would wait for each other for 40 ms

    def do_PUT(self) -> None:
        """Read all, answer."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SinkServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One thread per connection."""

    daemon_threads = True
    request_queue_size = 128


class Uploads(Backend):
    """A bare urllib3 upload as a backend."""

    def __init__(self, url: str, threads: int) -> None:
        self.url = url
        self.pool = urllib3.PoolManager(maxsize=threads, retries=False)

    def put(self, name: str, body: bytes) -> None:
        """Send one body."""
        answer = self.pool.request("PUT", f"{self.url}/{name}", body=body)
        if answer.status != 201:
            raise UnavailableError(str(answer.status))

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Send one packet."""
        with packet.open() as file:
            self.put(packet.packet_id, file.read())
        return receipt(packet)

    def check(self) -> Health:
        """Always there."""
        return Health(summary="there")


def bench_drain(folder: Path, packets: int, size: int) -> None:
    """Drain over loopback HTTP against a bare loop of the same uploads from the same files."""
    # The server in a process of its own: it must not share our interpreter's lock.
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    threads = 8
    try:
        with open_outbox(folder / "drain") as outbox:
            for start in range(0, packets, BATCH):
                outbox.submit_many([submission(size) for _ in range(min(BATCH, packets - start))])
            paths = [outbox.spool.path(view.packet_id) for view in outbox.packets()]
            backend = Uploads(url, threads)

            def bare() -> None:
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda path: backend.put(path.name, path.read_bytes()), paths))

            courier = Courier(outbox, "central", backend, policy=CourierPolicy(concurrency=threads))
            first = timed(bare)
            ours = timed(courier.drain)
            loop = statistics.mean([first, timed(bare)])
    finally:
        server.kill()
        server.wait()
    row(f"bare urllib3 loop, {packets:,} x {size // 1000} kB, 8 threads", packets / loop, "/s")
    row("drain", packets / ours, "/s", packets / loop, "goal 0.90x")


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
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Run all, or the part that a child process is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; the disk under it is measured")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--packets", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        server = SinkServer(("127.0.0.1", 0), Sink)
        print(server.server_address[1], flush=True)
        server.serve_forever()
        return
    if options.memory:
        put_and_settle(options.folder, options.memory)
        return
    folder = Path(tempfile.mkdtemp(prefix="ktpsync-bench-", dir=options.folder))
    try:
        bench_submit(folder, 300)
        bench_life(folder, 2000)
        bench_single(folder, 500)
        bench_claim(folder, options.rows)
        bench_drain(folder, options.packets, options.size)
        bench_memory(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
