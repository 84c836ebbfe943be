"""Translates a message where it is shown, by finding the template that it was made from.

A message of ktpsync is an f-string, wherever it arises; some are kept in the outbox for months and shown then. The
catalogue holds such templates (``{host} refuses connections.``) with their translations. To translate, the template
that fits is found, the values are read out of the message, and the translation is filled with them. Values that are
messages themselves are translated in the same way. Nothing is decided by this: what no template fits stays English.
"""

from __future__ import annotations

import functools
import json
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.language._choice import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOCALE: Final = Path(__file__).with_name("locale")

_PREFIX: Final = re.compile(r"([^\s:]+(?::[^\s:]+)*|[A-Z]:\\[^:]*|/[^:]*): (.+)", re.DOTALL)
_PACKET: Final = re.compile(r"packet ([0-9a-f-]{36}): (.+)", re.DOTALL)
_BULLET: Final = re.compile(r"(\s*- |\s+)(\S.*)")
_COUNT: Final = re.compile(r"([0-9][0-9.,]*) ([^0-9]+?)(?=$| [0-9])")
_KEPT: Final = 1024
"""Lines whose translation is kept."""

_STATES: Final = frozenset({"location", "standing", "state", "what", "when"})
"""Values that are words of ktpsync's own."""

_FIELD: Final = re.compile(r"\{\w")
_NAMED: Final = "{name}: "
"""What messages of destinations and backups begin with."""

_ENTRY: Final = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)
"""A message and its translation in a ``.po`` file."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?:;]) (?=\S)")


def translated(what: object, language: str) -> str:
    """Return a message in another language: of an error, a problem, or a sentence that ktpsync gave.

    Args:
        what: The error or the text. What is not known, such as a plugin's message, stays as it is.
        language: ``en`` or ``id``.
    """
    if language == ENGLISH:
        return str(what)
    try:
        return _translated(what, language)
    except Exception:  # noqa: BLE001 - whatever is wrong with a catalogue, what was to be said is said
        return str(what)


def _translated(what: object, language: str) -> str:
    if hasattr(what, "translated"):
        return str(what.translated(language))
    problems = getattr(what, "problems", ())
    if problems and all(hasattr(one, "translated") for one in problems):
        # The records' problems have their own translations, by their codes.
        lines = [f"  - {one.translated(language)}" for one in problems]
        return translator(language).translate("\n".join([str(what).partition("\n")[0], *lines]))
    return translator(language).translate(str(what))


@functools.cache
def translator(language: str) -> Translator:
    """Return the translator into a language, with its catalogue loaded."""
    return Translator(messages(LOCALE / f"{language}.po"))


def messages(path: Path) -> dict[str, str]:
    """Return the catalogue in a gettext ``.po`` file: English to translation, both as templates."""
    entries = _ENTRY.finditer(path.read_text(encoding="utf-8"))
    known = {_unquoted(entry[1]): _unquoted(entry[2]) for entry in entries}
    # The one without English is the head of the file.
    known.pop("", None)
    return known


def _unquoted(lines: str) -> str:
    text = lines.replace('"\n"', "").rstrip("\n")
    return str(json.loads(text)) if "\\" in text else text[1:-1]


def fields_of(template: str) -> tuple[str, ...]:
    """Return the names of a template's values, in order, each once."""
    return tuple(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(template) if name))


class Template:
    """A message with values to be filled in, and the other way round.

    Args:
        english: The English template.
        other: Its translation, with the same values.
    """

    def __init__(self, english: str, other: str) -> None:
        self._english = english
        self._other = other
        literals = [literal for literal, _, _, _ in string.Formatter().parse(english)]
        self.anchor = max(literals, key=len)
        self.has_lines = "\n" in english
        # What a message begins with says more than what it ends with.
        self.specific = (bool(literals[0]), len(self.anchor), sum(map(len, literals)))

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        seen: set[str] = set()
        parts = []
        for literal, name, _, _ in string.Formatter().parse(self._english):
            parts.append(re.escape(literal))
            if name in seen:
                parts.append(f"(?P={name})")
            elif name:
                seen.add(name)
                parts.append(f"(?P<{name}>.*?)")
        return re.compile("".join(parts), re.DOTALL)

    def values(self, text: str) -> Mapping[str, str] | None:
        """Return the values in a message that has the anchor; ``None`` if it was not made from this template."""
        found = self._pattern.fullmatch(text)
        return None if found is None else found.groupdict()

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the translation with these values."""
        return self._other.format_map(values)


class Translator:
    """Translates messages by a catalogue.

    Args:
        known: English to translation; ``{name}`` stands for a value.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._with_values = {
            english: other for english, other in known.items() if _FIELD.search(english.replace("{{", ""))
        }
        self._exact = {
            _text(english): _text(other)
            for english, other in known.items()
            if english not in self._with_values
        }
        # The rest of a line is looked at from several of its beginnings.
        self._line = functools.lru_cache(_KEPT)(self._line_anew)

    @functools.cached_property
    def _templates(self) -> list[Template]:
        """Those that say most first; the help does without any."""
        templates = []
        for english, other in self._with_values.items():
            templates.append(Template(english, other))
            if english.startswith(_NAMED) and other.startswith(_NAMED):
                # It is left out where it was said already, as of a stopped destination.
                templates.append(Template(english[len(_NAMED) :], other[len(_NAMED) :]))
        return sorted(templates, key=lambda template: template.specific, reverse=True)

    @functools.cached_property
    def _of_lines(self) -> list[Template]:
        return [template for template in self._templates if template.has_lines]

    def translate(self, text: str) -> str:
        """Return a message in the language; what is not known stays as it is."""
        if "\n" not in text:
            other = self._exact.get(text) or self._line(text)
            return text if other is None else other
        # A template of a single line would take what stands between two lines for a value.
        whole = self._whole(text, self._of_lines)
        if whole is not None:
            return whole
        found = [(line, self._line(line)) for line in text.split("\n")]
        if any(other is None for _, other in found):
            # A value may have several lines itself, such as what a database's driver says.
            whole = self._whole(text, self._templates)
        return whole or "\n".join(line if other is None else other for line, other in found)

    def beginning(self, text: str) -> str | None:
        """Return a known text, or the first sentence of the one text that begins so."""
        if text in self._exact:
            return self._exact[text]
        found = [other for english, other in self._exact.items() if english.startswith(text)]
        if len(set(found)) != 1:
            return None
        first, more, _ = found[0].partition(". ")
        return f"{first}." if more else first

    def _line_anew(self, text: str) -> str | None:
        for way in (self._after_bullet, self._known, self._after_prefix, self._sentences):
            found = way(text)
            if found is not None:
                return found
        return None

    def _after_bullet(self, text: str) -> str | None:
        bullet = _BULLET.fullmatch(text)
        rest = None if bullet is None else self._line(bullet[2])
        return None if bullet is None or rest is None else bullet[1] + rest

    def _known(self, text: str) -> str | None:
        whole = self._whole(text, self._templates) or self._amounts(text)
        if whole is not None or not text.endswith("."):
            return whole
        # Some became a sentence where they were put.
        whole = self._whole(text[:-1], self._templates) or self._amounts(text[:-1])
        return None if whole is None else f"{whole}."

    def _after_prefix(self, text: str) -> str | None:
        """Translate what follows ``packet ID:``, a name or a path."""
        packet = _PACKET.fullmatch(text)
        prefix = packet or _PREFIX.fullmatch(text)
        rest = None if prefix is None else self._line(prefix[2])
        if prefix is None or rest is None:
            return None
        name = prefix[1] if packet is None else f"{self._exact.get('packet', 'packet')} {prefix[1]}"
        return f"{name}: {rest}"

    def _amounts(self, text: str) -> str | None:
        """Translate the nouns of ``3 packets``, of ``2 h 05 min`` and of ``2 / 3 packets``."""
        part, slash, rest = text.partition(" / ")
        if slash:
            others = self._amounts(rest)
            return None if others is None else f"{self._amounts(part) or part} / {others}"
        counts = [(count[1], count[2]) for count in _COUNT.finditer(text)]
        if " ".join(f"{number} {noun}" for number, noun in counts) != text or not counts:
            return None
        if any(noun not in self._exact for _, noun in counts):
            return None
        return " ".join(f"{number} {self._exact[noun]}" for number, noun in counts)

    def _whole(self, text: str, templates: Sequence[Template]) -> str | None:
        exact = self._exact.get(text)
        if exact is not None:
            return exact
        for template in templates:
            # Looked at here, as a call for each of some hundred would take twice as long.
            if template.anchor in text and (values := template.values(text)) is not None:
                return template.filled({name: self._value(name, value) for name, value in values.items()})
        return None

    def _value(self, name: str, value: str) -> str:
        if " " in value.strip():
            return self.translate(value)
        # Any other word may be a name that somebody gave.
        return self._exact.get(value, value) if name in _STATES else value

    def _sentences(self, text: str) -> str | None:
        """Translate a row of sentences: the longest beginning that is known, then the rest."""
        for end in reversed([found.start() for found in _SENTENCE_END.finditer(text)]):
            head, rest = text[:end], text[end + 1 :]
            first = self._whole(head, self._templates)
            if first is not None:
                return f"{first} {self._next(rest)}"
        first_end = _SENTENCE_END.search(text)
        if first_end is None:
            return None
        rest = text[first_end.end() :]
        tail = self._next(rest)
        return None if tail == rest else f"{text[: first_end.start()]} {tail}"

    def _next(self, sentence: str) -> str:
        """Translate a sentence that follows others; some are known with the blank before them."""
        found = self._whole(f" {sentence}", self._templates)
        return self.translate(sentence) if found is None else found.removeprefix(" ")


def _text(template: str) -> str:
    """Return a template without values as the text that it is."""
    return template.format() if "{" in template or "}" in template else template
