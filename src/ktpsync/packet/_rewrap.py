"""Giving a sealed packet to others without opening it: a new header on the same payload."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ktpsync import age
from ktpsync.errors import NoMatchingIdentityError

if TYPE_CHECKING:
    from collections.abc import Iterable


def rewrap(
    sealed: bytes, identities: Iterable[age.Identity], recipients: Iterable[age.Recipient]
) -> bytes | None:
    """Return the sealed bytes of the same packet for others. They have another digest.

    Args:
        sealed: The sealed bytes.
        identities: Private keys to try.
        recipients: Who can open the new bytes, and nobody else.

    Returns:
        The new bytes; ``None`` if none of the identities opens the packet.

    Raises:
        AgeError: The header is damaged, or the recipients do not go together.
    """
    target = io.BytesIO()
    try:
        age.rewrap(io.BytesIO(sealed), target, identities, recipients)
    except NoMatchingIdentityError:
        return None
    return target.getvalue()
