"""Properties that hold for every age file."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktpsync import age
from ktpsync.age import _header
from ktpsync.errors import AgeError, KeyFormatError, PayloadError

IDENTITY = age.generate_identity("x25519")
OTHER = age.generate_identity("x25519")
CHUNK = 1 << 16
PLAIN = bytes(range(256)) * (CHUNK // 256) * 2 + b"end"
SEALED = age.encrypt(PLAIN, [IDENTITY.recipient, OTHER.recipient])
ARMORED = age.encrypt(PLAIN[:1000], [IDENTITY.recipient], armor=True)
START = _header.find_end(SEALED)

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=70)
stanzas = st.builds(
    lambda args, body: age.Stanza(args=tuple(args), body=body),
    st.lists(words.filter(lambda word: word != "scrypt"), min_size=1, max_size=5),
    st.binary(max_size=200),
)


def opened(sealed: bytes) -> bytes:
    """Open a file as a stream and return what was written, be there an error or not."""
    target = io.BytesIO()
    verified = 0
    try:
        verified = age.decrypt_stream(io.BytesIO(sealed), target, IDENTITY)
    except PayloadError as error:
        verified = error.verified
    except AgeError:
        pass
    assert verified == len(target.getvalue())
    return target.getvalue()


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(-1, 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_round_trip(data: bytes, chunks: int, more: int, armor: bool) -> None:  # noqa: FBT001 - drawn, not passed
    """Everything opens as it was sealed, also at the edges of chunks."""
    plain = (data or b"\0") * (chunks * CHUNK // len(data or b"\0"))
    plain = plain.ljust(max(0, chunks * CHUNK + more), b"\1")

    assert plain == age.decrypt(age.encrypt(plain, [IDENTITY.recipient], armor=armor), IDENTITY)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_no_change_goes_unnoticed(place: int, change: int) -> None:
    """Whatever byte is changed, the file does not open, and what is written before is a beginning of the plaintext."""
    changed = bytearray(SEALED)
    changed[place] ^= change

    with pytest.raises(AgeError):
        age.decrypt(bytes(changed), IDENTITY)
    assert PLAIN.startswith(opened(bytes(changed)))


@given(st.integers(0, len(SEALED) - 1))
@settings(max_examples=80, deadline=None)
def test_no_cut_goes_unnoticed(size: int) -> None:
    """A file that is cut short anywhere does not open."""
    with pytest.raises(AgeError):
        age.decrypt(SEALED[:size], IDENTITY)
    assert PLAIN.startswith(opened(SEALED[:size]))


@given(st.binary(min_size=1, max_size=100))
@settings(max_examples=50, deadline=None)
def test_no_addition_goes_unnoticed(more: bytes) -> None:
    """A file that goes on after its end does not open."""
    with pytest.raises(PayloadError):
        age.decrypt(SEALED + more, IDENTITY)


@given(st.integers(0, len(ARMORED) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_no_change_of_armor_goes_unnoticed(place: int, change: int) -> None:
    """Armor is not malleable: no byte of it can be another, save white space around it and line endings."""
    changed = bytearray(ARMORED)
    changed[place] ^= change
    neutral = changed[place] in b" \t\r\n" and place == len(ARMORED) - 1

    try:
        result = age.decrypt(bytes(changed), IDENTITY)
    except AgeError:
        assert not neutral
    else:
        assert neutral
        assert PLAIN[:1000] == result


@given(st.lists(stanzas, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_header_reads_back(written: list[age.Stanza]) -> None:
    """Every stanza that can be made comes back from the header as it was, and the MAC holds."""
    data = _header.build(written, bytes(16))

    header, size = _header.parse(data + b"payload")

    assert (tuple(written), len(data)) == (header.stanzas, size)
    _header.verify(header, bytes(16))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_a_header_has_one_spelling(tail: bytes) -> None:
    """What parses as a header is, byte for byte, what would be written for it, save the MAC."""
    data = b"age-encryption.org/v1\n-> x\n" + tail + b"\n--- " + b"A" * 43 + b"\n"
    try:
        header, size = _header.parse(data)
    except AgeError:
        return

    written = _header.build(header.stanzas, bytes(16))
    assert data[: size - 44] == written[:-44]


@given(st.binary(max_size=3000) | st.binary(max_size=100).map(lambda tail: b"age-encryption.org/v1\n" + tail))
@settings(max_examples=300, deadline=None)
def test_garbage_is_an_error_of_age(data: bytes) -> None:
    """Whatever the bytes are, nothing but an error of age comes of opening them."""
    with pytest.raises(AgeError):
        age.decrypt(data, [IDENTITY, age.Passphrase("x", max_work_factor=1)])
    assert b"" == opened(data)


@given(st.text(max_size=80) | st.text("qpzry9x8gf2tvdw0s3jn54khce6mua7l1", max_size=80).map("age1".__add__))
@settings(max_examples=300, deadline=None)
def test_text_that_is_no_key(text: str) -> None:
    """Whatever the text is, nothing but an error of its kind comes of reading it as a key."""
    for parse in (age.parse_identity, age.parse_recipient):
        with pytest.raises(KeyFormatError):
            parse(text)
