"""The JSON Schema of the file says the same as the program."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import jsonschema
import pytest

from ktpsync import age
from ktpsync.config import check, schema
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from pathlib import Path

RECIPIENT = str(age.generate_identity("x25519").recipient)
OFFICE = f'[office]\ndata = "data"\nrecipients = ["{RECIPIENT}"]\n'
CENTRAL = '[destinations.central]\nbackend = "http"\nurl = "https://central.example/"\n'
USB = '[backups.usb]\nbackend = "disk"\npath = "/media/usb"\n'
SHARED = 'database = "postgresql://server/outbox"\n'
SPOOL = '[spool]\nbackend = "s3"\nbucket = "b"\n'

RIGHT = (
    OFFICE,
    OFFICE + CENTRAL + USB,
    OFFICE + CENTRAL + 'token = "x"\nrate = "64 kB"\nconnect_timeout = 3\n',
    OFFICE + CENTRAL + 'token = { file = "token" }\n',
    OFFICE + CENTRAL + 'read_timeout = "1.5 M"\nrate = "1 kib"\nrequired = false\n',
    OFFICE + '[destinations.a]\nbackend = "s3"\nbucket = "b"\naddressing = "path"\n',
    OFFICE + SHARED + SPOOL,
)
WRONG = (
    "",
    OFFICE + "surprise = 1\n",
    OFFICE + "[surprise]\n",
    OFFICE + CENTRAL + 'timeout = "3s"\n',
    OFFICE + CENTRAL + 'connect_timeout = "3 weeks"\n',
    OFFICE + CENTRAL + "connect_timeout = -3\n",
    OFFICE + CENTRAL + 'token = { env = "A", file = "b" }\n',
    OFFICE + CENTRAL + "token = 3\n",
    OFFICE + CENTRAL + 'concurrency = "3"\n',
    OFFICE + '[destinations.Central]\nbackend = "http"\nurl = "https://central.example/"\n',
    OFFICE + '[destinations.a]\nbackend = "dsik"\n',
    OFFICE + '[destinations.a]\nbackend = "http"\n',
    OFFICE + '[backups.a]\nbackend = "http"\nurl = "https://central.example/"\n',
    OFFICE + '[destinations.a]\nbackend = "s3"\nbucket = "b"\naddressing = "other"\n',
    OFFICE + SPOOL,
    OFFICE + SHARED + SPOOL + 'surprise = "x"\n',
    OFFICE + SHARED + '[spool]\nbucket = "b"\n',
    OFFICE + SHARED + '[spool]\nbackend = "http"\nurl = "https://central.example/"\n',
)


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    """The schema with everything that is installed."""
    found = schema(PluginRegistry.load())
    assert () == found.left_out
    return found.document


def test_it_is_a_schema(document: dict[str, object]) -> None:
    """Of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(document)


@pytest.mark.parametrize("text", RIGHT)
def test_what_the_program_takes_the_schema_takes(
    document: dict[str, object], text: str, tmp_path: Path
) -> None:
    """An editor does not underline what works."""
    (tmp_path / "token").write_text("x")
    (tmp_path / "ktpsync.toml").write_text(text)

    assert [] == check(tmp_path / "ktpsync.toml", PluginRegistry.load())
    jsonschema.validate(tomllib.loads(text), document)


@pytest.mark.parametrize("text", WRONG)
def test_what_the_program_refuses_the_schema_refuses(
    document: dict[str, object], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor says so while somebody types."""
    monkeypatch.setenv("A", "x")
    (tmp_path / "ktpsync.toml").write_text(text)

    assert [] != check(tmp_path / "ktpsync.toml", PluginRegistry.load())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), document)


def test_it_tells_what_each_setting_is(document: dict[str, object]) -> None:
    """The sentences of the docstrings, without their markup, and the defaults."""
    places = document["properties"]["destinations"]["additionalProperties"]["oneOf"]  # type: ignore[index]
    disk = next(place for place in places if place["title"] == "disk")["properties"]

    assert "Deliveries at one time, at most." == disk["concurrency"]["description"]
    assert 4 == disk["concurrency"]["default"]
    assert disk["path"]["description"].startswith("The folder that was marked with `ktpsync disk init`")
    assert {"env", "file", "keyring"} <= {
        name
        for place in places
        for setting in place["properties"].values()
        for kind in setting.get("anyOf", ())
        for name in kind.get("properties", ())
    }


def test_a_backend_that_cannot_be_imported_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the schema is still of use."""
    monkeypatch.setitem(__import__("sys").modules, "ktpsync.backends.s3.backend", None)

    found = schema(PluginRegistry.load())

    assert ["The backend 's3'"] == [line[:16] for line in found.left_out]
    jsonschema.Draft202012Validator.check_schema(found.document)
