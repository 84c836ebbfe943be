"""Whether a destination may be used now, and by how many deliveries at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ktpsync.courier._pace import Pace, after_success, after_trouble
from ktpsync.courier._pause import pause
from ktpsync.courier._policy import throttled_ms, with_settings
from ktpsync.errors import AuthError, BackendError, ThrottledError
from ktpsync.outbox import Delivered, Returned
from ktpsync.plugins import mistake_told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.clock import Clock
    from ktpsync.courier._observer import Observer
    from ktpsync.courier._policy import CourierPolicy
    from ktpsync.courier._rate import TokenBucket
    from ktpsync.outbox import DestinationState, Outbox, Outcome
    from ktpsync.plugins import Backend

_LONGEST_CLOSED_MS = 300_000
_FRESH_SECONDS = 0.2


@frozen(kw_only=True)
class Opening:
    """What the gate says.

    Args:
        limit: Deliveries at a time; 0 is none.
        why: Why none: ``paused``, ``throttled``, ``window`` or ``unreachable``; of a whole drain also ``empty``
            or ``stopped``.
        reason: What was found, where the destination is stopped or out of reach.
        wait: Seconds until asking again makes sense; ``None``: when a person has acted.
        steady: Whether all goes well at full pace.
    """

    limit: int = 0
    steady: bool = False
    why: str = ""
    reason: str = ""
    wait: float | None = None


class Gate:
    """The gate to one destination: its shared state in the outbox and this process's own pace."""

    def __init__(
        self,
        outbox: Outbox,
        destination: str,
        backend: Backend,
        *,
        policy: CourierPolicy,
        clock: Clock,
        bucket: TokenBucket,
        observers: Sequence[Observer],
        plugin: str = "",
    ) -> None:
        self._outbox = outbox
        self._destination = destination
        self._backend = backend
        self._policy = policy
        self._clock = clock
        self._bucket = bucket
        self._observers = observers
        self._plugin = plugin
        self._pace = Pace()
        self._most = policy.concurrency
        self._fresh_until = 0.0
        self._doubt = False

    @property
    def rate(self) -> float | None:
        """The limit in bytes per second that is in force."""
        return self._bucket.rate

    def ask(self) -> Opening:
        """Return how many deliveries may run now; probes the destination where that is due.

        While all goes well, the shared state is looked at a few times a second, not for every packet.
        """
        now = self._clock.monotonic()
        if now < self._fresh_until:
            return self._open()
        self._fresh_until = 0.0
        state = self._outbox.destination(self._destination)
        policy = with_settings(self._policy, state)
        self._bucket.rate = policy.rate
        self._most = policy.concurrency
        closed = self._closed(state, policy)
        if closed is None and (state.breaker in {"open", "probing"} or self._doubt):
            reached = self._probe() if state.breaker in {"open", "probing"} else self._still_answers()
            self._doubt = False
            state = self._outbox.destination(self._destination)
            if not reached and state.breaker != "closed":
                wait_ms = min(max(state.probe_at_ms - self._clock.now_ms(), 1000), _LONGEST_CLOSED_MS)
                closed = self._closed(state, policy) or Opening(
                    why="unreachable", reason=state.last_error or "", wait=wait_ms / 1000
                )
        if closed is not None:
            return closed
        if state.breaker != "closed":
            # One packet at a time until the destination has taken one.
            self._pace = Pace()
        else:
            self._fresh_until = now + _FRESH_SECONDS
        self._pace = evolve(self._pace, limit=min(self._pace.limit, policy.concurrency))
        return self._open()

    def _open(self) -> Opening:
        return Opening(limit=self._pace.limit, steady=self._pace.limit >= self._most)

    def doubt(self) -> None:
        """Let the destination be asked how it is before the next delivery; may be called from any thread.

        For one that accepts connections and is silent: it would cost each packet its whole timeout.
        """
        self._doubt = True

    def pause(self, error: AuthError) -> None:
        """Stop the destination for all couriers."""
        self._fresh_until = 0.0
        pause(self._outbox, self._destination, error, self._observers)

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Adapt the pace to how attempts ended."""
        for outcome in outcomes:
            if isinstance(outcome, Delivered):
                self._pace = after_success(self._pace, self._most)
            else:
                self._fresh_until = 0.0
        if any(
            isinstance(outcome, Returned) and (outcome.unavailable or outcome.retry_after_ms is not None)
            for outcome in outcomes
        ):
            self._pace = after_trouble(self._pace)

    def _closed(self, state: DestinationState, policy: CourierPolicy) -> Opening | None:
        now_ms = self._clock.now_ms()
        if state.paused is not None:
            return Opening(why="paused", reason=state.paused)
        if wait_ms := throttled_ms(state, now_ms):
            return Opening(why="throttled", wait=wait_ms / 1000)
        if policy.window is not None and (closed_ms := policy.window.opens_in_ms(now_ms)):
            return Opening(why="window", wait=closed_ms / 1000)
        return None

    def _probe(self) -> bool:
        """Return whether a destination that is believed unreachable answers; one courier asks at a time."""
        if not self._outbox.start_probe(self._destination):
            return False
        answers = self._still_answers()
        if answers:
            self._outbox.end_probe(self._destination)
        return answers

    def _still_answers(self) -> bool:
        """Return whether a destination answers; that it does not is written down. That it does proves no delivery."""
        error = "The probe ended without an answer."
        try:
            self._backend.check()
        except AuthError as refused:
            error = str(refused)
            self.pause(refused)
        except BackendError as unreachable:
            error = str(unreachable)
            if isinstance(unreachable, ThrottledError) and unreachable.retry_after is not None:
                self._outbox.throttle(self._destination, unreachable.retry_after)
        except Exception as broken:  # noqa: BLE001 - a plugin may raise anything
            error = mistake_told(broken, self._plugin)
        else:
            return True
        self._outbox.end_probe(self._destination, error=error)
        return False
