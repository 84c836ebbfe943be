"""What plugin authors may import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ktpsync.plugins
import ktpsync.testing


@pytest.mark.parametrize("module", [ktpsync.plugins, ktpsync.testing], ids=lambda module: module.__name__)
def test_every_public_name_loads(module: object) -> None:
    """Those that are loaded on first use too."""
    names: list[str] = module.__all__  # type: ignore[attr-defined]

    assert [] == [name for name in names if not hasattr(module, name)]


def test_the_kit_costs_nothing_until_it_is_used() -> None:
    """An app that imports `ktpsync.testing` for made-up people does not need pytest."""
    program = (
        "import sys; sys.modules['pytest'] = None; import ktpsync.testing; "
        "ktpsync.testing.make_enrollment; ktpsync.testing.made_up_packet; ktpsync.testing.FaultyStorage"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
