"""Delivers packets while system calls fail one by one. Started under ``fiu-run -x`` by a test, prints what came out.

Arguments: a marked folder. Each call that a delivery makes is failed in turn, with each reason a disk has; after
each failure everything on the disk is looked at.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

from ktpsync import files
from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.errors import UnavailableError
from ktpsync.plugins import BackendContext, ByteSize
from ktpsync.testing import made_up_packet

CALLS = {
    "open": "posix/io/oc/open",
    "read": "posix/io/rw/read",
    "write": "posix/io/rw/write",
    "fsync": "posix/io/sync/fsync",
    "unlink": "posix/io/dir/unlink",
    "opendir": "posix/io/dir/opendir",
}
REASONS = ("ENOSPC", "EIO", "EROFS", "ENODEV")

fiu = ctypes.CDLL("libfiu.so.0")
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


def main(folder: Path) -> dict[str, int]:
    """Fail every call in turn; return how often each was failed."""
    backend = DiskBackend(DiskSettings(path=folder, reserve=ByteSize(0)), BackendContext(name="usb-a"))
    delivered = {}
    failed: Counter[str] = Counter()
    kernels_own = files._renameat2
    for call, point in CALLS.items():
        # Only the way by links unlinks anything.
        files._renameat2 = None if call == "unlink" else kernels_own
        for reason in REASONS:
            number = 0
            while True:
                number += 1
                packet = made_up_packet(b"%d" % number * 10_000)
                outcome, fired = deliver_while(backend, packet, point, getattr(errno, reason), number)
                if not fired:
                    delivered[packet.packet_id] = packet.sha256
                    break
                failed[call] += 1
                if isinstance(outcome, UnavailableError):
                    assert "usb-a" in str(outcome) or str(folder) in str(outcome), outcome
                else:
                    # The call was not needed, such as one that tidies up.
                    assert outcome is None, repr(outcome)
                    delivered[packet.packet_id] = packet.sha256
                look(folder, delivered, packet.packet_id, packet.sha256)
                assert packet.sha256 == backend.deliver(packet).sha256
                delivered[packet.packet_id] = packet.sha256
                look(folder, delivered, "", "")
    return dict(failed)


def deliver_while(
    backend: DiskBackend, packet: object, point: str, reason: int, number: int
) -> tuple[Exception | None, bool]:
    """Deliver while the ``number``-th call of a kind fails; return what was raised and whether it came so far."""
    count, fired = 0, False

    @CALLBACK
    def decide(_name: object, _failnum: object, _info: object, _flags: object) -> int:
        nonlocal count, fired
        count += 1
        if count == number:
            fired = True
        return int(count == number)

    fiu.fiu_enable_external(point.encode(), 1, ctypes.c_void_p(reason), 0, decide)
    outcome: Exception | None = None
    try:
        backend.deliver(packet)
    except Exception as error:  # noqa: BLE001 - what it was is looked at by the caller
        outcome = error
    finally:
        fiu.fiu_disable(point.encode())
    return outcome, fired


def look(folder: Path, delivered: dict[str, str], packet_id: str, sha256: str) -> None:
    """Assert that all delivered packets are whole, and that the one that failed is whole or not there."""
    found = {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("packets/*/*.age")
    }
    assert found.pop(packet_id, sha256) == sha256
    expected = {name: digest for name, digest in delivered.items() if name != packet_id}
    assert expected == found


sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
