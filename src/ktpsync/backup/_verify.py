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
    former: Callable[[], bool] | None = None,
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
        former: Says whether packets may be sealed to recipients from before those of the identities, where these have
            been changed and the repository's own history does not tell: its recipients may be others than the packets'.
        clock: The clock to ask.
        progress: Called as packs are read.

    Returns:
        What was found; damage raises nothing.

    Raises:
        BackendError: The storage cannot be reached, or went away meanwhile.
        NoMatchingIdentityError: None of the identities is of a recipient of what is sealed now.
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
        former=former,
    )
    started_ms = (clock or SystemClock()).now_ms()
    report = check.all()
    now_ms = (clock or SystemClock()).now_ms()
    if remembered is not None:
        remembered.save_checks(_checked(remembered.checks(), check, report, started_ms, now_ms))
    if source is not None:
        check.tell(source, now_ms)
    return report


def _checked(before: Checks, check: Check, report: VerifyReport, started_ms: int, now_ms: int) -> Checks:
    """Return what is remembered after a verification."""
    if not report.ok and before.damaged_ms is None:
        before = evolve(before, damaged_ms=now_ms)
    if report.depth is Depth.LIST or check.share == 0:
        return before
    if check.share is not None:
        return _sampled(evolve(before, sampled_ms=now_ms), check.cursor, started_ms, ok=report.ok)
    done = evolve(before, cursor="", sampled_ms=now_ms)
    return evolve(done, last_verified_ms=now_ms, damaged_ms=None) if report.ok else done


def _sampled(before: Checks, cursor: str, started_ms: int, *, ok: bool) -> Checks:
    """Return what is remembered after a sample; a whole round without a problem is a verification."""
    began_ms = before.round_ms if before.cursor else started_ms
    round_ms = began_ms if ok else None
    if cursor:
        return evolve(before, cursor=cursor, round_ms=round_ms)
    done = evolve(before, cursor="", round_ms=None)
    return done if round_ms is None else evolve(done, last_verified_ms=round_ms, damaged_ms=None)
