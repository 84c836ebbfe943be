"""Canonical base64 without padding (RFC 4648, sections 3.5 and 4), as age headers use it."""

from __future__ import annotations

import binascii


def encode(data: bytes) -> bytes:
    """Return the base64 of some bytes, without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def decode(text: bytes) -> bytes | None:
    """Return the bytes behind a base64 text, or None if it is not their one canonical spelling."""
    try:
        data = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return data if encode(data) == text else None
