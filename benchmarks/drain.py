"""What a courier costs beside a bare urllib3 loop over the same uploads, taken in turns.

    python benchmarks/drain.py [--folder DIR] [--packets 5000] [--rounds 3] [--size 300000] [--threads 8] [--profile]

The server is a process of its own on loopback that reads each body and answers with a receipt. Each round stores
packets durably, sends all of them with the bare loop, then drains them twice: through the HTTP backend, and through a
backend that does no more than the bare loop, which shows the courier alone. At the end the bare loop sends them again:
the floor of a round is the mean of the two, so that a machine that grows slower or faster meanwhile favours nobody.
Only ratios of one run mean anything; run it when the machine has nothing else to do. The processor time is that of the
sending process, user and system.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import cProfile
import hashlib
import json
import os
import pstats
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import urllib3

from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.courier import Courier, CourierPolicy
from ktpsync.errors import UnavailableError
from ktpsync.outbox import DestinationSpec, Outbox, Submission
from ktpsync.packet import new_packet_id
from ktpsync.plugins import Backend, BackendContext, Health, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.packet import SealedPacket

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_DIGEST = re.compile(rb"content-digest: *sha-256=:([^:]+):", re.IGNORECASE)
_STORED_AT = "2026-01-01T00:00:00.000Z"


class Sink(asyncio.BufferedProtocol):
    """Reads requests with bodies as fast as Python can and answers each with a receipt."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 18)
        self.head = b""
        self.left = -1
        self.size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def get_buffer(self, _hint: int) -> bytearray:
        """Return where to read to."""
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        """Take what was read: a head, a part of a body, or both."""
        if self.left >= 0:
            self.left -= count
        else:
            self.head += self.buffer[:count]
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self.head, 0, end)
            self.size = int(length[1]) if length else 0
            self.left = self.size - (len(self.head) - end - 4)
            self.head = self.head[:end]
        if self.left <= 0:
            self.answer()

    def answer(self) -> None:
        """Send the receipt."""
        packet_id = self.head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        digest = _DIGEST.search(self.head)
        sha256 = base64.b64decode(digest[1]).hex() if digest else ""
        receipt = {
            "packet_id": packet_id,
            "sha256": sha256,
            "size": self.size,
            "stored_at": _STORED_AT,
            "location": "",
        }
        text = json.dumps(receipt).encode()
        head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(text) + text)  # type: ignore[attr-defined]
        self.head, self.left = b"", -1


async def serve() -> None:
    """Listen on a free port, say which, and serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Bare(Backend):
    """The least that an upload takes."""

    def __init__(self, url: str, threads: int) -> None:
        self.url = url
        self.pool = urllib3.PoolManager(maxsize=threads, retries=False, timeout=60)

    def put(self, name: str, body: BinaryIO, size: int) -> bytes:
        """Send one body."""
        headers = {"Content-Length": str(size)}
        answer = self.pool.request("PUT", f"{self.url}/{name}", body=body, headers=headers)
        if answer.status != 201:
            raise UnavailableError(str(answer.status))
        return answer.data

    def deliver(self, packet: SealedPacket) -> Receipt:
        """Send one packet."""
        with packet.open() as file:
            self.put(packet.packet_id, file, packet.size)
        return Receipt(
            packet_id=packet.packet_id, sha256=packet.sha256, size=packet.size, stored_at=datetime.now(UTC)
        )

    def check(self) -> Health:
        """Always there."""
        return Health(summary="there")


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def fill(outbox: Outbox, count: int, size: int) -> list[Path]:
    """Store new packets and return their files."""
    made = []
    for start in range(0, count, 100):
        items = []
        for _ in range(min(100, count - start)):
            sealed = os.urandom(size)
            items.append(
                Submission(
                    sealed=sealed, packet_id=new_packet_id(), sha256=hashlib.sha256(sealed).hexdigest()
                )
            )
        outbox.submit_many(items)
        made += [outbox.spool.path(item.packet_id) for item in items]
    return made


def measure(folder: Path, url: str, options: argparse.Namespace) -> None:
    """Take turns: bare loop, courier over the HTTP backend, courier over the bare upload, bare loop again."""
    bare = Bare(url, options.threads)
    http = HttpBackend(HttpSettings(url=f"{url}/"), BackendContext(name="http"))
    policy = CourierPolicy(concurrency=options.threads)
    names = ("bare urllib3 loop", "courier, http", "courier, bare upload", "bare urllib3 loop again")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    profile = cProfile.Profile()
    destinations = [DestinationSpec(name="http"), DestinationSpec(name="bare")]
    with Outbox.open(folder / "outbox.db", folder / "spool", destinations=destinations) as outbox:
        couriers = [
            Courier(outbox, "http", http, policy=policy),
            Courier(outbox, "bare", bare, policy=policy),
        ]
        for number in range(options.rounds + 1):
            # The first round warms up.
            count = options.packets if number else 500
            paths = fill(outbox, count, options.size)

            def loop(paths: list[Path] = paths) -> None:
                def put(one: Path) -> None:
                    with one.open("rb") as file:
                        bare.put(one.stem, file, options.size)

                with ThreadPoolExecutor(options.threads) as pool:
                    list(pool.map(put, paths))

            if options.profile:
                profile.enable()
            for name, run in zip(names, (loop, couriers[0].drain, couriers[1].drain, loop), strict=True):
                cpu = time.process_time()
                seconds = timed(run)
                if number:
                    found[name].append((seconds / count, (time.process_time() - cpu) / count))
            profile.disable()
            for path in paths:
                path.unlink()
        left = [line.pending + line.leased for line in outbox.summary()]
    assert left == [0, 0]
    floors = [(first[0] + last[0]) / 2 for first, last in zip(found[names[0]], found[names[-1]], strict=True)]
    for name, rounds in found.items():
        rates = [floor / seconds for (seconds, _), floor in zip(rounds, floors, strict=True)]
        rate = 1 / statistics.median(seconds for seconds, _ in rounds)
        cpu = statistics.median(cpu for _, cpu in rounds) * 1e6
        print(
            f"{name:<24} {rate:8.1f} packets/s  {statistics.median(rates):6.3f}x  "
            f"{cpu:6.0f} us CPU each  (goal 0.90x; rounds {', '.join(f'{one:.3f}' for one in rates)})"
        )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def main() -> None:
    """Run it, or the server that the other process asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; the disk under it is measured")
    parser.add_argument("--packets", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument(
        "--profile", action="store_true", help="show where the courier's own thread spends time"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    folder = Path(tempfile.mkdtemp(prefix="ktpsync-drain-", dir=options.folder))
    try:
        measure(folder, f"http://127.0.0.1:{server.stdout.readline().strip()}", options)
    finally:
        shutil.rmtree(folder)
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
