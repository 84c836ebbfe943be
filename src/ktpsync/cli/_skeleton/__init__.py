"""The skeleton of a plugin that ``ktpsync plugins new`` writes."""

from __future__ import annotations

from ktpsync.cli._skeleton._write import write_skeleton

__all__ = ["write_skeleton"]
