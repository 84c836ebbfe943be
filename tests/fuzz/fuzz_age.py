"""Coverage-guided fuzzing of everything that reads age files.

It runs for ever, or as libFuzzer's options say::

    python tests/fuzz/fuzz_age.py -max_total_time=600 -rss_limit_mb=0 corpus/

``test_fuzz_age.py`` runs it for a bounded time.
"""

from __future__ import annotations

import io
from pathlib import Path

import atheris
from fuzz_memory import bound_memory
from fuzz_run import main

with atheris.instrument_imports(include=["ktpsync.age"]):
    from ktpsync import age
    from ktpsync.age import _header, _seal, _source
from ktpsync.errors import AgeError, KeyFormatError

TESTKIT = Path(__file__).parent.parent / "unit" / "age" / "testkit"
IDENTITY = age.parse_identity("AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0")
HYBRID = age.parse_identity("AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG")
EVERYBODY = (IDENTITY, HYBRID, age.Passphrase("password", max_work_factor=2))
FILE_KEY = b"YELLOW SUBMARINE"

MAX_GROWTH = 64 << 20
"""Bytes that all inputs together, and the fuzzer's corpus, may take above what there was before the first input."""


class Insider(age.Identity):
    """Opens every file with the same key, so that the fuzzer gets past the MAC to the payload."""

    recipient = IDENTITY.recipient

    def unwrap(self, stanzas: object) -> bytes:  # noqa: ARG002 - whatever the stanzas are
        """Return the key."""
        return FILE_KEY


def refused(error: AgeError) -> type[AgeError]:
    """Return the kind of a refusal; running out of memory is none, even where the library makes one of it."""
    assert not isinstance(error.__context__, MemoryError), "an input made the library allocate too much"
    return type(error)


def fuzz_file(data: bytes) -> None:
    """Open any bytes: in memory and as a stream the same comes of it."""
    try:
        whole = age.decrypt(data, EVERYBODY)
    except AgeError as error:
        whole = refused(error)
    target = io.BytesIO()
    try:
        age.decrypt_stream(io.BytesIO(data), target, EVERYBODY)
        streamed = target.getvalue()
    except AgeError as error:
        streamed = refused(error)
    assert whole == streamed, (whole, streamed)


def fuzz_header(data: bytes) -> None:
    """Parse any header: what is accepted has one spelling."""
    data = b"age-encryption.org/v1\n" + data
    try:
        header, size = _header.parse(data)
    except AgeError:
        return
    assert data[: size - 44] == _header.build(header.stanzas, FILE_KEY)[:-44]
    for identity in EVERYBODY:
        try:
            identity.unwrap(header.stanzas)
        except AgeError as error:
            refused(error)


def fuzz_armor(data: bytes) -> None:
    """Read any lines as armor."""
    armored = b"-----BEGIN AGE ENCRYPTED FILE-----\n" + data + b"\n-----END AGE ENCRYPTED FILE-----\n"
    try:
        _seal.open_source(io.BytesIO(armored)).read(1 << 20)
    except AgeError:
        return


def fuzz_payload(data: bytes) -> None:
    """Open any payload under a right header."""
    header = _header.build([age.Stanza(args=("insider",), body=b"")], FILE_KEY)
    target = io.BytesIO()
    verified = 0
    try:
        verified = age.decrypt_stream(io.BytesIO(header + data), target, Insider())
    except AgeError as error:
        verified = getattr(error, "verified", 0)
    assert verified == len(target.getvalue())


def fuzz_key(data: bytes) -> None:
    """Parse any text as a key."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (age.parse_identity, age.parse_recipient):
        try:
            key = parse(text)
        except KeyFormatError:
            continue
        assert text in (str(key), getattr(key, "to_text", str)())


TARGETS = (fuzz_file, fuzz_header, fuzz_armor, fuzz_payload, fuzz_key)


def fuzz_one(data: bytes) -> None:
    """Let the first byte choose what reads the others."""
    bound_memory(MAX_GROWTH)
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> list[bytes]:
    """Return inputs that reach far: the fuzzer changes them."""
    files = [
        age.encrypt(b"age", [IDENTITY.recipient]),
        age.encrypt(bytes(70_000), [IDENTITY.recipient]),
        age.encrypt(b"age", [HYBRID.recipient]),
        age.encrypt(b"age", [age.Passphrase("password", work_factor=1)]),
        age.encrypt(b"age", [IDENTITY.recipient], armor=True),
    ]
    payload = io.BytesIO()
    header = _header.build([age.Stanza(args=("insider",), body=b"")], FILE_KEY)
    _seal.seal_stream(_source.Source(io.BytesIO(b"age")), payload, FILE_KEY, header)
    published = [path.read_bytes().partition(b"\n\n") for path in sorted(TESTKIT.iterdir())]
    return [
        *(b"\0" + file for file in files),
        *(b"\0" + file for facts, _, file in published if b"compressed: " not in facts),
        *(b"\1" + file.partition(b"\n")[2] for file in files[:4]),
        b"\2" + b"\n".join(files[4].split(b"\n")[1:-2]),
        b"\3" + payload.getvalue()[len(header) :],
        *(b"\4" + str(identity.recipient).encode() for identity in (IDENTITY, HYBRID)),
        b"\4" + IDENTITY.to_text().encode(),
    ]


if __name__ == "__main__":
    main(fuzz_one, seeds)
