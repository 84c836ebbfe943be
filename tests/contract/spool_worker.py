"""Run by test_spool_on_s3.py: records enrollments until somebody kills it. Not a test itself.

Usage: spool_worker.py CONFIG SEED. Prints the id and digest of each packet that was acknowledged.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import ktpsync
from ktpsync.testing import make_enrollment

if __name__ == "__main__":
    with ktpsync.Office.open(Path(sys.argv[1])) as office:
        for number in itertools.count(int(sys.argv[2])):
            stored = office.submit(make_enrollment(number, size=2000))
            print(stored.packet_id, stored.sha256, flush=True)  # noqa: T201 - the answer
