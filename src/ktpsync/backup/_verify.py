"""Finding out what is wrong with a repository, and saying so packet by packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from ktpsync.backup._check import Check
from ktpsync.backup._findings import Depth, OpenPacket, VerifyReport
from ktpsync.backup._memory import BackupMemory, Checks
from ktpsync.backup._progress import ProgressCallback, ignore_progress
from ktpsync.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from ktpsync.age import Identity
    from ktpsync.backup._repository import Repository
    from ktpsync.backup._source import BackupSource
    from ktpsync.keys import StationPublicKey


def verify(
    repository: Repository,
    *,
    depth: Depth = Depth.READ,
    identities: Sequence[Identity] = (),
    open_packet: OpenPacket | None = None,
    trusted: Iterable[StationPublicKey] | None = None,
    memory: Path | None = None,
    copies: Callable[[str, str | None], Sequence[str]] | None = None,
    source: BackupSource | None = None,
    share: float | None = None,
    packs: Collection[str] = (),
    clock: Clock | None = None,
    progress: ProgressCallback = ignore_progress,
) -> VerifyReport:
    """Check a repository.

    Args:
        repository: Which.
        depth: How closely to look.
        identities: age identities of the recovery recipients, for ``Depth.OPEN``.
        open_packet: Opens a packet and checks its signature and schema, for ``Depth.OPEN``.
        trusted: The public keys of stations that may have signed; any key if not given.
        memory: The folder given to :func:`backup`, so that what vanished is noticed.
        copies: Says where else a good copy of a packet is, by its id and the SHA-256 of its sealed bytes.
        source: The outbox, which is told which of its packets were read back whole: only those may be
            purged or offloaded; and which are lost: those the next backup copies again. Needs ``memory``.
        share: Share of the bytes of packs and states to read, between 0 and 1, going on where the last such
            sample ended, so that 1/share of them read everything. All of it if not given. Needs ``memory``.
        packs: Names of packs to read besides the share.
        clock: The clock to ask.
        progress: Called as packs are read.

    Returns:
        What was found; damage raises nothing.

    Raises:
        BackendError: The storage cannot be reached, or went away meanwhile.
    """
    remembered = BackupMemory(memory, repository.uuid) if memory is not None else None
    known = remembered.load() if remembered is not None else None
    check = Check(
        repository=repository,
        depth=depth,
        identities=tuple(identities),
        open_packet=open_packet,
        trusted=frozenset(trusted) if trusted is not None else None,
        known=known,
        recall=remembered.load if remembered is not None else lambda: None,
        cursor=remembered.checks().cursor if remembered is not None else "",
        copies=copies,
        share=share,
        besides=packs,
        progress=progress,
        source=source,
    )
    started_ms = (clock or SystemClock()).now_ms()
    report = check.all()
    now_ms = (clock or SystemClock()).now_ms()
    if remembered is not None and depth is not Depth.LIST:
        checks = remembered.checks()
        if share is None:
            done = evolve(checks, cursor="", sampled_ms=now_ms)
            remembered.save_checks(evolve(done, last_verified_ms=now_ms) if report.ok else done)
        elif share:
            remembered.save_checks(
                _sampled(evolve(checks, sampled_ms=now_ms), check.cursor, started_ms, ok=report.ok)
            )
    if source is not None:
        check.tell(source, now_ms)
    return report


def _sampled(before: Checks, cursor: str, started_ms: int, *, ok: bool) -> Checks:
    """Return what is remembered after a sample; a whole round without a problem is a verification."""
    began_ms = before.round_ms if before.cursor else started_ms
    round_ms = began_ms if ok else None
    if cursor:
        return evolve(before, cursor=cursor, round_ms=round_ms)
    verified_ms = before.last_verified_ms if round_ms is None else round_ms
    return evolve(before, cursor="", round_ms=None, last_verified_ms=verified_ms)
