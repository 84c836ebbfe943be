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

_PREFIX: Final = "recipients/"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@frozen(kw_only=True)
class RecipientsSince:
    """Recipients, and since when what is new is sealed to them.

    Args:
        since: RFC 3339, UTC.
        recipients: age recipients.
    """

    since: str
    recipients: tuple[str, ...]


def recipient_history(repository: Repository) -> list[RecipientsSince]:
    """Return who could restore from a repository, oldest first.

    Raises:
        BackendError: The storage cannot be reached.
    """
    found = [
        RecipientsSince(since=repository.marker.created_at, recipients=repository.marker.recipients),
    ]
    for key in sorted(info.key for info in repository.storage.list(_PREFIX)):
        try:
            entry = load(RecipientsEntry, repository.read(key), key)
        except BackupError:
            # A damaged line of the history costs that line.
            continue
        found.append(RecipientsSince(since=entry.since, recipients=entry.recipients))
    return found


def note_recipients(repository: Repository, recipients: Sequence[str], *, clock: Clock) -> None:
    """Write down that what is new is sealed to these recipients, if that is new.

    Raises:
        BackendError: The storage cannot be reached.
    """
    if set(recipient_history(repository)[-1].recipients) == set(recipients):
        return
    now = utc_from_ms(clock.now_ms())
    entry = RecipientsEntry(since=utc_text(now), recipients=tuple(recipients))
    repository.put_bytes(f"{_PREFIX}{now.strftime(_STAMP)}-{uuid6.uuid7()}.json", dump(entry))
