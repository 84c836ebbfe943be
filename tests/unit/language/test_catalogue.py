"""The catalogues: whole, up to date with the source, and without templates that would catch other messages."""

from __future__ import annotations

import io
import re
import string
from typing import TYPE_CHECKING

import pytest

from ktpsync.language import ENGLISH, LANGUAGES
from ktpsync.language._sources import compiled, po_files, source_templates
from ktpsync.language._translate import Translator, fields_of, messages, read_messages

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = "; run `python -m ktpsync.language._sources` after correcting it"


@pytest.fixture(params=po_files(), ids=lambda path: path.parts[-3])
def po(request: pytest.FixtureRequest) -> Path:
    """A catalogue that people edit."""
    path: Path = request.param
    return path


@pytest.fixture
def catalogue(po: Path) -> dict[str, str]:
    """What the program reads of it."""
    return dict(messages(po.with_suffix(".mo")))


def test_every_language_has_a_catalogue() -> None:
    """And there is no catalogue that nobody could choose."""
    assert sorted(LANGUAGES) == sorted([ENGLISH, *(path.parts[-3] for path in po_files())])


def test_what_the_program_reads_is_what_people_edited(po: Path) -> None:
    """A ``.po`` file was not changed without its ``.mo`` file."""
    edited = read_messages(io.BytesIO(compiled(po)))
    assert edited == messages(po.with_suffix(".mo")), f"{po} was changed{AGAIN}"


def test_every_message_is_still_in_the_source(po: Path, catalogue: dict[str, str]) -> None:
    """A message that was changed in the source is found here, before its translation is silently lost."""
    gone = sorted(set(catalogue) - source_templates())
    assert [] == gone, f"changed in the source: change or remove them in {po}, too{AGAIN}"


def test_every_message_is_translated_with_its_values(po: Path, catalogue: dict[str, str]) -> None:
    """No value is lost and none is invented; spaces at the ends stay, as sentences are put together."""
    from babel.messages.pofile import read_po

    with po.open("rb") as file:
        entries = {entry.id: entry for entry in read_po(file) if entry.id}
    assert set(entries) == set(catalogue)
    for english, other in catalogue.items():
        assert other, english
        assert not entries[english].fuzzy, english
        assert sorted(fields_of(english)) == sorted(fields_of(other)), english
        assert _ends(english) == _ends(other), english


def _ends(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def test_commands_and_settings_stay_as_they_are_typed(catalogue: dict[str, str]) -> None:
    """What stands in backquotes is typed by the reader: only its words in capitals may be another language's."""
    for english, other in catalogue.items():
        ours = [_typed(text) for text in re.findall(r"`[^`]*`", english)]
        assert ours == [_typed(text) for text in re.findall(r"`[^`]*`", other)], english


def _typed(text: str) -> str:
    return re.sub(r"\b[A-Z_]{3,}\b", "WORD", text)


def test_each_message_finds_its_own_translation(catalogue: dict[str, str]) -> None:
    """No template is so general that it takes another's message."""
    translate = Translator(catalogue).translate
    for english, other in catalogue.items():
        values = {name: f"<{number}>" for number, name in enumerate(fields_of(english))}
        literal = "".join(text for text, _, _, _ in string.Formatter().parse(english))
        assert sum(map(str.isalpha, literal)) >= (4 if values else 1), f"too general: {english}"
        assert other.format_map(values) == translate(english.format_map(values)), english
