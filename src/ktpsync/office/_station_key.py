"""A new signing key for a station whose key is lost, damaged or in other hands."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ktpsync import config as configuration
from ktpsync import files
from ktpsync.errors import KeyFileError
from ktpsync.keys import StationKey, StationPublicKey
from ktpsync.office._layout import DataFolder
from ktpsync.office._office import Office
from ktpsync.outbox import check_decision
from ktpsync.plugins import PluginRegistry

if TYPE_CHECKING:
    from ktpsync.config import Configuration


@frozen(kw_only=True)
class StationKeyReplaced:
    """A station's new signing key.

    Args:
        key_id: Its id.
        public_key: The file to give to the centre.
        before: The id of the key before; ``None`` if no trace of it was left.
        kept: Where the private half of the key before is kept, if it was still there.
    """

    key_id: str
    public_key: Path
    before: str | None
    kept: Path | None


def replace_station_key(config: Path | str, *, who: str, why: str) -> StationKeyReplaced:
    """Give a station a new signing key; what the key before has signed is still believed here.

    Packets that are sealed already keep their signature. The centre must be given the new public key before it
    is sent packets that are recorded from now on. The key before is set aside, never deleted.

    Args:
        config: The configuration file, or its folder.
        who: Who decides this; kept in the audit trail.
        why: Why; kept in the audit trail.

    Raises:
        ConfigError: The configuration has problems, or nobody or no reason is named.
        OSError: A file cannot be written; run it again.
    """
    check_decision(who, why)
    settings = configuration.load(Path(config), secrets=PluginRegistry.load().secret_sources())
    data = DataFolder(settings.office.data)
    before = _believed_before(data)
    kept = None
    if data.station_key.exists():
        kept = data.station_key.with_name(f"station-before-{time.time_ns()}.pem")
        data.station_key.rename(kept)
    key = StationKey.generate()
    files.write_atomic(data.station_public_key, key.public.to_pem())
    key.save(data.station_key)
    _tell(settings, key, before, who=who, why=why)
    return StationKeyReplaced(
        key_id=key.public.key_id,
        public_key=data.station_public_key,
        before=None if before is None else before.key_id,
        kept=kept,
    )


def _believed_before(data: DataFolder) -> StationPublicKey | None:
    """Note the public half of the present key among those that are believed, as far as there is a trace of it."""
    found = None
    with contextlib.suppress(KeyFileError, OSError):
        found = StationPublicKey.from_pem(data.station_public_key.read_bytes())
    with contextlib.suppress(KeyFileError):
        found = StationKey.load(data.station_key).public
    if found is not None:
        files.make_folder(data.earlier_stations)
        files.write_atomic(data.earlier_stations / f"{found.key_id}.pem", found.to_pem())
    return found


def _tell(
    settings: Configuration, key: StationKey, before: StationPublicKey | None, *, who: str, why: str
) -> None:
    with Office.open(settings) as office:
        office.outbox.tell(
            "station-key-replaced",
            who=who,
            why=why,
            key=key.public.key_id,
            before=None if before is None else before.key_id,
        )
