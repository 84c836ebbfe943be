"""What validating and encoding an enrollment costs, beside hashing the same bytes with SHA-256.

Everything is measured in turns in one run, so that the ratios hold on a machine with other work to do::

    python benchmarks/records.py
    python benchmarks/records.py --quick
    python benchmarks/records.py --samples path/to/iso19794   # real samples instead of synthetic ones

The goal: validating and encoding one full enrollment with 1.3 MB of biometrics costs less than hashing the same
bytes three times. Each round gets an enrollment that nobody has looked at yet, as one that comes from a form.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ktpsync import records
from ktpsync.records import Biometrics, Enrollment, Missing, Sample
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (200_000, 1_300_000)
GOAL = 3.0


def unseen(enrollment: Enrollment) -> Enrollment:
    """Return the same enrollment with samples that remember no digest and no content."""

    def again(entry: Sample | Missing) -> Sample | Missing:
        return evolve(entry) if isinstance(entry, Sample) else entry

    biometrics = enrollment.biometrics
    return evolve(
        enrollment,
        biometrics=Biometrics(
            fingers={place: again(entry) for place, entry in biometrics.fingers.items()},
            irises={place: again(entry) for place, entry in biometrics.irises.items()},
            face=again(biometrics.face),
            signature=again(biometrics.signature),
        ),
    )


def samples(enrollment: Enrollment) -> list[bytes]:
    """Return the bytes of all samples."""
    return list(records.to_json(enrollment)[1].values())


def validate_and_encode(enrollment: Enrollment) -> None:
    """Do what ``submit`` does before it seals."""
    records.validate(enrollment)
    records.to_json(enrollment)


def hash_three_times(parts: list[bytes]) -> None:
    """Hash all samples three times."""
    for _ in range(3):
        for part in parts:
            hashlib.sha256(part).digest()


def took(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(enrollment: Enrollment, rounds: int) -> float:
    """Print what a round costs, and return the cost in hashings of the same bytes."""
    parts = samples(enrollment)
    document, files = records.to_json(enrollment)
    times: dict[str, list[float]] = {"validate": [], "encode": [], "read": [], "hashed": []}
    ratios = []
    for number in range(rounds + 3):
        fresh, other = unseen(enrollment), unseen(enrollment)
        both = took(lambda one=fresh: validate_and_encode(one))  # type: ignore[misc]
        hashed = took(lambda: hash_three_times(parts)) / 3
        found = {
            "validate": took(lambda one=other: records.validate(one)),  # type: ignore[misc]
            "encode": took(lambda one=other: records.to_json(one)),  # type: ignore[misc]
            "read": took(lambda: records.from_json(document, files.__getitem__)),
            "hashed": hashed,
        }
        if number >= 3:  # the first rounds load lists and modules
            ratios.append(both / hashed)
            for name, seconds in found.items():
                times[name].append(seconds)
    best = {name: 1000 * min(values) for name, values in times.items()}
    ratio = statistics.median(ratios)
    print(
        f"{sum(map(len, parts)) / 1e6:5.2f} MB  validate {best['validate']:.2f} ms, encode {best['encode']:.2f} ms, "
        f"read {best['read']:.2f} ms; SHA-256 {best['hashed']:.2f} ms; "
        f"validate + encode = {ratio:.2f} hashings (best {min(ratios):.2f})"
    )
    return ratio


def main() -> None:
    """Run the benchmark; the exit code tells whether the goal is reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--samples", type=Path, help="a folder of real samples")
    arguments = parser.parse_args()
    rounds = 30 if arguments.quick else 300
    if arguments.samples:
        ratio = compare(make_enrollment(1, size=1_300_000, sample_dir=arguments.samples), rounds)
    else:
        ratio = [compare(make_enrollment(1, size=size), rounds) for size in SIZES][-1]
    print(f"goal: less than {GOAL:.0f} hashings with 1.3 MB: {'reached' if ratio < GOAL else 'missed'}")
    sys.exit(0 if ratio < GOAL else 1)


if __name__ == "__main__":
    main()
