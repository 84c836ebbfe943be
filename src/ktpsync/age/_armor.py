"""ASCII armor: strict PEM for ways that carry text only (C2SP ``age.md``, "ASCII armor"; RFC 7468, section 3)."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

from ktpsync.age._header import is_binary_age
from ktpsync.age._source import write_all
from ktpsync.errors import ArmorError

if TYPE_CHECKING:
    from ktpsync.age._source import Source, Writable

BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END: Final = b"-----END AGE ENCRYPTED FILE-----"
_LINE_BYTES: Final = 48
_LINE: Final = 65
_WHITESPACE: Final = b" \t\r\n"
_MAX_WHITESPACE: Final = 1024
_BLOCK: Final = 1 << 16

SNIFF: Final = _MAX_WHITESPACE + 64
"""How many bytes :func:`is_armored` wants to see."""


def is_armored(head: bytes) -> bool:
    """Return whether a file with this beginning is to be read as armor, be it well-formed or not."""
    return not is_binary_age(head) and b"-----" in head[:SNIFF]


def _lines(data: memoryview | bytes) -> bytes:
    return b"".join(
        [binascii.b2a_base64(data[at : at + _LINE_BYTES]) for at in range(0, len(data), _LINE_BYTES)]
    )


class ArmorReader:
    """Reads the binary age file out of an armored one, in constant memory.

    Args:
        source: The armored file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._text = b""
        self._data = memoryview(b"")
        self._begun = False
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the binary file, none at its end.

        Raises:
            ArmorError: The armor breaks a rule.
        """
        while not self._data and not self._ended:
            self._decode_next()
        data = self._data[:size]
        self._data = self._data[len(data) :]
        return bytes(data)

    def _decode_next(self) -> None:
        new = self._source.read(_BLOCK)
        at_end = len(new) < _BLOCK
        text = self._text + new
        if not self._begun:
            text = self._after_begin(text)
        # A line is judged when it is there whole; a CR at the end of what is there may belong to a CRLF.
        whole = len(text) if at_end else text.rfind(b"\n") + 1
        lines, rest = text[:whole].replace(b"\r\n", b"\n"), text[whole:]
        end = lines.find(b"-")
        if end >= 0:
            self._data = _decode(lines[:end])
            self._finish(lines[end:] + rest)
        elif at_end:
            raise ArmorError("The armor is cut short: its END line is missing.")
        else:
            # The last whole line waits for what comes after it: padding is right before the END line alone.
            full = max(0, len(lines) - 1) // _LINE * _LINE
            self._data = _decode(lines[:full], full=True)
            self._text = lines[full:] + rest
            if len(rest) > _LINE:
                raise ArmorError("A line of the armor is too long.")

    def _after_begin(self, text: bytes) -> bytes:
        stripped = text.lstrip(_WHITESPACE)
        line, newline, rest = stripped.partition(b"\n")
        if line.removesuffix(b"\r") != BEGIN or not newline or len(text) - len(stripped) > _MAX_WHITESPACE:
            raise ArmorError("The armor does not begin with the line -----BEGIN AGE ENCRYPTED FILE-----.")
        self._begun = True
        return rest

    def _finish(self, text: bytes) -> None:
        if not text.startswith(_END):
            raise ArmorError("The armor does not end with the line -----END AGE ENCRYPTED FILE-----.")
        rest = text[len(_END) :]
        rest += self._source.read(_MAX_WHITESPACE + 1)
        if rest.strip(_WHITESPACE):
            raise ArmorError("There is something after the armor's END line.")
        if len(rest) > _MAX_WHITESPACE:
            raise ArmorError("There is too much white space after the armor's END line.")
        self._ended = True


def _decode(lines: bytes, *, full: bool = False) -> memoryview:
    try:
        data = binascii.a2b_base64(lines)
    except binascii.Error:
        data = b""
    # Encoding is unambiguous: whatever does not come out the same was not written by the rules.
    if _lines(data) != lines or (full and len(data) != len(lines) // _LINE * _LINE_BYTES):
        raise ArmorError("A line of the armor is malformed.")
    return memoryview(data)


class ArmorWriter:
    """Writes an age file in armor. Call :meth:`finish` at its end.

    Args:
        file: Where the armor goes.
    """

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._pending = b""
        self.written = 0
        self._put(BEGIN + b"\n")

    def _put(self, text: bytes) -> None:
        write_all(self._file, memoryview(text))
        self.written += len(text)

    def write(self, data: memoryview) -> int:
        """Encode bytes of the age file."""
        pending = self._pending + bytes(data)
        full = len(pending) // _LINE_BYTES * _LINE_BYTES
        self._put(_lines(pending[:full]))
        self._pending = pending[full:]
        return len(data)

    def finish(self) -> None:
        """Write the last line and the END line."""
        self._put(_lines(self._pending) + _END + b"\n")
