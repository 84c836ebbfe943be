"""Whether snapshots are what this station made: chains, signers, and what the station remembers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ktpsync.backup._documents import manifest_key
from ktpsync.backup._findings import Problem
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ktpsync.backup._memory import Knowledge
    from ktpsync.backup._repository import Snapshot
    from ktpsync.keys import StationPublicKey


def chain_problems(snapshots: Mapping[str, Snapshot], dropped: Collection[str]) -> Iterator[Problem]:
    """Yield where a snapshot does not continue the one that it names.

    Args:
        snapshots: All that can be read, by name.
        dropped: Names of those that a prune took out.
    """
    children = Counter(s.manifest.parent.name for s in snapshots.values() if s.manifest.parent)
    for name, count in children.items():
        if count > 1:
            yield _problem(name, f"{count} snapshots continue it; only one can be genuine.")
    for name, snapshot in snapshots.items():
        manifest = snapshot.manifest
        parent = manifest.parent
        if parent is None:
            if manifest.kind == "delta":
                yield _problem(name, "It needs a parent but names none.")
            continue
        before = snapshots.get(parent.name)
        if before is None:
            if parent.name not in dropped or manifest.kind == "delta":
                yield _problem(parent.name, f"It is missing or damaged, and {name} continues it.")
        elif before.ref != parent or before.manifest.lineage != manifest.lineage:
            yield _problem(
                parent.name, f"It is not the snapshot that {name} continues: another was put in its place."
            )
        elif manifest.kind == "delta" and manifest.state.after > before.manifest.state.sequence:
            yield _problem(name, "Its state does not continue that of its parent.")


def signer_problems(
    snapshots: Mapping[str, Snapshot],
    trusted: Collection[StationPublicKey],
    known: Knowledge | None,
    notes: list[str],
) -> Iterator[Problem]:
    """Yield the snapshots of strangers; those of other stations with lineages of their own are only noted.

    Args:
        snapshots: All that can be read, by name.
        trusted: The keys that may have signed.
        known: What the station remembers; without it every stranger is a problem.
        notes: Takes a line for each other station.
    """
    others: Counter[str] = Counter()
    for name, snapshot in snapshots.items():
        if snapshot.signer in trusted:
            continue
        if known is None or snapshot.manifest.lineage == known.lineage:
            key_id = snapshot.signer.key_id
            yield _problem(
                name, f"It was signed by station key {key_id}, which is not among the trusted ones."
            )
        else:
            others[snapshot.signer.key_id] += 1
    notes += [
        f"{counted(count, 'snapshot is', 'snapshots are')} of another station, with key {key_id}."
        for key_id, count in others.items()
    ]


def memory_problems(
    snapshots: Mapping[str, Snapshot], before: Knowledge | None, now: Knowledge | None
) -> Iterator[Problem]:
    """Yield where the repository is not what the station left.

    Args:
        snapshots: All that can be read, by name.
        before: What the station remembered before the snapshots were listed.
        now: What it remembers after; a backup may have run meanwhile.
    """
    if before is None or before.head is None or now is None or now.head is None:
        return
    head = snapshots.get(before.head.name)
    made = snapshots.get(before.pending) if before.pending is not None else None
    if made is not None and made.manifest.parent == before.head:
        # It died between the commit and the note of it; what came before may be dropped by now.
        return
    if head is None or head.ref != before.head:
        yield _problem(
            before.head.name,
            "This station committed this snapshot last, but it is missing, damaged or another one: "
            "an older state of the repository was put in its place.",
        )
    for name, snapshot in snapshots.items():
        if snapshot.manifest.lineage == now.lineage and name > now.head.name and name != now.pending:
            yield _problem(
                name,
                "It continues this station's snapshots, but this station does not remember it: "
                "either the data directory is an older copy, or the snapshot is not genuine.",
            )


def _problem(snapshot: str, message: str) -> Problem:
    return Problem(key=manifest_key(snapshot), message=message)
