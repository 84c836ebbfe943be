"""What every fuzzer does when it is started: write its seeds, or run as libFuzzer's options say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(fuzz_one: Callable[[bytes], None], seeds: Callable[[], Sequence[bytes]]) -> None:
    """Fuzz, or with ``--write-seeds FOLDER`` only write what to begin with.

    Args:
        fuzz_one: Tries one input.
        seeds: Returns inputs that reach far.
    """
    if sys.argv[1:2] == ["--write-seeds"]:
        for number, seed in enumerate(seeds()):
            with open(f"{sys.argv[2]}/seed-{number}", "wb") as file:  # noqa: PTH123 - pathlib would be instrumented
                file.write(seed)
        return
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
