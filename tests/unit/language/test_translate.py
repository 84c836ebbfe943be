"""Messages in the reader's language: how a template is found, and what stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from ktpsync import records
from ktpsync.errors import ConfigError, ValidationError, WrongDiskError
from ktpsync.language import _translate, reader_language, translated
from ktpsync.language._translate import Translator
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {
    "packets": "paket",
    "h": "jam",
    "min": "mnt",
    "It is tried again.": "Akan dicoba lagi.",
    "{host} refuses connections. The centre is down.": "{host} menolak sambungan. Pusat mati.",
    "Backed up {counted} in {duration}: snapshot {head}.": "{counted} dicadangkan dalam {duration}: snapshot {head}.",
    "{said}: the token has expired.": "{said}: token kedaluwarsa.",
    "{path} has problems:\n{lines}": "{path} bermasalah:\n{lines}",
    "this setting is missing": "pengaturan ini belum ada",
    "{name} and {name} again": "{name} dan {name} lagi",
    "{name}: the disk {called} is away. Plug it in.": "{name}: diska {called} tidak terpasang. Pasang diskanya.",
    "None of {name} is there:": "{name} tidak ada:",
    "out of reach: {value}": "tidak terjangkau: {value}",
    "{name}: {disk} is full.": "{name}: {disk} penuh.",
    "the file {path}": "berkas {path}",
    "the file {path} cannot be read": "berkas {path} tidak terbaca",
    "disk": "diska",
    "delivered": "terkirim",
    "The database is away ({reason}). Try again.": "Basis data tidak ada ({reason}). Coba lagi.",
    "Packet {packet_id} is {standing}.": "Paket {packet_id}: {standing}.",
    "the backend {name} has no author": "backend {name} tanpa pembuat",
    " It is known.": " Diketahui.",
}


@pytest.mark.parametrize(
    ("english", "indonesian"),
    [
        ("packets", "paket"),
        ("3 packets", "3 paket"),
        ("1 / 3 packets", "1 / 3 paket"),
        ("2 h 05 min", "2 jam 05 mnt"),
        (
            "Backed up 3 packets in 2 h 05 min: snapshot a.b.",
            "3 paket dicadangkan dalam 2 jam 05 mnt: snapshot a.b.",
        ),
        # A row of sentences, behind the name of a destination; the first one has a value with a colon.
        (
            "central: 127.0.0.1:9 refuses connections. The centre is down. It is tried again.",
            "central: 127.0.0.1:9 menolak sambungan. Pusat mati. Akan dicoba lagi.",
        ),
        ("Somebody else's words. It is tried again.", "Somebody else's words. Akan dicoba lagi."),
        ("central: x answered 401: the token has expired.", "central: x answered 401: token kedaluwarsa."),
        (
            "/a b/c.toml has problems:\n  - [office] data: this setting is missing\n  - unknown",
            "/a b/c.toml bermasalah:\n  - [office] data: pengaturan ini belum ada\n  - unknown",
        ),
        ("a and a again", "a dan a lagi"),
        ("a and b again", "a and b again"),
        ("nothing of this is known", "nothing of this is known"),
        # Of several lines each is a message of its own, and a value does not go from one to the other.
        (
            "None of 'usb' is there:\n  - a: the disk x is away. Plug it in.\n  - b: the disk y is away. Plug it in.",
            (
                "'usb' tidak ada:\n  - a: diska x tidak terpasang. Pasang diskanya.\n"
                "  - b: diska y tidak terpasang. Pasang diskanya."
            ),
        ),
        ("  - unknown\n  1 disk", "  - unknown\n  1 diska"),
        # What a message begins with counts more than how long its other parts are.
        ("out of reach: usb-a: the disk is full.", "tidak terjangkau: usb-a: the disk penuh."),
        ("the file /a cannot be read", "berkas /a tidak terbaca"),
        ("a.toml: 3 packets.", "a.toml: 3 paket."),
        # Unless it has several lines itself.
        (
            "The database is away (no server\n\tat this port?). Try again.",
            "Basis data tidak ada (no server\n\tat this port?). Coba lagi.",
        ),
        # The name that a message begins with is left out where it was said already.
        (
            "usb-a is left: the disk x is away. Plug it in.",
            "usb-a is left: diska x tidak terpasang. Pasang diskanya.",
        ),
        ("the disk x is away. Plug it in.", "diska x tidak terpasang. Pasang diskanya."),
        ("[x]: the backend 'y' has no author.", "[x]: backend 'y' tanpa pembuat."),
        ("Packet 1 is delivered.", "Paket 1: terkirim."),
        (" It is known.", " Diketahui."),
        # A destination may be called like a word.
        ("packets refuses connections. The centre is down.", "packets menolak sambungan. Pusat mati."),
        ("", ""),
    ],
)
def test_translating(english: str, indonesian: str) -> None:
    """The template that a message was made from is found, and so are those of its values."""
    assert indonesian == Translator(KNOWN).translate(english)


@pytest.mark.parametrize(
    "text", ["".join(f"word {number}. " for number in range(60)), "a: " * 120, "a b; c d: " * 60]
)
def test_a_text_of_many_parts_takes_no_longer_than_its_parts(text: str) -> None:
    """A plugin may say much that is not known; each part is looked at once, not once for each way to get there."""
    text = text.strip()

    assert text == translated(text, "id")
    assert f"{text}. Akan dicoba lagi." == Translator(KNOWN).translate(f"{text}. It is tried again.")


@pytest.mark.parametrize("trouble", [OSError("no catalogue"), KeyError("value"), RecursionError()])
def test_whatever_goes_wrong_the_message_is_shown(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In English: a catalogue that is gone or wrong takes no command down, and hides no error."""

    def fail(_language: str) -> Translator:
        raise trouble

    monkeypatch.setattr(_translate, "translator", fail)

    assert "the disk is full" == translated(WrongDiskError("the disk is full"), "id")


def test_errors_and_problems_are_translated() -> None:
    """An application shows a clerk what an error says, with the problems of a record in their own words."""
    error = WrongDiskError(
        "No marked disk at /media/a. Plug in the right disk; to use a new one, run `ktpsync disk init /media/a`."
    )
    assert translated(error, "id").startswith(
        "Tidak ada diska bertanda di /media/a. Pasang diska yang benar;"
    )
    assert str(error) == translated(error, "en")
    assert "a plugin's own words" == translated(ConfigError("a plugin's own words"), "id")

    enrollment = make_enrollment(1, size=4000)
    bad = attrs.evolve(enrollment, biodata=attrs.evolve(enrollment.biodata, full_name=""))
    with pytest.raises(ValidationError) as caught:
        records.validate(bad)
    told = translated(caught.value, "id").split("\n")
    assert "Data perekaman ini memiliki 1 masalah; perbaiki lalu simpan lagi:" == told[0]
    assert "  - biodata.full_name: Nama kosong. [name.empty]" in told
    assert "biodata.full_name: Nama kosong. [name.empty]" == translated(caught.value.problems[0], "id")


@pytest.mark.parametrize(
    ("environment", "configured", "language"),
    [
        ({}, None, "en"),
        ({"LANG": "id_ID.UTF-8"}, None, "id"),
        ({"LANG": "C.UTF-8"}, None, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "id_ID"}, None, "id"),
        ({"LANG": "id_ID.UTF-8", "LC_ALL": "de_DE"}, None, "en"),
        ({"LANG": "id"}, "en", "en"),
        ({}, "id", "id"),
        ({"KTPSYNC_LANG": "en"}, "id", "en"),
        ({"KTPSYNC_LANG": "id-ID"}, None, "id"),
        ({"KTPSYNC_LANG": ""}, "id", "id"),
    ],
)
def test_choosing(
    environment: dict[str, str],
    configured: str | None,
    language: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment's own variable, then the office's configuration, then the system; else English."""
    for name in ("KTPSYNC_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "ktpsync.toml"
    config.write_text("" if configured is None else f'[office]\nlanguage = "{configured}"\n')
    assert language == reader_language(config) == reader_language(tmp_path)


@pytest.mark.parametrize("text", ["not TOML [", "office = 3", "[office]\nlanguage = 3", "\xff"])
def test_a_configuration_that_cannot_be_read_is_told_by_others(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choosing a language never fails: the error about the file is to be shown in some language."""
    monkeypatch.delenv("KTPSYNC_LANG")
    monkeypatch.setenv("LC_ALL", "id_ID")
    (tmp_path / "ktpsync.toml").write_bytes(text.encode("latin-1"))
    assert reader_language(tmp_path) in {"id", "en"}
    assert "id" == reader_language(tmp_path / "missing.toml") == reader_language()
