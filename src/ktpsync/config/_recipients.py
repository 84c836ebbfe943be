"""Who can open packets: age recipients as text, and files of them."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING

from ktpsync import age
from ktpsync.errors import ConfigError, KeyFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def parse_recipients(texts: Sequence[str], *, where: str) -> tuple[age.Recipient, ...]:
    """Return the recipients of these texts.

    Raises:
        ConfigError: Some cannot be read; all of them are named.
    """
    recipients, problems = [], []
    for number, text in enumerate(texts, start=1):
        if text.upper().startswith("AGE-SECRET-KEY"):
            # Nothing of it is shown.
            problems.append(
                f"  - number {number} is a private key, which must not be on a station. Its recipient is meant, age1...: "
                "`ktpsync keys recipient --identity FILE` prints it."
            )
            continue
        try:
            recipients.append(age.parse_recipient(text))
        except KeyFormatError as error:
            problems.append(f"  - {text[:24]}...: {error}")
    if problems:
        raise ConfigError("\n".join([f"{where}: not age recipients:", *problems]))
    return tuple(recipients)


def read_recipients_file(path: Path) -> list[str]:
    """Return the age recipients in a file, one a line; ``#`` starts a comment.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
        # What Windows' own shell and editor write begins with a mark.
        encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        lines = content.decode(encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"The file of recipients {path} cannot be read: {why}.") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
