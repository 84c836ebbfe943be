"""Which part of a repository a routine verification reads: a share each time, in turn, until all was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ktpsync.backup._documents import PackEntry
    from ktpsync.backup._repository import Snapshot

_UUID_LENGTH: Final = 36


@frozen(kw_only=True)
class Sample:
    """What to read.

    Args:
        packs: Names of packs.
        states: Names of the snapshots whose states to read.
        cursor: Where the next sample goes on; empty where this one came to the end.
    """

    packs: frozenset[str]
    states: frozenset[str]
    cursor: str


def everything(packs: Iterable[str], snapshots: Iterable[str]) -> Sample:
    """Return the sample that is all of it."""
    return Sample(packs=frozenset(packs), states=frozenset(snapshots), cursor="")


def sample(
    packs: Mapping[str, PackEntry],
    snapshots: Mapping[str, Snapshot],
    *,
    share: float,
    cursor: str,
    besides: Collection[str] = (),
) -> Sample:
    """Choose packs and states in the order of time, by the UUIDv7 in their names.

    Args:
        packs: All packs, by name.
        snapshots: All snapshots, by name.
        share: Share of the bytes of both to read, between 0 and 1; one of them at least, unless it is 0.
        cursor: Where the last sample ended; empty at the beginning.
        besides: Names of packs to read whether it is their turn or not.
    """
    units = [(name, "pack", name, pack.size) for name, pack in packs.items()]
    units += [(name[-_UUID_LENGTH:], "state", name, s.manifest.state.size) for name, s in snapshots.items()]
    units.sort()
    wanted = share * sum(size for *_, size in units)
    chosen: dict[str, set[str]] = {"pack": set(packs.keys() & set(besides)), "state": set()}
    taken = 0
    for place, kind, name, size in units:
        if place <= cursor:
            continue
        if taken >= wanted:
            break
        chosen[kind].add(name)
        taken += size
        cursor = place
    else:
        cursor = ""
    return Sample(packs=frozenset(chosen["pack"]), states=frozenset(chosen["state"]), cursor=cursor)
