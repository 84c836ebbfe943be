"""For each line on standard input, a process that mends the spool until it is killed or done.

``mend_worker.py FOLDER`` prints the number of the process, and ``dead`` when it is. Good copies are in ``FOLDER/good``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from one_by_one import fork_for_each_line

from ktpsync.outbox import DestinationSpec, Outbox


def mend(folder: Path) -> None:
    """Put a good copy in the place of each damaged or missing file."""
    with Outbox.open(
        folder / "outbox.db", folder / "spool", destinations=[DestinationSpec(name="central")]
    ) as outbox:
        for suspect in outbox.suspects(read=True):
            good = (folder / "good" / suspect.packet_id).read_bytes()
            outbox.put_back(suspect.packet_id, good, source="good", who="test", why="test")


if __name__ == "__main__":
    fork_for_each_line(lambda: mend(Path(sys.argv[1])))
