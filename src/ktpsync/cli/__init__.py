"""The command line ``ktpsync``."""

from __future__ import annotations

from ktpsync.cli._main import main

__all__ = ["main"]
