"""No plaintext reaches a disk, not for a moment, and no secret stands on a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import ktpsync
from ktpsync.cli import main
from ktpsync.errors import AgeError
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHED_SUBMIT = """
import json, os, sys
import ktpsync
from ktpsync.testing import make_enrollment

written = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        written.append(os.fsdecode(arguments[0]))

with ktpsync.Office.open(sys.argv[1]) as office:
    sys.addaudithook(watch)
    office.submit(make_enrollment(1))
print(json.dumps(written))
"""


def test_sealing_writes_no_other_file_than_the_sealed_one(tmp_path: Path) -> None:
    """During a submit the program opens one file for writing, besides the note on its trail: the packet's, under its temporary name."""
    config = ktpsync.init_office(
        tmp_path / "office", recipients=[str(ktpsync.age.generate_identity().recipient)]
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    done = subprocess.run(
        [sys.executable, "-c", WATCHED_SUBMIT, str(config)],
        env={**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    (written,) = {
        path
        for path in map(Path, json.loads(done.stdout))
        if path.suffix != ".lock" and not path.name.startswith("..trail.json.")
    }
    (packet,) = (tmp_path / "office" / "data" / "spool").rglob("*.age")
    assert (packet.parent, f".{packet.name}.") == (written.parent, written.name[: len(packet.name) + 2])
    assert b"age-encryption.org/v1" == packet.read_bytes()[:21]
    assert [] == list(temporary.rglob("*"))


def test_sealing_fails_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be encrypted there is no packet: no row, no file, and an error."""
    config = ktpsync.init_office(
        tmp_path / "office", recipients=[str(ktpsync.age.generate_identity().recipient)]
    )

    def broken(*_: object, **__: object) -> bytes:
        raise AgeError("The cipher is not there.")

    with ktpsync.Office.open(config) as office:
        before = sorted(office.data.root.rglob("*"))
        monkeypatch.setattr("ktpsync.age.encrypt", broken)
        with pytest.raises(AgeError):
            office.submit(make_enrollment(1, size=4000))
        assert [] == list(office.outbox.packets())
        assert before == sorted(office.data.root.rglob("*"))


def commands(group: click.Group) -> Iterator[click.Command]:
    """Yield every command below a group."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Every user of a machine can read the arguments of its processes; secrets come from files."""
    secret = ("passphrase", "password", "token", "secret", "key")
    harmless = (click.Path, click.types.BoolParamType, click.types.IntParamType)
    found = [
        (command.name, parameter.name)
        for command in commands(main)
        for parameter in command.params
        if any(word in str(parameter.name) for word in secret) and not isinstance(parameter.type, harmless)
    ]
    assert [] == found
