"""Runs the Python examples of the README and the documentation as tests; the option ``--s3``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

if TYPE_CHECKING:
    import pytest

os.environ["KTPSYNC_LANG"] = "en"  # whatever the developer's machine speaks

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/**/*.md"],
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run the tests of S3 against any endpoint."""
    parser.addoption(
        "--s3",
        metavar="FILE",
        default=os.environ.get("KTPSYNC_TEST_S3"),
        help="a TOML file of S3 settings: run the contract against this endpoint instead of those on loopback",
    )
