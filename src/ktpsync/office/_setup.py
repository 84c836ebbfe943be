"""Sets up a new office: its folder, its keys and its configuration file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync import age, files
from ktpsync.config import CONFIG_NAME, parse_recipients, read_recipients_file
from ktpsync.errors import ConfigError
from ktpsync.keys import IndexKey, StationKey
from ktpsync.office._key_tests import short_recipient
from ktpsync.office._layout import DataFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

RECIPIENTS_NAME: Final = "recipients.txt"

_CONFIGURATION: Final = """\
[office]
data = "data"
recipients_file = {recipients_file}

"""

_EXAMPLE_PLACES: Final = """\
# Where packets are delivered. Every packet goes to every destination.
#
# [destinations.central]
# backend = "http"
# url = "https://central.example/"
# token = { env = "KTPSYNC_TOKEN" }

# Where backups are kept. Prepare a disk once with `ktpsync disk init PATH`.
#
# [backups.usb-a]
# backend = "disk"
# path = "/media/usb-a"
"""


def init_office(
    folder: Path | str, *, recipients: Iterable[str | age.Recipient], places: str = _EXAMPLE_PLACES
) -> Path:
    """Set up a new office in a folder: configuration, station key and index key.

    Run again after an interruption it completes what is missing; it overwrites nothing.

    Args:
        folder: Where; made if missing.
        recipients: age recipients that every packet will be sealed to, as text or as :mod:`ktpsync.age` has them; at
            least one.
        places: TOML text of the destinations and backups. The file with them is readable by its owner alone.

    Returns:
        The configuration file.

    Raises:
        ConfigError: A recipient cannot be read or is given twice, or the folder is an office already, or has the data of one, or
            becomes one by a restore.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    from ktpsync.backup import RESTORE_MARKER  # noqa: PLC0415 - nothing else of a restore is needed here

    if (DataFolder(folder / "data").root / RESTORE_MARKER).exists():
        raise ConfigError(
            f"{folder} holds a restore that has not ended. Run the same `ktpsync restore` again: it goes on, and sets the office "
            "up. Or delete the folder and begin anew."
        )
    texts = _texts(recipients)
    _refuse_an_office(folder, texts)
    twice = sorted(short_recipient(text) for text in set(texts) if texts.count(text) > 1)
    if twice:
        raise ConfigError(
            f"The same recipient is given twice: {', '.join(twice)}. Another one was meant: look which file belongs to which key."
        )
    return make_office(folder, recipients=texts, places=places)


def _refuse_an_office(folder: Path, recipients: Sequence[str]) -> None:
    """Refuse a folder that holds an office whose configuration is away; what an interrupted run has left is no office yet."""
    if (folder / CONFIG_NAME).exists():
        return
    data = DataFolder(folder / "data")
    if data.database.exists() or (data.spool.is_dir() and any(data.spool.iterdir())):
        raise ConfigError(
            f"{folder} holds the data of an office without its {CONFIG_NAME}; nothing was changed. Put that file back; by hand it "
            'begins with the lines `[office]`, `data = "data"` and `recipients_file = "recipients.txt"`. Or choose another folder.'
        )
    there = folder / RECIPIENTS_NAME
    if there.exists() and read_recipients_file(there) != list(recipients):
        raise ConfigError(
            f"{there} exists already and names other recipients; nothing was changed. Give the same ones, or move it away."
        )


def _texts(recipients: Iterable[str | age.Recipient]) -> list[str]:
    if isinstance(recipients, str | age.Recipient) or not isinstance(recipients, Iterable):
        raise ConfigError(
            "The recipients of an office are a list, also where it is only one: recipients=[recipient]."
        )
    texts = []
    for recipient in recipients:
        if not isinstance(recipient, str | age.Recipient):
            raise ConfigError(
                f"A recipient is a text, such as age1..., or a recipient of ktpsync.age, not {type(recipient).__name__}."
            )
        texts.append(str(recipient))
    return texts


def make_office(folder: Path, *, recipients: Sequence[str], places: str = _EXAMPLE_PLACES) -> Path:
    """Set up an office as :func:`init_office` does, also at the end of a restore."""
    config = folder / CONFIG_NAME
    if config.exists():
        raise ConfigError(
            f"{config} exists already: this folder is an office. Edit the file, or choose another folder."
        )
    if not recipients:
        raise ConfigError(
            "An office needs at least one recipient, or nobody could ever open its packets. "
            "`ktpsync keygen` makes a key pair and prints the recipient."
        )
    parse_recipients(recipients, where="recipients")
    data = DataFolder(folder / "data")
    files.make_folder(data.spool)
    files.make_folder(data.station_key.parent, mode=0o700)
    if not data.station_key.exists():
        StationKey.generate().save(data.station_key)
    public_key = StationKey.load(data.station_key).public
    files.write_atomic(data.station_public_key, public_key.to_pem())
    if not data.index_key.exists():
        IndexKey.generate().save(data.index_key)
    files.write_atomic(folder / RECIPIENTS_NAME, "".join(f"{line}\n" for line in recipients).encode("ascii"))
    text = _CONFIGURATION.format(recipients_file=json.dumps(RECIPIENTS_NAME)) + places
    # The places may hold secrets.
    files.write_atomic(config, text.encode("utf-8"), mode=0o600, replace=False)
    return config
