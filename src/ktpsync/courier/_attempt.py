"""One attempt to deliver one packet, and what its end means."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from attrs import define

from ktpsync.courier._rate import metered
from ktpsync.errors import (
    AuthError,
    ConflictError,
    CorruptError,
    KtpsyncError,
    QuotaError,
    RejectedError,
    SpoolError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
)
from ktpsync.outbox import (
    DAMAGED,
    Delivered,
    Failed,
    Rejected,
    Returned,
    backoff_ms,
    failing_for_ms,
)
from ktpsync.packet import SealedPacket
from ktpsync.plain import anonymous
from ktpsync.plugins import mistake_told

if TYPE_CHECKING:
    from random import Random

    from ktpsync.clock import Clock
    from ktpsync.courier._rate import TokenBucket
    from ktpsync.outbox import Lease, Outcome, RetryPolicy, Spool
    from ktpsync.plugins import Backend

_REFUSALS = {
    RejectedError: "rejected",
    ConflictError: "conflict",
    QuotaError: "quota",
    UnsupportedError: "unsupported",
    CorruptError: "corrupt",
}
_STEP_ASIDE_MS = 5_000
"""A packet that found the destination unreachable lets the others go first, up to this long."""

_BYTES_AWAY_MS = (60_000, 300_000)
"""Between these a packet waits whose bytes are not at hand: an offloaded one's backup is a disk in a drawer, or the
spool's storage does not answer."""

_STRIKES = 3
"""So often a packet may find a destination unreachable that takes other packets meanwhile."""


@define
class _Strikes:
    count: int
    delivered: int


class Attempts:
    """Delivers packets to one backend and says what came of it; never raises an ``Exception``.

    Args:
        backend: Where to.
        spool: Where the bytes are, to tell damage here from damage there.
        retry: How failures by the packet's own doing are retried.
        clock: The clock to ask.
        random: Where jitter comes from.
        bucket: The destination's limit of bytes per second.
        plugin: What offers the backend, to say whose mistake an error is.
    """

    def __init__(
        self,
        backend: Backend,
        spool: Spool,
        *,
        retry: RetryPolicy,
        clock: Clock,
        random: Random,
        bucket: TokenBucket,
        plugin: str = "",
    ) -> None:
        self._backend = backend
        self._spool = spool
        self._retry = retry
        self._clock = clock
        self._random = random
        self._bucket = bucket
        self._plugin = plugin
        self._lock = threading.Lock()
        self._strikes: dict[str, _Strikes] = {}
        self._delivered = 0

    def attempt(self, lease: Lease) -> tuple[Outcome, AuthError | None]:
        """Deliver one packet; the error is given where the destination must be stopped."""
        with contextlib.ExitStack() as stack:
            try:
                packet = stack.enter_context(self._spool.at_hand(lease.packet))
            except Exception as error:  # noqa: BLE001 - whatever keeps the bytes away keeps only this packet waiting
                return self._without_bytes(lease, error), None
            return self._deliver(lease, packet)

    def _deliver(self, lease: Lease, packet: SealedPacket) -> tuple[Outcome, AuthError | None]:
        # Also without a limit: one that is set while the packet is on its way holds for the rest of it.
        sent = SealedPacket(
            packet_id=packet.packet_id,
            sha256=packet.sha256,
            size=packet.size,
            opener=metered(packet.open, self._bucket),
        )
        try:
            delivered = Delivered(lease=lease, receipt=self._backend.deliver(sent))
        except AuthError as error:
            return Returned(lease=lease, reason=str(error)), error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything; the others must go on
            return self._ended(lease, packet, error), None
        return delivered, None

    def judge(self, outcome: Outcome) -> Outcome:
        """Blame a packet that finds the destination unreachable again and again while others get through.

        To be called with every outcome.
        """
        packet_id = outcome.lease.packet.packet_id
        with self._lock:
            if not (isinstance(outcome, Returned) and outcome.unavailable):
                self._strikes.pop(packet_id, None)
                self._delivered += isinstance(outcome, Delivered)
                return outcome
            strikes = self._strikes.setdefault(packet_id, _Strikes(count=0, delivered=self._delivered))
            strikes.count += 1
            if strikes.count < _STRIKES or self._delivered == strikes.delivered:
                return outcome
            del self._strikes[packet_id]
        return self._blame(outcome.lease, outcome.reason, code="unavailable")

    def _blame(self, lease: Lease, error: str, *, code: str) -> Outcome:
        """Return what a failure by the packet's own doing means: a later retry, or a person's look."""
        failing_ms = failing_for_ms(
            self._retry, lease.failing_ms, lease.last_failure_ms, self._clock.now_ms()
        )
        if failing_ms >= self._retry.give_up_ms:
            days = self._retry.give_up_ms // 86_400_000
            return Rejected(
                lease=lease, code="gave-up", reason=f"Failed for more than {days} days. Last: {error}"
            )
        return Failed(
            lease=lease,
            code=code,
            reason=error,
            delay_ms=backoff_ms(self._retry, lease.failures + 1, self._random),
            failing_ms=failing_ms,
        )

    def _without_bytes(self, lease: Lease, error: Exception) -> Outcome:
        """Return what it means that a packet's bytes are not to be had: damage, or they are only away."""
        if isinstance(error, SpoolError):
            return Rejected(lease=lease, code=DAMAGED, reason=str(error))
        shortest, longest = _BYTES_AWAY_MS
        wait = shortest + int(self._random.random() * (longest - shortest))
        return Returned(lease=lease, reason=_words(error), delay_ms=wait)

    def _ended(self, lease: Lease, packet: SealedPacket, error: BaseException) -> Outcome:
        if isinstance(error, ThrottledError):
            wait = None if error.retry_after is None else round(error.retry_after * 1000)
            return Returned(lease=lease, unavailable=wait is None, reason=str(error), retry_after_ms=wait)
        if isinstance(error, UnavailableError):
            return Returned(
                lease=lease,
                unavailable=True,
                reason=str(error),
                delay_ms=int(self._random.random() * _STEP_ASIDE_MS),
            )
        if not isinstance(error, ConflictError):
            try:
                self._spool.verify(packet)
            except Exception as trouble:  # noqa: BLE001 - offloaded meanwhile, they may be on a disk that is away
                return self._without_bytes(lease, trouble)
        for refusal, code in _REFUSALS.items():
            if isinstance(error, refusal):
                return Rejected(lease=lease, code=code, reason=str(error))
        if isinstance(error, KtpsyncError):
            return self._blame(lease, f"{type(error).__name__}: {error}", code="error")
        return self._blame(lease, mistake_told(error, self._plugin), code="error")


def _words(error: BaseException) -> str:
    """Return what an error says; one that is not ktpsync's own may hold a password, or what was sent."""
    return str(error) if isinstance(error, KtpsyncError) else anonymous(str(error))
