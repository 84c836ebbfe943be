"""One of several offices that write to one disk at once. Prints its receipts.

Arguments: the marked folder, a file that appears when all are ready, how many packets, and a seed that makes the
offices' first packets the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
import uuid
from pathlib import Path

from ktpsync.backends.disk.backend import DiskBackend, DiskSettings
from ktpsync.packet import SealedPacket, new_packet_id
from ktpsync.plugins import BackendContext, ByteSize

folder, go, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
common = random.Random(seed)
shared = [str(uuid.UUID(int=common.getrandbits(128))) for _ in range(count)]
backend = DiskBackend(DiskSettings(path=folder, reserve=ByteSize(0)), BackendContext(name="usb-a"))

sys.stdout.write("ready\n")
sys.stdout.flush()
while not go.exists():
    time.sleep(0.001)

receipts = {}
for number in range(2 * count):
    # Every other packet is one that the other office delivers at the same time.
    packet_id = shared[number // 2] if number % 2 else new_packet_id()
    content = packet_id.encode() * 500
    packet = SealedPacket.from_bytes(packet_id, hashlib.sha256(content).hexdigest(), content)
    receipt = backend.deliver(packet)
    receipts[packet_id] = [receipt.sha256, receipt.stored_at.isoformat()]
sys.stdout.write(json.dumps(receipts))
