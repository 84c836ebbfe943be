"""Machines that are killed while they give packets in a bucket new headers, or mend them; the database is PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ktpsync
from crash.one_by_one import kill_one
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]

WORKER = Path(__file__).with_name("spool_change_worker.py")
PACKETS = 18


@pytest.fixture
def config(
    *,
    tmp_path: Path,
    moto_server: Any,
    make_bucket: Callable[..., dict[str, object]],
    new_postgresql: Callable[[], str],
) -> Path:
    """An office whose spool is in a bucket."""
    bucket = make_bucket(moto_server)
    settings = "".join(f"{name} = {value!r}\n" for name, value in bucket.items())
    recipient = str(ktpsync.age.generate_identity().recipient)
    path = ktpsync.init_office(
        tmp_path / "office", recipients=[recipient], places=f'[spool]\nbackend = "s3"\n{settings}'
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[office]\n", f'[office]\ndatabase = "{new_postgresql()}"\n'), encoding="utf-8"
    )
    return path


@contextlib.contextmanager
def worker(config: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Start what forks processes that work, and end it."""
    command = [sys.executable, str(WORKER), str(config), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def record(office: ktpsync.Office) -> dict[str, bytes]:
    """Record packets; return their bytes by id."""
    found = {}
    for number in range(PACKETS):
        sealed = b"old|enrollment %d" % number
        packet_id = new_packet_id()
        office.outbox.submit(sealed, packet_id=packet_id, sha256=hashlib.sha256(sealed).hexdigest())
        found[packet_id] = sealed
    return found


def read_all(office: ktpsync.Office) -> dict[str, bytes]:
    """Return the bytes of all packets, as couriers get them: compared with the digests in their rows."""
    found = {}
    for view in office.outbox.packets():
        with office.outbox.spool.packet(view.packet_id, view.sha256, view.size).open() as file:
            found[view.packet_id] = file.read()
    return found


def objects(office: ktpsync.Office, prefix: str) -> dict[str, bytes]:
    """Return what is in the bucket."""
    stored = office.outbox.spool.objects  # type: ignore[attr-defined]
    return {info.key: stored.read(info.key) for info in stored.listed(prefix)}


def test_killed_while_it_rewraps(config: Path) -> None:
    """Every packet is whole under the digest of its row after each kill, with its own payload; then nothing is left over."""
    moments = random.Random(3)
    with ktpsync.Office.open(config) as office:
        payloads = {packet_id: sealed.partition(b"|")[2] for packet_id, sealed in record(office).items()}
        digests = set()
        left_over = 0
        with worker(config, "rewrap") as process:
            rounds = 0
            # On a busy machine it takes longer until it has got so far as to leave something.
            while rounds < 8 or not left_over or len(digests) <= PACKETS:
                rounds += 1
                kill_one(process, after=moments.uniform(0.05, 0.05 * (8 + rounds)))
                for packet_id, sealed in read_all(office).items():
                    assert payloads[packet_id] == sealed.partition(b"|")[2]
                    digests.add(hashlib.sha256(sealed).hexdigest())
                left_over += len(objects(office, "spool/")) - PACKETS
        rewrap_alone(office)

        assert PACKETS == len(objects(office, "spool/"))
        found = {sealed.partition(b"|")[::2] for sealed in read_all(office).values()}
        assert {(b"last", payload) for payload in payloads.values()} == found
        assert () == office.outbox.examine(read=True).problems


def rewrap_alone(office: ktpsync.Office) -> None:
    """Rewrap once the server has noticed that the processes before are dead."""
    while True:
        with contextlib.suppress(ktpsync.errors.OutboxError):
            report = office.outbox.rewrap(
                lambda sealed: b"last|" + sealed.partition(b"|")[2], to="last", who="test"
            )
            assert report.done
            return


def test_killed_while_it_mends(config: Path) -> None:
    """Every packet that was whole stays so, damaged bytes are kept, and the next one goes on until all are whole."""
    moments = random.Random(4)
    (config.parent / "good").mkdir()
    with ktpsync.Office.open(config) as office:
        good = record(office)
        for packet_id, sealed in good.items():
            (config.parent / "good" / packet_id).write_bytes(sealed)
        stored = office.outbox.spool.objects  # type: ignore[attr-defined]
        bad = set()
        with worker(config, "mend") as process:
            for number in range(5):
                for packet_id in moments.sample(sorted(good), 6):
                    for key, data in objects(office, f"spool/{packet_id[-2:]}/{packet_id}").items():
                        if data == good[packet_id]:
                            bad.add(damaged := b"damaged %d %s" % (number, packet_id.encode()))
                            stored.delete(key)
                            stored.put(key, damaged)
                kill_one(process, after=moments.uniform(0.05, 0.4))
                kept = [*objects(office, "spool/").values(), *objects(office, "spool-quarantine/").values()]
                assert bad <= set(kept)
            kill_one(process, after=None)
        assert good == read_all(office)
        assert () == office.outbox.examine(read=True).problems
        assert () == office.outbox.audit.verify().problems
