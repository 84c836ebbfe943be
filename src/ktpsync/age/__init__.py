"""age v1: a small, open format for sealed files (C2SP ``age.md``), with post-quantum hybrid keys.

What is sealed here is opened by the command line tool ``age``, and the other way round.
"""

from __future__ import annotations

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
