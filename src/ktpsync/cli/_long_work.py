"""How far backups, verifications and restores have come: a bar for people, lines for pipes, events for programs."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Final

import click

from ktpsync.units import amount, counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.backup import Progress, ProgressCallback
    from ktpsync.cli._output import Output

_EVENT_SECONDS: Final = 1.0
_LINE_SECONDS: Final = 30.0


@contextlib.contextmanager
def long_work(output: Output, what: str) -> Iterator[ProgressCallback]:
    """Show bytes, packets, rate and time left.

    On a terminal a bar; elsewhere a line every half minute; for ``--json`` one JSON object a line on standard
    error, so that standard output stays one document.

    Args:
        output: Where a command's words go.
        what: What is being done.
    """
    if output.for_a_person:
        with _bar(output.words(what), output.words) as show:
            yield show
    elif output.as_json:
        yield _Regularly(tell=_event, every=_EVENT_SECONDS)
    else:
        output.show(f"{output.words(what)} ...")
        yield _Regularly(tell=lambda pace: output.show(_in_words(output, what, pace)), every=_LINE_SECONDS)


def _in_words(output: Output, what: str, pace: Pace) -> str:
    return f"{output.words(what)}: {'; '.join(output.words(part) for part in pace.parts())}"


class Pace:
    """How far work has come, and how fast.

    Args:
        news: The latest news of it.
        seconds: Since it began.
    """

    def __init__(self, news: Progress, seconds: float) -> None:
        self.news = news
        self.seconds = seconds

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.news.bytes_done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is done, at this pace; ``None`` where that cannot be said."""
        if self.news.bytes_total is None or not self.rate:
            return None
        return max(self.news.bytes_total - self.news.bytes_done, 0) / self.rate

    def parts(self) -> list[str]:
        """Return it for a person, part by part."""
        news = self.news
        done = amount(news.bytes_done)
        if news.bytes_total is not None:
            done = f"{done} / {amount(news.bytes_total)}"
        parts = [done, packets_done(news), f"{amount(self.rate)}/s"]
        return parts if self.seconds_left is None else [*parts, f"time left: {duration(self.seconds_left)}"]


def packets_done(news: Progress) -> str:
    """Return how many packets are done, and of how many where that is known."""
    if news.packets_total is None:
        return counted(news.packets_done, "packet", "packets")
    return f"{news.packets_done} / {counted(news.packets_total, 'packet', 'packets')}"


class _Regularly:
    def __init__(self, *, tell: Callable[[Pace], None], every: float) -> None:
        self._tell = tell
        self._every = every
        self._began = time.monotonic()
        self._told = 0.0

    def __call__(self, news: Progress) -> None:
        now = time.monotonic()
        last = news.bytes_total is not None and news.bytes_done >= news.bytes_total
        if now - self._told >= self._every or last:
            self._told = now
            self._tell(Pace(news, now - self._began))


def _event(pace: Pace) -> None:
    news = pace.news
    left = pace.seconds_left
    document = {
        "event": "progress",
        "stage": news.stage,
        "bytes_done": news.bytes_done,
        "bytes_total": news.bytes_total,
        "packets_done": news.packets_done,
        "packets_total": news.packets_total,
        "bytes_per_second": round(pace.rate),
        "seconds_left": None if left is None else round(left, 1),
    }
    click.echo(json.dumps(document), err=True)


@contextlib.contextmanager
def _bar(what: str, words: Callable[[str], str]) -> Iterator[ProgressCallback]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[packets]}"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns) as bar:
        task = bar.add_task(what, total=None, packets="")

        def show(news: Progress) -> None:
            bar.update(
                task,
                completed=news.bytes_done,
                total=news.bytes_total,
                packets=words(packets_done(news)),
            )

        yield show
