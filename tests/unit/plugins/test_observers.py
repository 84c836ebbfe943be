"""Observers are told what happened, and cannot do harm."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING

import pluggy
import pytest

from ktpsync.plugins import Observers, hookimpl
from ktpsync.plugins import _hookspecs as hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = 60.0
"""Seconds that no test waits for; only a deadlock would."""


@pytest.fixture
def watch() -> Iterator[Callable[..., Observers]]:
    """Returns a function that registers functions as observers of deliveries, and tells them."""
    made = []

    def make(deadline: float = LONG, backlog: int = 100, **observers: Callable[[str], None]) -> Observers:
        manager = pluggy.PluginManager("ktpsync")
        manager.add_hookspecs(hookspecs)
        for name, observer in observers.items():
            module = ModuleType(name)
            module.ktpsync_delivered = hookimpl(_observer(observer))  # type: ignore[attr-defined]
            manager.register(module, name=name)
        made.append(Observers(manager, deadline=deadline, backlog=backlog))
        return made[-1]

    yield make
    for notify in made:
        notify.close()


def _observer(observer: Callable[[str], None]) -> Callable[[str], None]:
    def ktpsync_delivered(packet_id: str) -> None:
        observer(packet_id)

    return ktpsync_delivered


def test_each_is_told_everything_in_order(watch: Callable[..., Observers]) -> None:
    """And closing waits until that is done."""
    first: list[str] = []
    second: list[str] = []
    notify = watch(first=first.append, second=second.append)

    for number in range(20):
        notify.delivered(str(number), "central")
    notify.close()

    assert list(map(str, range(20))) == first == second


def test_one_that_raises_is_named_and_the_others_are_told(
    watch: Callable[..., Observers], caplog: pytest.LogCaptureFixture
) -> None:
    """Even one that wants the program to end."""
    told: list[str] = []

    def fails(_: str) -> None:
        raise RuntimeError("oops")

    notify = watch(fails=fails, leaves=lambda _: sys.exit(1), fine=told.append)
    with caplog.at_level(logging.ERROR):
        notify.delivered("1", "central")
        notify.delivered("2", "central")
        notify.close()

    assert ["1", "2"] == told
    blamed = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert ["fails", "fails", "leaves", "leaves"] == sorted(map(str, blamed))


def test_one_that_hangs_is_named_and_left_alone_until_it_comes_back(
    watch: Callable[..., Observers], caplog: pytest.LogCaptureFixture
) -> None:
    """Telling it never blocks; the others are told, and so is it afterwards."""
    free = threading.Event()
    hanging: list[str] = []
    fine: list[str] = []

    def hangs(packet_id: str) -> None:
        free.wait(LONG)
        hanging.append(packet_id)

    notify = watch(deadline=0.05, hangs=hangs, listens=fine.append)
    with caplog.at_level(logging.WARNING):
        notify.delivered("1", "central")
        until(
            lambda: "Plugin hangs has not come back from ktpsync_delivered after 0.05 seconds" in caplog.text
        )
        notify._deadline = LONG
        until(lambda: fine == ["1"])
        join("ktpsync-plugin-listens")
        notify.delivered("2", "central")
        until(lambda: fine == ["1", "2"])
        free.set()
        join("ktpsync-plugin-hangs")
        notify.delivered("3", "central")
        notify.close()

    assert ["1", "2", "3"] == fine
    assert ["1", "3"] == hanging
    assert "Plugin hangs has come back" in caplog.text


def until(happened: Callable[[], bool]) -> None:
    """Wait until something happened."""
    deadline = time.monotonic() + LONG
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def join(name: str) -> None:
    """Wait until the threads of this name have ended."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(LONG)


def test_telling_returns_at_once_and_a_full_backlog_drops_the_newest(
    watch: Callable[..., Observers], caplog: pytest.LogCaptureFixture
) -> None:
    """Couriers never wait for plugins, memory stays bounded, and the log says what was left out."""
    free, started = threading.Event(), threading.Event()
    told: list[str] = []

    def slow(packet_id: str) -> None:
        started.set()
        free.wait(LONG)
        told.append(packet_id)

    notify = watch(backlog=3, slow=slow)
    with caplog.at_level(logging.WARNING):
        notify.delivered("0", "central")
        assert started.wait(LONG)
        for number in range(1, 6):
            notify.delivered(str(number), "central")
        free.set()
        notify.close()

    assert ["0", "1", "2", "3"] == told
    assert "they were not told of 2 events" in caplog.text


def test_closing_does_not_wait_for_ever(
    watch: Callable[..., Observers], caplog: pytest.LogCaptureFixture
) -> None:
    """A command ends although a plugin hangs."""
    free = threading.Event()
    notify = watch(deadline=0.05, hangs=lambda _: free.wait(LONG) and None)
    before = time.monotonic()

    notify.delivered("1", "central")
    notify.close()

    assert time.monotonic() - before < LONG / 2
    notify.delivered("2", "central")
    free.set()


def test_nothing_runs_where_nobody_observes(watch: Callable[..., Observers]) -> None:
    """Without observers there is neither a thread nor a queue."""
    notify = watch()

    notify.delivered("1", "central")

    assert notify._teller is None
