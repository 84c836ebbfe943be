"""What a rule yields before it is put into words."""

from __future__ import annotations

Finding = tuple[str, str, dict[str, object]]
"""Path, code, and what the message names."""
