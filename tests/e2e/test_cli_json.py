"""``--json``: a program reads standard output and standard error of every command, whatever happens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

import ktpsync
from command_line import BAD_INPUT, FAILED, USAGE, Answer, every_command, run
from ktpsync import records
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = "01900000-0000-7000-8000-000000000000"
WHO = ("--who", "ana")
WHY = (*WHO, "--why", "asked")

# In order: each finds what those before it have left.
COMMANDS: dict[str, tuple[str, ...]] = {
    "config check": (),
    "config schema": (),
    "keygen": ("-o", "another.txt"),
    "init": ("second-office", "--recipients-file", "../recipients.txt"),
    "disk init": ("disk",),
    "disk list": (),
    "submit": ("captured", "--skip-bad"),
    "keys list": (),
    "keys test": ("--identity", "../safe.txt"),
    "keys recipient": ("--identity", "../safe.txt"),
    "keys replace-station": WHY,
    "status": (),
    "packets": (),
    "sync": (),
    "rejected": (),
    "reconcile": (),
    "requeue": (UNKNOWN, "usb", *WHY),
    "requeue-rejected": ("usb", *WHY),
    "cancel": (UNKNOWN, "usb", *WHY),
    "handled": (UNKNOWN, "usb", *WHY),
    "destination list": (),
    "destination set": ("usb", "--rate", "1MiB", *WHO),
    "destination pause": ("usb", *WHY),
    "destination resume": ("usb", *WHO),
    "resume": ("usb", *WHO),
    "destination retire": ("usb", *WHY),
    "backup make": ("usb",),
    "backup list": ("usb",),
    "backup drill": ("usb", "--identity", "../safe.txt"),
    "backup prune": ("usb", "--keep-last", "1"),
    "backup forget": ("usb", *WHY),
    "verify": ("usb",),
    "extract": ("usb", UNKNOWN, "--into", "taken"),
    "restore": ("../usb", "--into", "restored", "--identity", "../safe.txt"),
    "rewrap": ("--identity", "../safe.txt", *WHO),
    "audit verify": (),
    "audit export": (),
    "doctor": ("--read",),
    "plugins": (),
    "plugins new": ("carrier",),
    "demo": ("--enrollments", "2"),
}
ENDLESS = ("run", "central")
"""These serve until they are stopped; other tests stop them."""

ONE_A_LINE = {"audit export"}


def documents(answer: Answer, *, one_a_line: bool = False) -> list[Any]:
    """Return what a program reads from standard output; standard error has one document a line."""
    for line in answer.err.splitlines():
        assert "event" in json.loads(line)
    return [json.loads(line) for line in answer.out.splitlines()] if one_a_line else [answer.json()]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An office with a disk, three people, one of them with problems, and a destination that cannot be used."""
    folder = tmp_path_factory.mktemp("json")
    identity = ktpsync.age.generate_identity()
    ktpsync.age.write_identity_file(folder / "safe.txt", identity)
    (folder / "recipients.txt").write_text(f"{identity.recipient}\n")
    ktpsync.init_disk(folder / "usb")
    (folder / "office" / "disk").mkdir(parents=True)
    ktpsync.init_office(
        folder / "office",
        recipients=[str(identity.recipient)],
        places="[destinations.usb]\nbackend = 'disk'\npath = '../usb'\n[destinations.odd]\nbackend = 'carrier-pigeon'\n"
        "[backups.usb]\nbackend = 'disk'\npath = '../usb'\n",
    )
    for seed in range(3):
        records.save_folder(make_enrollment(seed, size=4000), folder / f"office/captured/{seed}")
    next((folder / "office/captured/1/biometrics").iterdir()).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "office")
        yield folder / "office"
    shutil.rmtree(folder)


def test_the_table_has_every_command() -> None:
    """A new command is tested, too."""
    by_themselves = [
        " ".join(path)
        for path, command in every_command()
        if not isinstance(command, click.Group) or command.invoke_without_command
    ]
    assert set(by_themselves) == {*COMMANDS, *ENDLESS}


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=pytest.mark.slow) if name == "demo" else name for name in COMMANDS],
)
def test_only_json_comes_out(office: Path, command: str) -> None:
    """Whether it works, finds problems or fails: one document on standard output, events on standard error."""
    answer = run(*command.split(), *COMMANDS[command], "--json")
    found = documents(answer, one_a_line=command in ONE_A_LINE)
    assert USAGE != answer.code
    assert all(isinstance(document, dict) for document in found)


@pytest.mark.parametrize("command", [*COMMANDS, *ENDLESS])
def test_a_wrong_command_line_is_told_as_json(command: str) -> None:
    """The error's class, message and exit code are where the result would be."""
    (document,) = documents(answer := run(*command.split(), "--wrong", "--json"))
    assert (USAGE, USAGE) == (answer.code, document["error"]["exit"])
    assert "--wrong" in document["error"]["message"]


def test_an_error_is_told_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the office cannot even be opened, for commands that end and for the one that does not."""
    monkeypatch.chdir(tmp_path)
    for command in ("status", "run", "audit export"):
        (document,) = documents(answer := run(*command.split(), "--json"))
        assert (BAD_INPUT, "ConfigError") == (answer.code, document["error"]["class"])
    Path("ktpsync.toml").mkdir()
    (document,) = documents(answer := run("config", "check", "--json"))
    assert answer.code in {FAILED, BAD_INPUT}
    assert document["error"]["message"]
