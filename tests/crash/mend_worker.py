"""For each line on standard input, a process that mends the spool until it is killed or done.

``mend_worker.py FOLDER`` prints the number of the process, and ``dead`` when it is. Good copies are in ``FOLDER/good``.
"""

# ruff: noqa: T201 - the parent reads what is printed

from __future__ import annotations

import os
import sys
from pathlib import Path

from ktpsync.outbox import DestinationSpec, Outbox


def mend(folder: Path) -> None:
    """Put a good copy in the place of each damaged or missing file."""
    with Outbox.open(
        folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")]
    ) as outbox:
        for suspect in outbox.suspects(read=True):
            good = (folder / "good" / suspect.packet_id).read_bytes()
            outbox.put_back(suspect.packet_id, good, source="good", who="test", why="test")


def main() -> None:
    """Fork, so that each process begins at once."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            mend(Path(sys.argv[1]))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
