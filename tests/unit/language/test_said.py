"""Which texts of the source people are told, and that each of them has a translation."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from ktpsync.language._said import FOR_DEVELOPERS, OWN_TRANSLATIONS, SETTINGS, SOURCE, said, told
from ktpsync.language._sources import po_files, untranslated
from ktpsync.language._translate import messages

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''
"""The docstring is not shown."""
log = logging.getLogger("a logger's name.")
_ADVICE = "Plug it in."
_QUIET = "For the log alone."
_MEANINGS = {401: (AuthError, "the credentials are wrong.")}
_SQL = "SELECT one FROM many WHERE id = 1"

def raised(self, path):
    """Nor is this shown."""
    hint = "; perhaps another one" if path else ""
    raise WrongDiskError(f"{self.name}: {path.name} is {_state(path)}{hint}. {_ADVICE}")

def _state(path):
    if path:
        return "a full disk"
    log.warning("%s %s", _QUIET, _quietly(error))
    log.info("This stays in English.")
    raise ValueError("a mistake of the program")

def _quietly(error):
    if "such a table" in error:
        return "For the log, too."

@click.command()
def helpful():
    """What the command does."""

def shown(output, problems):
    output.say("Nothing is lost")
    problems.append("a problem among others")
    yield "one more problem"
'''


def test_what_is_raised_shown_or_put_into_such_a_text_is_told() -> None:
    """Errors, what is shown, and what they are made of; not the log, docstrings, statements and mistakes of programs."""
    assert {
        "Plug it in.",
        "the credentials are wrong.",
        "; perhaps another one",
        "{name}: {name2} is {state}{hint}. {advice}",
        "a full disk",
        "Nothing is lost",
        "a problem among others",
        "one more problem",
        "What the command does.",
    } == set(told(ast.parse(MODULE)))


def test_what_is_wrong_with_a_setting_is_told() -> None:
    """Where settings are checked, a ValueError is shown to whoever wrote them."""
    tree = ast.parse('def check(self):\n    raise ValueError("give both or none")')
    assert [] == list(told(tree))
    assert ["give both or none"] == list(told(tree, settings=True))


@pytest.mark.parametrize("place", [*FOR_DEVELOPERS, *OWN_TRANSLATIONS, *SETTINGS])
def test_the_places_that_are_treated_apart_are_there(place: str) -> None:
    """A file that was moved takes its exception with it, or loses it."""
    assert (SOURCE / place).exists()


@pytest.mark.parametrize("po", po_files(), ids=lambda path: path.stem)
def test_what_people_are_told_is_translated(po: Path) -> None:
    """An error, a problem or a sentence that would be read in English is found here; see the guide on languages."""
    assert {} == untranslated(messages(po)), f"translate them in {po}"


def test_a_text_without_a_translation_is_found(tmp_path: Path) -> None:
    """Also one of which only a part has a translation, and one that another translation would swallow."""
    (tmp_path / "one.py").write_text(
        'raise WrongDiskError("Nothing is lost. Plug in the right disk.")\n'
        'raise WrongDiskError(f"{name} is full: run `ktpsync disk list`.")\n'
        'raise WrongDiskError(f"{name} is read-only and cannot be used.")\n'
    )
    known = {"Nothing is lost.": "Tidak ada yang hilang."}
    assert said(tmp_path) == untranslated(known, tmp_path)
    known |= {
        "Plug in the right disk.": "Pasang diska yang benar.",
        "{name} is full: run `ktpsync disk list`.": "{name} penuh: jalankan `ktpsync disk list`.",
        "{name} is read-only{more}": "{name} hanya-baca{more}",
    }
    assert {"{name} is read-only and cannot be used.": "one.py"} == untranslated(known, tmp_path)
