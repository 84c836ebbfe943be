"""Restore drills: a backup that nobody has tried to restore is a hope."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.backup._finder import extract
from ktpsync.backup._memory import BackupMemory
from ktpsync.backup._repository import Repository, Snapshot, current_packs
from ktpsync.backup._restore import heads, open_state
from ktpsync.clock import Clock, SystemClock
from ktpsync.errors import AgeError, BackupError, PacketError, RecordError, RestoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.age import Identity
    from ktpsync.backup._documents import PackEntry
    from ktpsync.backup._findings import OpenPacket


@frozen(kw_only=True)
class DrillReport:
    """How a restore drill went.

    Args:
        snapshot: The snapshot that was tried.
        records: Records of the outbox state that were read.
        opened: Ids of the packets that were taken out and opened.
        problems: One line for each thing that would have failed in earnest.
    """

    snapshot: str
    records: int
    opened: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether a restore would have worked, as far as the sample tells."""
        return not self.problems


def drill(
    repository: Repository,
    *,
    identities: Sequence[Identity],
    open_packet: OpenPacket,
    sample: int = 20,
    memory: Path | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
) -> DrillReport:
    """Try a restore: read the whole state, take a sample of packets out and open them.

    Args:
        repository: Which.
        identities: age identities of a recovery recipient.
        open_packet: Opens a packet and checks its signature and schema.
        sample: How many packets to open.
        memory: Folder in the data directory where the date of a good drill is remembered.
        clock: The clock to ask.
        random: Where the sample comes from.

    Raises:
        RestoreError: There is no snapshot to try.
        BackendError: The storage cannot be reached.
    """
    remembered = BackupMemory(memory, repository.uuid) if memory is not None else None
    problems: list[str] = []
    head = _newest(repository, remembered)
    packs: list[PackEntry] = []
    records = 0
    try:
        chain = repository.chain(head)
        packs = current_packs(chain)
        for link in chain:
            records += sum(1 for _ in open_state(repository, link, identities).records())
    except (AgeError, BackupError) as error:
        problems.append(str(error))
    chosen = _choose(repository, packs, sample, random or SystemRandom(), problems)
    opened = _open(repository, chosen, open_packet, problems)
    if remembered is not None and not problems:
        remembered.save_checks(evolve(remembered.checks(), last_drill_ms=(clock or SystemClock()).now_ms()))
    return DrillReport(
        snapshot=head.ref.name, records=records, opened=tuple(opened), problems=tuple(problems)
    )


def _newest(repository: Repository, remembered: BackupMemory | None) -> Snapshot:
    found = heads(repository)
    known = remembered.load() if remembered is not None else None
    own = [head for head in found if known is not None and head.manifest.lineage == known.lineage]
    if not found:
        raise RestoreError("There is no snapshot in this repository to try. Make a backup first.")
    return (own or found)[-1]


def _choose(
    repository: Repository, packs: Sequence[PackEntry], sample: int, random: Random, problems: list[str]
) -> list[str]:
    """Return ids of packets, each packet as likely as any other, reading no more indexes than needed."""
    total = sum(pack.packets for pack in packs)
    numbers = sorted(random.sample(range(total), min(sample, total)))
    chosen: list[str] = []
    first = 0
    for pack in packs:
        wanted = [number - first for number in numbers if first <= number < first + pack.packets]
        first += pack.packets
        if wanted:
            try:
                index = repository.index(pack)
            except BackupError as error:
                problems.append(str(error))
            else:
                chosen += [index.packets[number].packet_id for number in wanted]
    return chosen


def _open(
    repository: Repository, packet_ids: Sequence[str], open_packet: OpenPacket, problems: list[str]
) -> list[str]:
    opened = []
    with tempfile.TemporaryDirectory(prefix="ktpsync-drill-") as folder:
        taken = extract(repository, packet_ids, Path(folder))
        problems += taken.problems
        for packet_id, path in taken.written.items():
            try:
                open_packet(packet_id, path.read_bytes())
            except (AgeError, PacketError, RecordError) as error:
                problems.append(f"Packet {packet_id} does not open: {error}")
            else:
                opened.append(packet_id)
    return opened
