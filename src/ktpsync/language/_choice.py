"""Which language the reader wants."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ENGLISH: Final = "en"
LANGUAGES: Final = (ENGLISH, "id")
"""Codes of the languages that there are (ISO 639-1)."""

VARIABLE: Final = "KTPSYNC_LANG"
_SYSTEM: Final = ("LC_ALL", "LC_MESSAGES", "LANG")


def reader_language(config: Path | None = None) -> str:
    """Return the language of what people read.

    The environment variable ``KTPSYNC_LANG`` decides, else ``language`` under ``[office]`` in the configuration, else
    the system's ``LC_ALL``, ``LC_MESSAGES`` or ``LANG``. What ktpsync does not speak is English.

    Args:
        config: The configuration file, or the folder that holds ``ktpsync.toml``. Nothing about it is checked here.
    """
    wanted = os.environ.get(VARIABLE) or _configured(config)
    if not wanted:
        wanted = next((os.environ[name] for name in _SYSTEM if os.environ.get(name)), "")
    code = wanted.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return code if code in LANGUAGES else ENGLISH


def _configured(config: Path | None) -> str:
    if config is None:
        return ""
    import tomllib  # noqa: PLC0415 - --help does without

    try:
        # The name is known to the configuration's layer, which is above this one.
        text = (config / "ktpsync.toml" if config.is_dir() else config).read_text(encoding="utf-8")
        office = tomllib.loads(text).get("office", {})
        return str(office.get("language", ""))
    except (OSError, ValueError, AttributeError):
        # What is wrong with the file is told by whoever needs it.
        return ""
