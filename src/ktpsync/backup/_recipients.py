"""Who could restore from a repository, and since when: written down beside the snapshots, which come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import uuid6
from attrs import frozen

from ktpsync.backup._documents import RecipientsEntry, dump, load
from ktpsync.clock import utc_from_ms, utc_text
from ktpsync.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.backup._repository import Repository
    from ktpsync.clock import Clock

RECIPIENTS_PREFIX: Final = "recipients/"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@frozen(kw_only=True)
class RecipientsSince:
    """Recipients, and since when what is new is sealed to them.

    Args:
        since: RFC 3339, UTC.
        station: Key id of the station whose snapshots they open; empty for those of the beginning.
        recipients: age recipients.
    """

    since: str
    station: str
    recipients: tuple[str, ...]


def recipient_history(repository: Repository) -> list[RecipientsSince]:
    """Return who could restore from a repository, oldest first.

    Raises:
        BackendError: The storage cannot be reached.
    """
    found = [
        RecipientsSince(
            since=repository.marker.created_at, station="", recipients=repository.marker.recipients
        ),
    ]
    for key in sorted(info.key for info in repository.storage.list(RECIPIENTS_PREFIX)):
        try:
            entry = load(RecipientsEntry, repository.read(key), key)
        except BackupError:
            # A damaged line of the history costs that line.
            continue
        found.append(RecipientsSince(since=entry.since, station=entry.station, recipients=entry.recipients))
    return found


def note_recipients(repository: Repository, recipients: Sequence[str], *, station: str, clock: Clock) -> None:
    """Write down that what is new of a station is sealed to these recipients, if that is new.

    Args:
        repository: Where.
        recipients: age recipients.
        station: The station's key id.
        clock: The clock to ask.

    Raises:
        BackendError: The storage cannot be reached.
    """
    known = [line for line in recipient_history(repository) if line.station in {"", station}]
    if set(known[-1].recipients) == set(recipients):
        return
    now = utc_from_ms(clock.now_ms())
    entry = RecipientsEntry(since=utc_text(now), station=station, recipients=tuple(recipients))
    repository.put_bytes(f"{RECIPIENTS_PREFIX}{now.strftime(_STAMP)}-{uuid6.uuid7()}.json", dump(entry))
