"""The catalogues: whole, up to date with the source, and without templates that would catch other messages."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from ktpsync.errors import NikError
from ktpsync.language import ENGLISH, LANGUAGES, translated
from ktpsync.language._sources import po_files, source_templates
from ktpsync.language._translate import LOCALE, Translator, fields_of, messages
from ktpsync.records import Nik
from ktpsync.records._catalogue import CATALOGUE


@pytest.fixture(params=po_files(), ids=lambda path: path.stem)
def po(request: pytest.FixtureRequest) -> Path:
    """A catalogue that people edit."""
    path: Path = request.param
    return path


@pytest.fixture
def catalogue(po: Path) -> dict[str, str]:
    """What the program reads of it."""
    return messages(po)


def test_every_language_has_a_catalogue() -> None:
    """And there is no catalogue that nobody could choose."""
    assert sorted(LANGUAGES) == sorted([ENGLISH, *(path.stem for path in po_files())])


def test_what_the_program_reads_is_what_gettext_reads(po: Path, catalogue: dict[str, str]) -> None:
    """The file is one for gettext's tools and editors, with every message once and none in doubt."""
    with po.open("rb") as file:
        known = read_po(file, abort_invalid=True)
    assert {entry.id: entry.string for entry in known if entry.id} == catalogue
    assert [] == [entry.id for entry in known if entry.fuzzy and entry.id]
    assert len(catalogue) == po.read_text(encoding="utf-8").count("\nmsgid ") - 1


def test_every_message_is_still_in_the_source(po: Path, catalogue: dict[str, str]) -> None:
    """A message that was changed in the source is found here, before its translation is silently lost."""
    gone = sorted(set(catalogue) - source_templates())
    assert [] == gone, f"changed in the source: change or remove them in {po}, too"


def test_every_message_is_translated_with_its_values(catalogue: dict[str, str]) -> None:
    """No value is lost and none is invented; spaces at the ends stay, as sentences are put together."""
    for english, other in catalogue.items():
        assert other, english
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


def test_the_words_of_the_field_are_used(catalogue: dict[str, str]) -> None:
    """One word for one thing: what the guide's table of terms says not to write stands in no translation."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "languages.md").read_text(encoding="utf-8")
    rows = [line.split("|")[3] for line in page.partition("## Terms")[2].splitlines() if line.startswith("|")]
    avoided = [word.strip() for cell in rows[2:] for word in cell.partition(", which")[0].split(", ")]
    assert len(avoided) > 20
    found = re.compile(rf"\b({'|'.join(avoided)})\b", re.IGNORECASE)
    for english, other in catalogue.items():
        told = re.sub(
            r"`[^`]*`|\{\w+\}|--[\w-]+|\[[\w.-]+\]|status pendaftaran", "", other, flags=re.IGNORECASE
        )
        assert found.search(told) is None, english


def test_the_clerks_guide_shows_messages_that_there_are() -> None:
    """A message in the guide is found by its reader on the screen, word for word."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "petugas.md"
    part = page.read_text(encoding="utf-8").partition("| pesan | langkah |")[2].partition("\n\n")[0]
    shown = [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")]
    known = [re.sub(r"\{\w+\}", "…", text) for text in messages(LOCALE / "id.po").values()]
    assert len(shown) > 10
    for message in shown:
        parts = [text.strip() for text in message.split("…") if text.strip()]
        assert any(all(text in other for text in parts) for other in known), message


def test_what_is_wrong_with_a_nik_is_told_alike() -> None:
    """As an error of its own, and as a problem of a record, which has its translations beside it."""
    catalogue = messages(LOCALE / "id.po")
    texts = [
        CATALOGUE[code]
        for code in CATALOGUE
        if code.startswith("nik.") and CATALOGUE[code].severity == "error"
    ]
    assert {text.english: text.indonesian for text in texts} == {
        text.english: catalogue[text.english] for text in texts
    }
    with pytest.raises(NikError) as caught:
        Nik("3171013102990001")
    assert translated(caught.value, "id").startswith(
        "Angka ke-7 sampai ke-10 NIK adalah tanggal dan bulan kalender;"
    )
