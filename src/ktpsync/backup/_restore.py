"""Getting packets and state back. Damage costs what is damaged, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from attrs import field, frozen

from ktpsync.backup._documents import SnapshotRef, state_key
from ktpsync.backup._fetching import PacketFetcher
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.backup._repository import Repository, current_packs
from ktpsync.backup._state import OpenedState
from ktpsync.errors import (
    AgeError,
    BackupError,
    DamagedBackupError,
    NoMatchingIdentityError,
    RestoreError,
)
from ktpsync.units import counted

if TYPE_CHECKING:
    from ktpsync.age import Identity
    from ktpsync.backup._repository import Snapshot
    from ktpsync.backup._source import RestoreTarget
    from ktpsync.backup._state import StateHead


@frozen(kw_only=True)
class RestoreReport:
    """What a restore brought back.

    Args:
        repository: UUID of the repository.
        lineage: The lineage of the snapshot.
        head: The snapshot that was restored.
        packet_ids: Ids of all packets that are there now.
        bytes_restored: Bytes of sealed packets that this run wrote.
        state_restored: Whether the whole outbox state was read.
        station_key: The station's private signing key in PEM, if the backup holds it.
        index_key: The key of the outbox's keyed hashes in hexadecimal, if the backup holds it.
        digests: The SHA-256 of the packets that are there now, by id.
        damaged: Ids of the packets that the repository does not hold whole.
        missing: Ids of the packets that the state knows, but whose bytes are in no pack.
        problems: One line for each thing that was wrong.
    """

    repository: str
    lineage: str
    head: SnapshotRef
    packet_ids: tuple[str, ...]
    bytes_restored: int
    state_restored: bool
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    station_key: str | None = field(default=None, repr=False)
    index_key: str | None = field(default=None, repr=False)
    digests: Mapping[str, str] = field(factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything came back."""
        return not self.problems and not self.damaged and not self.missing

    def raise_if_damaged(self) -> None:
        """Turn what did not come back into an error.

        Raises:
            DamagedBackupError: Something did not come back. All the rest is there.
        """
        if not self.ok:
            raise DamagedBackupError(
                f"{counted(len(self.packet_ids), 'packet was', 'packets were')} restored, "
                f"{len({*self.damaged, *self.missing})} could not be: look for another copy on other disks and at the "
                "centre.",
                damaged=[*self.problems, *self.damaged, *self.missing],
            )


def restore(
    repository: Repository,
    target: RestoreTarget,
    *,
    identities: Sequence[Identity],
    snapshot: str | None = None,
    select: Callable[[str], bool] | None = None,
    progress: ProgressCallback = ignore_progress,
) -> RestoreReport:
    """Bring packets and outbox state back from a snapshot.

    What is damaged is reported and left out; all the rest is restored. An interrupted restore goes on
    where it stopped, with the same target.

    Args:
        repository: Where from.
        target: Where to.
        identities: age identities of a recovery recipient.
        snapshot: Its name; the newest if not given.
        select: Says which packet ids to restore; all if not given.
        progress: Called as packs are read.

    Raises:
        RestoreError: There is no usable snapshot, there are several to choose from, or no identity
            opens it. Nothing was written.
        BackendError: The storage cannot be reached.
    """
    problems: list[str] = []
    head = _choose(repository, snapshot, problems)
    links = _links(repository, head, problems)
    states: list[Snapshot] = []
    opened: StateHead | None = None
    for link in links:
        found = _state_head(repository, link, identities, problems)
        if found is not None:
            states.append(link)
            opened = found
    wanted = target.plan(_records(repository, states, identities, problems))
    fetcher = PacketFetcher(
        repository=repository,
        target=target,
        wanted=wanted if select is None else lambda packet_id: select(packet_id) and wanted(packet_id),
        progress=progress,
        problems=problems,
    )
    fetcher.fetch(current_packs(links), broken=len(problems) > 0)
    missing = target.import_state(_records(repository, states, identities, []))
    return RestoreReport(
        repository=repository.uuid,
        lineage=head.manifest.lineage,
        head=head.ref,
        packet_ids=tuple(fetcher.restored),
        digests=fetcher.restored,
        bytes_restored=fetcher.size,
        state_restored=len(states) == len(links) and not problems,
        damaged=tuple(packet_id for packet_id in fetcher.damaged if packet_id not in fetcher.restored),
        missing=tuple(packet_id for packet_id in missing if packet_id not in fetcher.damaged),
        problems=(*([repository.trouble] if repository.trouble else []), *problems),
        station_key=opened.station_key if opened else None,
        index_key=opened.index_key if opened else None,
    )


def packets_in(
    repository: Repository, *, identities: Sequence[Identity], snapshot: str | None
) -> AbstractSet[str] | None:
    """Return the ids of the packets that a restore could bring back, or tell of; ``None``: because of damage nobody can say.

    Args:
        repository: Where from.
        identities: age identities of a recovery recipient.
        snapshot: Its name; the newest if not given.

    Raises:
        RestoreError: As for :func:`restore`.
        BackendError: The storage cannot be reached.
    """
    problems: list[str] = []
    links = _links(repository, _choose(repository, snapshot, problems), problems)
    states = [link for link in links if _state_head(repository, link, identities, problems)]
    found: set[str] = set()
    for record in _records(repository, states, identities, problems):
        if isinstance(packet := record.get("packet"), dict):
            found.add(str(packet["packet_id"]))
    for pack in current_packs(links):
        try:
            found.update(entry.packet_id for entry in repository.index(pack).packets)
        except BackupError as error:
            problems.append(str(error))
    return None if problems else found


def heads(repository: Repository, problems: list[str] | None = None) -> list[Snapshot]:
    """Return the newest readable snapshot of each lineage, oldest first.

    Args:
        repository: Which.
        problems: Takes a line for each snapshot that cannot be read.

    Raises:
        RepositoryError: The format of a snapshot is newer: an older one in its stead would be a step back.
        BackendError: The storage cannot be reached.
    """
    newest: dict[str, Snapshot] = {}
    for found in repository.snapshots():
        if isinstance(found, DamagedBackupError):
            if problems is not None:
                problems.append(str(found))
        else:
            newest[found.manifest.lineage] = found
    return sorted(newest.values(), key=lambda head: head.ref.name)


def _choose(repository: Repository, name: str | None, problems: list[str]) -> Snapshot:
    if name is not None:
        try:
            return repository.snapshot(name)
        except BackupError as error:
            raise RestoreError(f"Snapshot {name} cannot be restored: {error} Choose an older one.") from error
    found = heads(repository, problems)
    if not found:
        raise RestoreError(
            "There is no usable snapshot in this repository. If packs are there, their packets can be taken "
            "out with tar; see the guide on recovery without ktpsync."
        )
    if len(found) > 1:
        choices = [
            f"{head.ref.name} of station key {head.signer.key_id}, made {_minute(head.manifest.created_at)} UTC, "
            f"{counted(head.manifest.totals.packets, 'packet', 'packets')}"
            for head in found
        ]
        told = f"The repository holds {len(found)} separate lines of snapshots; name the one to restore:"
        raise RestoreError("\n  - ".join([told, *choices]))
    return found[0]


def _minute(moment: str) -> str:
    """Return a moment of a manifest as far as a person needs it."""
    return moment[:16].replace("T", " ")


def _links(repository: Repository, head: Snapshot, problems: list[str]) -> list[Snapshot]:
    """Return the chain to replay; where a link is broken, all that can be read of the lineage before it."""
    try:
        return repository.chain(head)
    except BackupError as error:
        problems.append(str(error))
    links: list[Snapshot] = []
    for name in repository.snapshot_names():
        if name > head.ref.name:
            break
        try:
            found = repository.snapshot(name)
        except BackupError:
            continue
        if found.manifest.lineage == head.manifest.lineage:
            if found.manifest.kind == "full":
                links.clear()
            links.append(found)
    return links


def _state_head(
    repository: Repository, link: Snapshot, identities: Sequence[Identity], problems: list[str]
) -> StateHead | None:
    """Return the head of a snapshot's state; ``None`` where the state cannot be opened."""
    try:
        return open_state(repository, link, identities).head
    except NoMatchingIdentityError:
        raise RestoreError(
            f"None of the identities opens snapshot {link.ref.name}. Use the identity file of one of its "
            "recovery recipients."
        ) from None
    except (AgeError, BackupError) as error:
        problems.append(str(error))
        return None


def open_state(repository: Repository, link: Snapshot, identities: Sequence[Identity]) -> OpenedState:
    """Open the state of a snapshot and check that it is that snapshot's.

    Raises:
        NoMatchingIdentityError: None of the identities opens it.
        DamagedBackupError: It is missing, damaged or another one.
    """
    key = state_key(link.ref.name)
    entry = link.manifest.state
    sealed = repository.read(key, sha256=entry.sha256, limit=entry.size)
    state = OpenedState(io.BytesIO(sealed), identities, key)
    if (state.head.repository, state.head.snapshot) != (repository.uuid, link.ref.name):
        raise DamagedBackupError(f"{key} is the state of another snapshot.")
    return state


def _records(
    repository: Repository, links: Sequence[Snapshot], identities: Sequence[Identity], problems: list[str]
) -> Iterator[Mapping[str, object]]:
    """Yield the records of the whole chain, oldest first: a later one replaces an earlier one."""
    for link in links:
        try:
            yield from open_state(repository, link, identities).records()
        except DamagedBackupError as error:
            problems.append(str(error))
