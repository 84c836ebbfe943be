"""Backends that fail on purpose: wrapped around a real one, for the tests of apps, couriers and the kit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from attrs import define, field, frozen

from ktpsync.errors import ThrottledError, UnavailableError
from ktpsync.plugins import Backend, CentralBackend, StorageBackend

if TYPE_CHECKING:
    from ktpsync.errors import KtpsyncError
    from ktpsync.packet import SealedPacket
    from ktpsync.plugins import Health, Holding, ObjectInfo, Receipt, StatusPage

T = TypeVar("T")

Proceed = Callable[[], object]
"""Does what was asked for, and returns the answer."""

Fault = Callable[[str, Proceed], object]
"""Takes the name of a method and what does the work; returns or raises what the caller gets."""


@define
class _Times:
    """Lets a fault happen a number of times; safe among threads."""

    left: int
    _lock: threading.Lock = field(factory=threading.Lock)

    def take(self) -> bool:
        with self._lock:
            self.left -= 1
            return self.left >= 0


@frozen
class _Limited:
    """A fault that strikes some methods, a number of times."""

    methods: tuple[str, ...]
    times: _Times
    strike: Callable[[Proceed], object]

    def __call__(self, method: str, proceed: Proceed) -> object:
        """Strike, or let it pass."""
        if method in self.methods and self.times.take():
            return self.strike(proceed)
        return proceed()


def fails(error: KtpsyncError, *, on: Sequence[str] = ("deliver",), times: int = 1) -> Fault:
    """Return a fault: the call raises an error, and nothing is done.

    Args:
        error: What is raised.
        on: The methods that it strikes.
        times: How often, over all of them.
    """

    def strike(_: Proceed) -> object:
        raise error

    return _Limited(tuple(on), _Times(times), strike)


def unreachable(*, on: Sequence[str] = ("deliver", "check"), times: int = 1) -> Fault:
    """Return a fault: the place does not answer, and nothing is done."""
    return fails(UnavailableError("The place does not answer (on purpose)."), on=on, times=times)


def throttled(retry_after: float, *, on: Sequence[str] = ("deliver",), times: int = 1) -> Fault:
    """Return a fault: the place asks for patience.

    Args:
        retry_after: Seconds that it asks for.
        on: The methods that it strikes.
        times: How often, over all of them.
    """
    error = ThrottledError("The place asks for patience (on purpose).", retry_after=retry_after)
    return fails(error, on=on, times=times)


def answer_lost(*, on: Sequence[str] = ("deliver",), times: int = 1) -> Fault:
    """Return a fault: the work is done, and the line drops before the answer comes."""

    def strike(proceed: Proceed) -> object:
        proceed()
        raise UnavailableError("The line dropped before the answer came (on purpose).")

    return _Limited(tuple(on), _Times(times), strike)


class FaultyBackend(Backend):
    """Passes every call on to a real backend, through faults; the first one given is the outermost.

    There are :class:`FaultyStorage` and :class:`FaultyCentral` for the other kinds.

    Args:
        inner: The real backend.
        faults: What goes wrong: :func:`unreachable`, :func:`throttled`, :func:`answer_lost`,
            :func:`fails`, or any function that takes the method's name and what does the work.
    """

    def __init__(self, inner: Backend, faults: Iterable[Fault]) -> None:
        self._inner = inner
        self._faults = tuple(faults)
        self.capabilities = inner.capabilities  # type: ignore[misc]  # those of the instance inside

    def deliver(self, packet: SealedPacket) -> Receipt:
        """See the base class."""
        return self._through("deliver", lambda: self._inner.deliver(packet))

    def check(self) -> Health:
        """See the base class."""
        return self._through("check", self._inner.check)

    def fetch(self, packet_id: str) -> BinaryIO:
        """See the base class."""
        return self._through("fetch", lambda: self._inner.fetch(packet_id))

    def close(self) -> None:
        """Close the real backend."""
        self._inner.close()

    def _through(self, method: str, work: Callable[[], T]) -> T:
        proceed: Proceed = work
        for fault in reversed(self._faults):
            proceed = partial(fault, method, proceed)
        return cast("T", proceed())


class FaultyStorage(FaultyBackend, StorageBackend):
    """A :class:`FaultyBackend` around storage.

    Args:
        inner: The real backend.
        faults: What goes wrong.
    """

    _inner: StorageBackend

    def __init__(self, inner: StorageBackend, faults: Iterable[Fault]) -> None:
        super().__init__(inner, faults)

    def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> ObjectInfo:
        """See the base class."""
        return self._through("put", lambda: self._inner.put(key, source, size=size, sha256=sha256))

    def open(self, key: str) -> BinaryIO:
        """See the base class."""
        return self._through("open", lambda: self._inner.open(key))

    def open_part(self, key: str, start: int, size: int) -> BinaryIO:
        """See the base class."""
        return self._through("open_part", lambda: self._inner.open_part(key, start, size))

    def stat(self, key: str) -> ObjectInfo:
        """See the base class."""
        return self._through("stat", lambda: self._inner.stat(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the base class."""
        return self._through("list", lambda: self._inner.list(prefix))

    def delete(self, key: str) -> None:
        """See the base class."""
        self._through("delete", lambda: self._inner.delete(key))


class FaultyCentral(FaultyBackend, CentralBackend):
    """A :class:`FaultyBackend` around a centre.

    Args:
        inner: The real backend.
        faults: What goes wrong.
    """

    _inner: CentralBackend

    def __init__(self, inner: CentralBackend, faults: Iterable[Fault]) -> None:
        super().__init__(inner, faults)

    def statuses(self, cursor: str | None) -> StatusPage:
        """See the base class."""
        return self._through("statuses", lambda: self._inner.statuses(cursor))

    def reconcile(self, packets: Iterable[SealedPacket]) -> Iterable[Holding]:
        """See the base class."""
        return self._through("reconcile", lambda: self._inner.reconcile(packets))
