"""Making keys, and reading them from text."""

from __future__ import annotations

from typing import Literal

from ktpsync.age import _bech32
from ktpsync.age import _hybrid as hybrid
from ktpsync.age import _tag as tag
from ktpsync.age import _x25519 as x25519
from ktpsync.age._hybrid import HybridIdentity, HybridRecipient
from ktpsync.age._tag import HybridTagRecipient, TagRecipient
from ktpsync.age._x25519 import X25519Identity, X25519Recipient
from ktpsync.discreet import discreet
from ktpsync.errors import KeyFormatError


def generate_identity(kind: Literal["hybrid", "x25519"] = "hybrid") -> HybridIdentity | X25519Identity:
    """Return a new identity.

    Args:
        kind: ``"hybrid"`` stays shut to a quantum computer; ``"x25519"`` is opened by every age program since 2019.

    Raises:
        KeyFormatError: There is no such kind.
    """
    if kind == "hybrid":
        return HybridIdentity.generate()
    if kind == "x25519":
        return X25519Identity.generate()
    raise KeyFormatError(f'There are identities of kind "hybrid" and "x25519", not {kind!r}.')


@discreet
def parse_identity(text: str) -> HybridIdentity | X25519Identity:
    """Return the identity behind ``AGE-SECRET-KEY-PQ-1...`` or ``AGE-SECRET-KEY-1...``.

    Raises:
        KeyFormatError: It is no such text. The message does not repeat it.
    """
    if text != text.upper():
        raise KeyFormatError("An identity is written in upper case: AGE-SECRET-KEY-...")
    prefix, data = _bech32.decode(text)
    if prefix == hybrid.IDENTITY_PREFIX:
        return HybridIdentity(data)
    if prefix == x25519.IDENTITY_PREFIX:
        return X25519Identity(data)
    raise KeyFormatError(
        "This is not an age identity; they begin with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1."
    )


@discreet
def parse_recipient(text: str) -> HybridRecipient | X25519Recipient | TagRecipient | HybridTagRecipient:
    """Return the recipient behind ``age1pq1...`` or ``age1...``, or behind ``age1tag1...`` and ``age1tagpq1...`` of hardware.

    Raises:
        KeyFormatError: It is no such text.
    """
    if text != text.lower():
        raise KeyFormatError("A recipient is written in lower case: age1...")
    prefix, data = _bech32.decode(text)
    if prefix == hybrid.RECIPIENT_PREFIX:
        return HybridRecipient(data)
    if prefix == x25519.RECIPIENT_PREFIX:
        return X25519Recipient(data)
    if prefix == tag.CLASSIC_PREFIX:
        return TagRecipient(data)
    if prefix == tag.HYBRID_PREFIX:
        return HybridTagRecipient(data)
    raise KeyFormatError(
        "This is not an age recipient that can be used here; they begin with age1pq1 or age1."
    )
