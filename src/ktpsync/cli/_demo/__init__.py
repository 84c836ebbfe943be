"""``ktpsync demo``: the outage of 2017, played on this machine in under a minute."""

from __future__ import annotations

from ktpsync.cli._demo._command import demo

__all__ = ["demo"]
