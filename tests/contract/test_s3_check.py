"""What `ktpsync plugins --check` tells of an S3 endpoint: what it was found to do, and what is wrong."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from click.testing import CliRunner

import ktpsync
from ktpsync.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def check(folder: Path, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Return exit code and words of a check of a bucket."""
    recipient = str(ktpsync.age.generate_identity("x25519").recipient)
    table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    places = f'[destinations.offsite]\nbackend = "s3"\n{table}'
    ktpsync.init_office(folder, recipients=[recipient], places=places)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, ["plugins", "--check", "offsite"])
    return result.exit_code, result.output


def test_the_endpoint_s_abilities_are_shown(
    s3_settings: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Servers differ; here one sees in what. The key is in no log, not even of the libraries."""
    caplog.set_level(logging.DEBUG)
    code, told = check(tmp_path, s3_settings, monkeypatch)

    assert (0, "[destinations.offsite] (s3): well") == (code, told.splitlines()[0])
    assert str(s3_settings["endpoint"]) in told
    assert "conditional" in told
    assert caplog.records
    assert str(s3_settings["secret_key"]) not in caplog.text


def test_a_missing_bucket_is_told(
    s3_settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its name, and without the key."""
    code, told = check(tmp_path, {**s3_settings, "bucket": "not-there"}, monkeypatch)

    assert code == 4
    assert "not-there" in told
    assert str(s3_settings["secret_key"]) not in told


def test_a_missing_bucket_is_told_in_indonesian(
    s3_settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong and what to do, in the reader's language, whatever server says it."""
    monkeypatch.setenv("KTPSYNC_LANG", "id")
    code, told = check(tmp_path, {**s3_settings, "bucket": "not-there"}, monkeypatch)

    assert (4, "[destinations.offsite] (s3): bermasalah") == (code, told.splitlines()[0])
    assert "penyimpanan menjawab 404: tidak ada bucket 'not-there'. Buat bucket itu atau perbaiki" in told
