"""The published test vectors of the age format, built anew.

For every vector of the C2SP/CCTV collection (folder ``age``) there is one of the same name here, made by
the same steps and with the same expected outcome. The vectors of X25519, scrypt, armor and payload are the same bytes as the
published ones, as they come from the same published key stream; ML-KEM cannot be given its randomness
here, so the hybrid ones differ in that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from ktpsync import age
from ktpsync.age import _header
from ktpsync.errors import ArmorError, HeaderError, HeaderMacError, NoMatchingIdentityError, PayloadError

KEY: Final = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0"
HYBRID_KEY: Final = "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG"
LOW_ORDER: Final = bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7")
# Found by its author to end in a zero byte.
SHARE_WITH_ZERO: Final = bytes.fromhex("97ba38a135fd5f9137fca3836bfec24340ab03d7ca316b26f482636334a52600")
CHUNK: Final = 64 * 1024
ARMOR: Final = "AGE ENCRYPTED FILE"
Edit = Callable[[bytes], bytes]


def b64(data: bytes) -> bytes:
    """Encode without padding."""
    return base64.b64encode(data).rstrip(b"=")


def unb64(text: bytes) -> bytes:
    """Decode what has no padding."""
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def rows(data: bytes) -> list[bytes]:
    """Return the lines of a stanza's body."""
    text = b64(data)
    return [text[i : i + 64] for i in range(0, len(text) + 1, 64)]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Derive 32 bytes."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def flip_last(data: bytes) -> bytes:
    """Change the last byte."""
    return data[:-1] + bytes([data[-1] ^ 0xFF])


def not_canonical(text: bytes) -> bytes:
    """Set one of the bits at the end that must be zero."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1 :][:1]


def exchange(secret: bytes, point: bytes) -> bytes:
    """Do X25519, also to the result that the format forbids."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return bytes(32)


def public(secret: bytes) -> bytes:
    """Return the X25519 public key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def secret_of(text: str) -> bytes:
    """Return the secret bytes behind an identity."""
    identity = age.parse_identity(text)
    return identity._secret if isinstance(identity, age.X25519Identity) else identity._seed


class Draft:
    """An age file in the making."""

    def __init__(self) -> None:
        stream = Cipher(ChaCha20(b"TEST RANDOMNESS TEST RANDOMNESS!", bytes(16)), mode=None).encryptor()
        self.random = lambda size: stream.update(bytes(size))
        self.file_key = b"YELLOW SUBMARINE"
        self.identities: list[age.Identity] = []
        self.lines: list[bytes] = []
        self.payload_bytes = b""
        self.plain = b""
        self.armored: bytes | None = None
        self.stream_key = b""
        self.nonce = bytearray(12)

    def version(self, version: bytes = b"v1") -> Draft:
        """Begin with the version line."""
        self.lines.append(b"age-encryption.org/" + version)
        return self

    def line(self, *lines: bytes) -> Draft:
        """Add lines to the header."""
        self.lines += lines
        return self

    def key(self, file_key: bytes) -> Draft:
        """Set the file key."""
        self.file_key = file_key
        return self

    def identity(self, text: str = KEY) -> Draft:
        """Add an identity to open with, without a stanza for it."""
        self.identities.append(age.parse_identity(text))
        return self

    def x25519(
        self, secret: bytes | None = None, *, share: bytes | None = None, record: bool = True
    ) -> Draft:
        """Add an X25519 stanza and its identity."""
        if secret is None:
            secret = secret_of(KEY)
        if record:
            self.identities.append(age.X25519Identity(secret))
        share = public(self.random(32)) if share is None else share
        wrap = hkdf(exchange(secret, share), share + public(secret), b"age-encryption.org/v1/X25519")
        body = ChaCha20Poly1305(wrap).encrypt(bytes(12), self.file_key, None)
        return self.line(b"-> X25519 " + b64(share), *rows(body))

    def scrypt(self, work: int = 10, *, salt: bytes | None = None, words: str = "password") -> Draft:
        """Add a scrypt stanza and a passphrase to open with."""
        self.identities.append(age.Passphrase(words))
        return self.scrypt_stanza(work, salt=salt)

    def scrypt_stanza(self, work: int = 10, *, salt: bytes | None = None) -> Draft:
        """Add a scrypt stanza for the passphrase "password"."""
        salt = self.random(16) if salt is None else salt
        wrap = hashlib.scrypt(
            b"password",
            salt=b"age-encryption.org/v1/scrypt" + salt,
            n=1 << work,
            r=8,
            p=1,
            dklen=32,
            maxmem=1 << 30,
        )
        body = ChaCha20Poly1305(wrap).encrypt(bytes(12), self.file_key, None)
        return self.line(b" ".join([b"-> scrypt", b64(salt), b"%d" % work]), *rows(body))

    def hybrid(self, seed: bytes | None = None, *, share: bytes | None = None, record: bool = True) -> Draft:
        """Add a hybrid stanza and its identity, by HPKE written out (RFC 9180, section 5)."""
        if seed is None:
            seed = secret_of(HYBRID_KEY)
        if record:
            self.identities.append(age.HybridIdentity(seed))
        share = public(self.random(32)) if share is None else share
        expanded = hashlib.shake_256(seed).digest(96)
        shared_pq, sealed_pq = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().encapsulate()
        shared_t = exchange(expanded[64:], share)
        shared = hashlib.sha3_256(shared_pq + shared_t + share + public(expanded[64:]) + b"\\.//^\\").digest()
        suite = b"HPKE\x64\x7a\x00\x01\x00\x03"

        def extract(salt: bytes, label: bytes, data: bytes) -> bytes:
            return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + data, "sha256")

        def expand(secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
            info = struct.pack(">H", size) + b"HPKE-v1" + suite + label + info + b"\x01"
            return hmac.digest(secret, info, "sha256")[:size]

        context = b"\0" + extract(b"", b"psk_id_hash", b"")
        context += extract(b"", b"info_hash", b"age-encryption.org/mlkem768x25519")
        secret = extract(shared, b"secret", b"")
        cipher = ChaCha20Poly1305(expand(secret, b"key", context, 32))
        body = cipher.encrypt(expand(secret, b"base_nonce", context, 12), self.file_key, None)
        return self.line(b"-> mlkem768x25519 " + b64(sealed_pq + share), *rows(body))

    def edit(self, line: int, change: Edit) -> Draft:
        """Change a line of the header."""
        self.lines[line] = change(self.lines[line])
        return self

    def args(self, change: Callable[[list[bytes]], list[bytes]]) -> Draft:
        """Change the arguments of the stanza that was added last."""
        return self.edit(-2, lambda line: b" ".join([b"->", *change(line.split(b" ")[1:])]))

    def body(self, change: Edit) -> Draft:
        """Change the bytes of the body of the stanza that was added last."""
        return self.edit(-1, lambda line: b64(change(unb64(line))))

    def mac(self, change: Edit = bytes) -> Draft:
        """Add the MAC line."""
        covered = b"".join(line + b"\n" for line in self.lines) + b"---"
        mac = hmac.digest(hkdf(self.file_key, b"", b"header"), covered, "sha256")
        return self.line(change(b"--- " + b64(mac)))

    def nonce_(self) -> Draft:
        """Begin the payload."""
        nonce = self.random(16)
        self.stream_key = hkdf(self.file_key, nonce, b"payload")
        self.payload_bytes += nonce
        return self

    def chunk(self, plain: bytes | int, *, final: bool = False) -> Draft:
        """Add a chunk, given its plaintext or its size."""
        if final:
            self.nonce[11] = 1
        if isinstance(plain, int):
            # The published chunks are chosen so that they seal to zeros, which compress well.
            mask = Cipher(ChaCha20(self.stream_key, b"\1\0\0\0" + self.nonce), mode=None).encryptor()
            plain = mask.update(bytes(plain))
        self.plain += plain
        self.payload_bytes += ChaCha20Poly1305(self.stream_key).encrypt(bytes(self.nonce), plain, None)
        self.nonce[:11] = (int.from_bytes(self.nonce[:11], "big") + 1).to_bytes(11, "big")
        return self

    def chunks(self, *plains: bytes | int) -> Draft:
        """Add chunks, the last one marked as such."""
        for plain in plains[:-1]:
            self.chunk(plain)
        return self.chunk(plains[-1], final=True)

    def payload(self, plain: bytes = b"age") -> Draft:
        """Add a payload of one chunk."""
        return self.nonce_().chunk(plain, final=True)

    def raw(self, change: Edit) -> Draft:
        """Change the bytes of the payload."""
        self.payload_bytes = change(self.payload_bytes)
        return self

    def keep(self, count: int) -> Draft:
        """Say how much of the plaintext is verified before the failure."""
        self.plain = self.plain[:count]
        return self

    def crlf_header(self) -> Draft:
        """End the lines of the header with CRLF."""
        self.lines = [line + b"\r" for line in self.lines]
        return self.mac(lambda line: line + b"\r")

    def binary(self) -> bytes:
        """Return the file without armor."""
        return b"".join(line + b"\n" for line in self.lines) + self.payload_bytes

    def armor(
        self, change: Callable[[list[bytes]], list[bytes]] = list, *, begin: str = ARMOR, end: str = ARMOR
    ) -> Draft:
        """Put the file in armor; the change gets the lines between and including BEGIN and END."""
        text = base64.b64encode(self.binary())
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        begin_line, end_line = f"-----BEGIN {begin}-----".encode(), f"-----END {end}-----".encode()
        self.armored = b"".join(line + b"\n" for line in change([begin_line, *lines, end_line]))
        return self

    def text(self, change: Edit) -> Draft:
        """Change the armored text."""
        assert self.armored is not None
        self.armored = change(self.armored)
        return self

    def data(self) -> bytes:
        """Return the file as it is to be opened."""
        return self.binary() if self.armored is None else self.armored


def base(draft: Draft) -> Draft:
    """Make the plainest file."""
    return draft.version().x25519().mac().payload()


def header(draft: Draft, *lines: bytes) -> Draft:
    """Make a file with more lines in its header."""
    return draft.version().x25519().line(*lines).mac().payload()


def start(draft: Draft) -> Draft:
    """Make a file as far as the nonce of its payload."""
    return draft.version().x25519().mac().nonce_()


def full(draft: Draft) -> Draft:
    """Make a file whose armor fills its last line."""
    return draft.version().x25519().mac().payload(b"age age age age age age age age age age ")


def pgp_checksum(draft: Draft) -> Draft:
    """Make a file in the armor of OpenPGP, which has a checksum (RFC 4880, section 6.1)."""
    checksum = 0xB704CE
    for byte in draft.binary():
        checksum ^= byte << 16
        for _ in range(8):
            checksum = checksum << 1 ^ (0x1864CFB if checksum & 0x800000 else 0)
    line = b"=" + base64.b64encode((checksum & 0xFFFFFF).to_bytes(3, "big"))
    return draft.armor(lambda lines: [lines[0], b"", *lines[1:-1], line, lines[-1]])


def scrypt_argument(text: bytes) -> Callable[[Draft], Draft]:
    """Return the maker of a file whose work factor is written otherwise."""
    return lambda d: d.version().scrypt().args(lambda a: [a[0], a[1], text]).mac().payload()


VECTORS: Final[dict[str, tuple[type[Exception] | None, Callable[[Draft], Draft]]]] = {
    "armor_x25519": (None, lambda d: base(d).armor()),
    "armor_scrypt": (None, lambda d: d.version().scrypt().mac().payload().armor()),
    "armor_hybrid": (None, lambda d: d.version().hybrid().mac().payload().armor()),
    "armor_crlf": (None, lambda d: base(d).armor().text(lambda t: t.replace(b"\n", b"\r\n"))),
    "armor_empty": (HeaderError, lambda d: d.armor()),
    "armor_empty_last_line": (ArmorError, lambda d: full(d).armor(lambda x: [*x[:-1], b"", x[-1]])),
    "armor_empty_line_begin": (ArmorError, lambda d: base(d).armor(lambda x: [x[0], b"", *x[1:]])),
    "armor_empty_line_end": (ArmorError, lambda d: base(d).armor(lambda x: [*x[:-1], b"", x[-1]])),
    "armor_eol_between_padding": (
        ArmorError,
        lambda d: (
            d.version().x25519().mac().payload(b"age12").armor().text(lambda t: t.replace(b"==", b"=\n="))
        ),
    ),
    "armor_full_last_line": (None, lambda d: full(d).armor()),
    "armor_garbage_encoded": (
        PayloadError,
        lambda d: start(d).chunks(CHUNK).raw(lambda p: p + d.random(20)).keep(CHUNK).armor(),
    ),
    "armor_garbage_leading": (ArmorError, lambda d: base(d).armor().text(lambda t: b"garbage\n" + t)),
    "armor_garbage_trailing": (ArmorError, lambda d: base(d).armor().text(lambda t: t + b"garbage\n")),
    "armor_header_crlf": (HeaderError, lambda d: d.version().x25519().crlf_header().payload().armor()),
    "armor_headers": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [x[0], b"Headers: are", b"Not: allowed", b"", *x[1:]]),
    ),
    "armor_invalid_character_header": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [x[0], x[1][:4] + b"*" + x[1][5:], *x[2:]]),
    ),
    "armor_invalid_character_payload": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [*x[:-2], b"*" + x[-2][1:], x[-1]]),
    ),
    "armor_long_line": (ArmorError, lambda d: base(d).armor(lambda x: [x[0], b"".join(x[1:-1]), x[-1]])),
    "armor_lowercase": (
        ArmorError,
        lambda d: base(d).armor(begin="age ENCRYPTED FILE", end="age ENCRYPTED FILE"),
    ),
    "armor_no_end_line": (ArmorError, lambda d: base(d).armor(lambda x: x[:-1])),
    "armor_no_eol": (None, lambda d: base(d).armor().text(lambda t: t[:-1])),
    "armor_no_match": (
        NoMatchingIdentityError,
        lambda d: d.version().x25519(d.random(32), record=False).identity().mac().payload().armor(),
    ),
    "armor_no_padding": (ArmorError, lambda d: base(d).armor(lambda x: [*x[:-2], x[-2].rstrip(b"="), x[-1]])),
    "armor_not_canonical": (
        ArmorError,
        lambda d: base(d).armor(
            lambda x: [*x[:-2], (not_canonical(x[-2].rstrip(b"=")) + b"==")[: len(x[-2])], x[-1]]
        ),
    ),
    "armor_pgp_checksum": (ArmorError, lambda d: pgp_checksum(base(d))),
    "armor_short_line": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [x[0], x[1][:16], *rows(d.binary()[12:])[:-1], x[-2], x[-1]]),
    ),
    "armor_whitespace_begin": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [b"----- BEGIN AGE ENCRYPTED FILE -----", *x[1:]]),
    ),
    "armor_whitespace_end": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [*x[:-1], b"----- END AGE ENCRYPTED FILE -----"]),
    ),
    "armor_whitespace_eol": (ArmorError, lambda d: base(d).armor(lambda x: [*x[:-3], x[-3] + b" ", *x[-2:]])),
    "armor_whitespace_last_line": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [*x[:-2], x[-2] + b" ", x[-1]]),
    ),
    "armor_whitespace_line_start": (
        ArmorError,
        lambda d: base(d).armor(lambda x: [*x[:-3], b" " + x[-3], *x[-2:]]),
    ),
    "armor_whitespace_outside": (
        None,
        lambda d: base(d).armor().text(lambda t: b"\n\r   \t\n" + t + b"\n\r   \t\n"),
    ),
    "armor_wrong_type": (
        ArmorError,
        lambda d: base(d).armor(begin="AGE ENCRYPTED MESSAGE", end="AGE ENCRYPTED MESSAGE"),
    ),
    "empty": (HeaderError, lambda d: d),
    "header_crlf": (HeaderError, lambda d: d.version().x25519().crlf_header().payload()),
    "hmac_bad": (
        HeaderMacError,
        lambda d: d.version().x25519().key(bytes(16)).mac().key(b"YELLOW SUBMARINE").payload(),
    ),
    "hmac_extra_space": (
        HeaderError,
        lambda d: d.version().x25519().mac(lambda m: m.replace(b"--- ", b"---  ")).payload(),
    ),
    "hmac_garbage": (HeaderError, lambda d: d.version().x25519().mac(lambda m: m + b"AAA").payload()),
    "hmac_missing": (HeaderError, lambda d: d.version().x25519().mac(lambda _: b"--- ").payload()),
    "hmac_no_space": (
        HeaderError,
        lambda d: d.version().x25519().mac(lambda m: m.replace(b"--- ", b"---")).payload(),
    ),
    "hmac_not_canonical": (HeaderError, lambda d: d.version().x25519().mac(not_canonical).payload()),
    "hmac_trailing_space": (HeaderError, lambda d: d.version().x25519().mac(lambda m: m + b" ").payload()),
    "hmac_truncated": (HeaderError, lambda d: d.version().x25519().mac(lambda m: m[:8]).payload()),
    "hybrid": (None, lambda d: d.version().hybrid().mac().payload()),
    "hybrid_and_x25519": (
        None,
        lambda d: d.version().x25519(d.random(32), record=False).hybrid().mac().payload(),
    ),
    "hybrid_bad_tag": (
        NoMatchingIdentityError,
        lambda d: d.version().hybrid().body(flip_last).mac().payload(),
    ),
    "hybrid_currupted_enc_mlkem": (
        NoMatchingIdentityError,
        lambda d: (
            d.version()
            .hybrid()
            .args(lambda a: [a[0], b64(bytes([unb64(a[1])[0] ^ 0xFF]) + unb64(a[1])[1:])])
            .mac()
            .payload()
        ),
    ),
    "hybrid_currupted_enc_x25519": (
        NoMatchingIdentityError,
        lambda d: (
            d.version()
            .hybrid()
            .args(lambda a: [a[0], b64(flip_last(unb64(a[1])[:-9]) + unb64(a[1])[-9:])])
            .mac()
            .payload()
        ),
    ),
    "hybrid_extra_argument": (
        HeaderError,
        lambda d: d.version().hybrid().args(lambda a: [*a, b"1234"]).mac().payload(),
    ),
    "hybrid_grease": (
        None,
        lambda d: d.version().line(b"-> grease", b"").hybrid().line(b"-> grease", b"").mac().payload(),
    ),
    "hybrid_identity": (HeaderError, lambda d: d.version().hybrid(share=bytes(32)).mac().payload()),
    "hybrid_long_file_key": (
        HeaderError,
        lambda d: d.key(b"A LONGER YELLOW SUBMARINE").version().hybrid().mac().payload(),
    ),
    "hybrid_long_share": (
        HeaderError,
        lambda d: d.version().hybrid().args(lambda a: [a[0], b64(unb64(a[1]) + b"\0")]).mac().payload(),
    ),
    "hybrid_low_order": (HeaderError, lambda d: d.version().hybrid(share=LOW_ORDER).mac().payload()),
    "hybrid_multiple_recipients": (
        None,
        lambda d: d.version().hybrid(d.random(32), record=False).hybrid().mac().payload(),
    ),
    "hybrid_no_match": (
        NoMatchingIdentityError,
        lambda d: d.version().hybrid(d.random(32), record=False).identity(HYBRID_KEY).mac().payload(),
    ),
    "hybrid_not_canonical_body": (
        HeaderError,
        lambda d: d.version().hybrid().edit(-1, not_canonical).mac().payload(),
    ),
    "hybrid_not_canonical_enc": (
        HeaderError,
        lambda d: d.version().hybrid().edit(-2, not_canonical).mac().payload(),
    ),
    "hybrid_short_share": (
        HeaderError,
        lambda d: (
            d.version()
            .hybrid(share=SHARE_WITH_ZERO)
            .args(lambda a: [a[0], b64(unb64(a[1])[:-1])])
            .mac()
            .payload()
        ),
    ),
    "hybrid_uppercase": (
        NoMatchingIdentityError,
        lambda d: d.version().hybrid().args(lambda a: [a[0].upper(), a[1]]).mac().payload(),
    ),
    "hybrid_x25519_arg": (
        HeaderError,
        lambda d: d.version().identity().hybrid().args(lambda a: [b"X25519", a[1]]).mac().payload(),
    ),
    "scrypt": (None, lambda d: d.version().scrypt().mac().payload()),
    "scrypt_and_x25519": (
        HeaderError,
        lambda d: d.version().x25519(record=False).identity().scrypt().mac().payload(),
    ),
    "scrypt_bad_tag": (
        NoMatchingIdentityError,
        lambda d: d.version().scrypt().body(flip_last).mac().payload(),
    ),
    "scrypt_double": (HeaderError, lambda d: d.version().scrypt().scrypt().mac().payload()),
    "scrypt_extra_argument": (
        HeaderError,
        lambda d: d.version().scrypt().args(lambda a: [*a, b"1234"]).mac().payload(),
    ),
    "scrypt_long_file_key": (
        HeaderError,
        lambda d: d.key(b"A LONGER YELLOW SUBMARINE").version().scrypt().mac().payload(),
    ),
    "scrypt_no_match": (
        NoMatchingIdentityError,
        lambda d: d.version().scrypt(words="wrong").mac().payload(),
    ),
    "scrypt_not_canonical_body": (
        HeaderError,
        lambda d: d.version().scrypt().edit(-1, not_canonical).mac().payload(),
    ),
    "scrypt_not_canonical_salt": (
        HeaderError,
        lambda d: d.version().scrypt().args(lambda a: [a[0], not_canonical(a[1]), a[2]]).mac().payload(),
    ),
    "scrypt_salt_long": (HeaderError, lambda d: d.version().scrypt(salt=d.random(20)).mac().payload()),
    "scrypt_salt_missing": (
        HeaderError,
        lambda d: d.version().scrypt(salt=b"").args(lambda a: [a[0], a[2]]).mac().payload(),
    ),
    "scrypt_salt_short": (HeaderError, lambda d: d.version().scrypt(salt=d.random(12)).mac().payload()),
    "scrypt_uppercase": (
        NoMatchingIdentityError,
        lambda d: d.version().scrypt().args(lambda a: [b"Scrypt", *a[1:]]).mac().payload(),
    ),
    "scrypt_work_factor_23": (HeaderError, scrypt_argument(b"23")),
    "scrypt_work_factor_hex": (HeaderError, scrypt_argument(b"0xa")),
    "scrypt_work_factor_leading_garbage": (HeaderError, scrypt_argument(b"aaaa10")),
    "scrypt_work_factor_leading_plus": (HeaderError, scrypt_argument(b"+10")),
    "scrypt_work_factor_leading_zero_decimal": (HeaderError, scrypt_argument(b"010")),
    "scrypt_work_factor_leading_zero_octal": (HeaderError, scrypt_argument(b"012")),
    "scrypt_work_factor_missing": (
        HeaderError,
        lambda d: d.version().scrypt().args(lambda a: a[:2]).mac().payload(),
    ),
    "scrypt_work_factor_negative": (HeaderError, scrypt_argument(b"-10")),
    "scrypt_work_factor_overflow": (HeaderError, scrypt_argument(b"9223372036854775818")),
    "scrypt_work_factor_trailing_garbage": (HeaderError, scrypt_argument(b"10aaaa")),
    "scrypt_work_factor_wrong": (NoMatchingIdentityError, scrypt_argument(b"11")),
    "scrypt_work_factor_zero": (HeaderError, scrypt_argument(b"0")),
    "stanza_bad_start": (HeaderError, lambda d: header(d, b"-- stanza", b"")),
    "stanza_base64_padding": (HeaderError, lambda d: header(d, b"-> stanza", rows(b"A" * 50)[0], b"QUE=")),
    "stanza_empty_argument": (HeaderError, lambda d: header(d, b"-> stanza  argument", b"")),
    "stanza_empty_body": (None, lambda d: header(d, b"-> empty", b"")),
    "stanza_empty_last_line": (None, lambda d: header(d, b"-> stanza", *rows(b"A" * 96))),
    "stanza_invalid_character": (HeaderError, lambda d: header(d, "-> stanza è".encode(), b"")),
    "stanza_long_line": (HeaderError, lambda d: header(d, b"-> stanza", b"A" * 68, b"")),
    "stanza_missing_body": (HeaderError, lambda d: header(d, b"-> empty")),
    "stanza_missing_final_line": (HeaderError, lambda d: header(d, b"-> stanza", b"A" * 64)),
    "stanza_multiple_short_lines": (HeaderError, lambda d: header(d, b"-> stanza", b"A" * 32, b"A" * 32)),
    "stanza_no_arguments": (HeaderError, lambda d: header(d, b"->", b"")),
    "stanza_not_canonical": (
        HeaderError,
        lambda d: header(d, b"-> stanza", rows(b"A" * 50)[0], not_canonical(rows(b"A" * 50)[1])),
    ),
    "stanza_spurious_cr": (HeaderError, lambda d: header(d, b"-> stanza", b"A" * 32 + b"\r" + b"A" * 31)),
    "stanza_valid_characters": (
        None,
        lambda d: (
            d.version()
            .line(b"-> !\"#$%&' ()*+,-./ 01234567 89:;<=>? @ABCDEFG HIJKLMNO", b"")
            .line(b"-> PQRSTUVW XYZ[\\]^_ `abcdefg hijklmno pqrstuvw xyz{|}~", b"")
            .x25519()
            .mac()
            .payload()
        ),
    ),
    "stream_257_chunks": (None, lambda d: start(d).chunks(*[CHUNK] * 256, 1)),
    "stream_257_chunks_full": (None, lambda d: start(d).chunks(*[CHUNK] * 257)),
    "stream_258_chunks": (None, lambda d: start(d).chunks(*[CHUNK] * 257, 1)),
    "stream_bad_tag": (PayloadError, lambda d: base(d).raw(flip_last).keep(0)),
    "stream_bad_tag_second_chunk": (
        PayloadError,
        lambda d: start(d).chunks(CHUNK, b"age").raw(flip_last).keep(CHUNK),
    ),
    "stream_bad_tag_second_chunk_full": (
        PayloadError,
        lambda d: start(d).chunks(CHUNK, CHUNK).raw(flip_last).keep(CHUNK),
    ),
    "stream_empty_payload": (None, lambda d: start(d).chunks(b"")),
    "stream_last_chunk_empty": (PayloadError, lambda d: start(d).chunks(CHUNK, b"").keep(CHUNK)),
    "stream_last_chunk_full": (None, lambda d: start(d).chunks(CHUNK)),
    "stream_last_chunk_full_second": (None, lambda d: start(d).chunks(CHUNK, CHUNK)),
    "stream_missing_tag": (PayloadError, lambda d: base(d).raw(lambda p: p[:-16]).keep(0)),
    "stream_no_chunks": (PayloadError, start),
    "stream_no_final": (PayloadError, lambda d: start(d).chunk(b"age").keep(0)),
    "stream_no_final_full": (PayloadError, lambda d: start(d).chunk(CHUNK)),
    "stream_no_final_two_chunks": (PayloadError, lambda d: start(d).chunk(CHUNK).chunk(b"age").keep(CHUNK)),
    "stream_no_final_two_chunks_full": (PayloadError, lambda d: start(d).chunk(CHUNK).chunk(CHUNK)),
    "stream_no_nonce": (HeaderError, lambda d: d.version().x25519().mac()),
    "stream_short_chunk": (PayloadError, lambda d: start(d).raw(lambda p: p + d.random(12))),
    "stream_short_nonce": (HeaderError, lambda d: d.version().x25519().mac().raw(lambda _: d.random(12))),
    "stream_short_second_chunk": (
        PayloadError,
        lambda d: start(d).chunk(CHUNK).raw(lambda p: p + d.random(12)),
    ),
    "stream_three_chunks": (None, lambda d: start(d).chunks(CHUNK, CHUNK, b"age")),
    "stream_trailing_garbage_long": (
        PayloadError,
        lambda d: start(d).chunks(CHUNK).raw(lambda p: p + d.random(20)),
    ),
    "stream_trailing_garbage_short": (
        PayloadError,
        lambda d: start(d).chunks(CHUNK).raw(lambda p: p + d.random(12)),
    ),
    "stream_two_chunks": (None, lambda d: start(d).chunks(CHUNK, b"age")),
    "stream_two_final_chunks": (
        PayloadError,
        lambda d: start(d).chunk(CHUNK, final=True).chunk(b"age", final=True).keep(CHUNK),
    ),
    "stream_two_final_chunks_full": (
        PayloadError,
        lambda d: start(d).chunk(CHUNK, final=True).chunk(CHUNK, final=True).keep(CHUNK),
    ),
    "stream_two_final_chunks_second": (
        PayloadError,
        lambda d: start(d).chunk(CHUNK).chunk(CHUNK, final=True).chunk(1, final=True).keep(2 * CHUNK),
    ),
    "stream_two_final_chunks_short": (
        PayloadError,
        lambda d: start(d).chunk(1, final=True).chunk(1, final=True).keep(0),
    ),
    "version_unsupported": (HeaderError, lambda d: d.version(b"v1234").x25519().mac().payload()),
    "x25519": (None, base),
    "x25519_bad_tag": (
        NoMatchingIdentityError,
        lambda d: d.version().x25519().body(flip_last).mac().payload(),
    ),
    "x25519_extra_argument": (
        HeaderError,
        lambda d: d.version().x25519().args(lambda a: [*a, b"1234"]).mac().payload(),
    ),
    "x25519_grease": (
        None,
        lambda d: d.version().line(b"-> grease", b"").x25519().line(b"-> grease", b"").mac().payload(),
    ),
    "x25519_identity": (HeaderError, lambda d: d.version().x25519(share=bytes(32)).mac().payload()),
    "x25519_long_file_key": (
        HeaderError,
        lambda d: d.key(b"A LONGER YELLOW SUBMARINE").version().x25519().mac().payload(),
    ),
    "x25519_long_share": (
        HeaderError,
        lambda d: d.version().x25519().args(lambda a: [a[0], b64(unb64(a[1]) + b"\0")]).mac().payload(),
    ),
    "x25519_low_order": (HeaderError, lambda d: d.version().x25519(share=LOW_ORDER).mac().payload()),
    "x25519_lowercase": (
        NoMatchingIdentityError,
        lambda d: d.version().x25519().args(lambda a: [b"x25519", a[1]]).mac().payload(),
    ),
    "x25519_multiple_recipients": (
        None,
        lambda d: d.version().x25519(d.random(32), record=False).x25519().mac().payload(),
    ),
    "x25519_no_match": (
        NoMatchingIdentityError,
        lambda d: d.version().x25519(d.random(32), record=False).identity().mac().payload(),
    ),
    "x25519_not_canonical_body": (
        HeaderError,
        lambda d: d.version().x25519().edit(-1, not_canonical).mac().payload(),
    ),
    "x25519_not_canonical_share": (
        HeaderError,
        lambda d: d.version().x25519().edit(-2, not_canonical).mac().payload(),
    ),
    "x25519_short_share": (
        HeaderError,
        lambda d: (
            d.version()
            .x25519(share=SHARE_WITH_ZERO)
            .args(lambda a: [a[0], b64(unb64(a[1])[:-1])])
            .mac()
            .payload()
        ),
    ),
}


def outcome(opener: Callable[[], object]) -> type[BaseException] | None:
    """Return the class of what is raised."""
    try:
        opener()
    except Exception as error:  # noqa: BLE001 - the class itself is what is compared
        return type(error)
    return None


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_vector(name: str) -> None:
    """The file opens, or fails with the error of its kind, and nothing but verified plaintext is written."""
    expected, make = VECTORS[name]
    draft = make(Draft())
    written = io.BytesIO()
    opened = []

    in_memory = outcome(lambda: opened.append(age.decrypt(draft.data(), draft.identities)))
    streamed = outcome(lambda: age.decrypt_stream(io.BytesIO(draft.data()), written, draft.identities))

    assert (expected, expected) == (in_memory, streamed)
    if expected is None:
        assert draft.plain == opened[0]
    if expected in (None, PayloadError):
        assert hashlib.sha256(draft.plain).digest() == hashlib.sha256(written.getvalue()).digest()


def test_vectors_are_the_published_ones() -> None:
    """The steps above give the bytes that were published for the vectors x25519 and hmac_bad."""
    share = b"-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc"
    body = b"hjabGXwSLQ9c3S6Lw2i+S2Tu2fiwQHHslbBN6B41FLE"
    mac = b"--- 8McE3ix9R34E/vLrQv3yepsHjo/LXhfs22Ab3UyInmg"

    assert [b"age-encryption.org/v1", share, body, mac] == VECTORS["hmac_bad"][1](Draft()).lines


def test_published_hybrid_header() -> None:
    """The header of the published vector "hybrid" opens, and its MAC holds."""
    text = Path(__file__).with_name("data").joinpath("cctv-hybrid-header.txt").read_bytes()

    header, size = _header.parse(text)
    file_key = age.parse_identity(HYBRID_KEY).unwrap(header.stanzas)

    assert (b"YELLOW SUBMARINE", len(text)) == (file_key, size)
    _header.verify(header, b"YELLOW SUBMARINE")
