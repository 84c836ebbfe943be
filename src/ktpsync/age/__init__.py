"""age v1: a small, open format for sealed files (C2SP ``age.md``), with post-quantum hybrid keys.

What is sealed here is opened by the command line tool ``age``, and the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.age._header import Stanza
    from ktpsync.age._hybrid import HybridIdentity, HybridRecipient
    from ktpsync.age._keyfile import read_identities, read_identity_file, write_identity_file
    from ktpsync.age._keys import Identity, Recipient
    from ktpsync.age._parse import generate_identity, parse_identity, parse_recipient
    from ktpsync.age._passphrase import Passphrase
    from ktpsync.age._rewrap import rewrap
    from ktpsync.age._seal import decrypt, decrypt_stream, encrypt, encrypt_stream
    from ktpsync.age._tag import HybridTagRecipient, TagRecipient
    from ktpsync.age._x25519 import X25519Identity, X25519Recipient

_ROOMS = {
    "_header": ("Stanza",),
    "_hybrid": ("HybridIdentity", "HybridRecipient"),
    "_keyfile": ("read_identities", "read_identity_file", "write_identity_file"),
    "_keys": ("Identity", "Recipient"),
    "_parse": ("generate_identity", "parse_identity", "parse_recipient"),
    "_passphrase": ("Passphrase",),
    "_rewrap": ("rewrap",),
    "_seal": ("decrypt", "decrypt_stream", "encrypt", "encrypt_stream"),
    "_tag": ("HybridTagRecipient", "TagRecipient"),
    "_x25519": ("X25519Identity", "X25519Recipient"),
}

__all__ = [
    "HybridIdentity",
    "HybridRecipient",
    "HybridTagRecipient",
    "Identity",
    "Passphrase",
    "Recipient",
    "Stanza",
    "TagRecipient",
    "X25519Identity",
    "X25519Recipient",
    "decrypt",
    "decrypt_stream",
    "encrypt",
    "encrypt_stream",
    "generate_identity",
    "parse_identity",
    "parse_recipient",
    "read_identities",
    "read_identity_file",
    "rewrap",
    "write_identity_file",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
