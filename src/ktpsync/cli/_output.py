"""What the command line shows: tables and progress bars for people, plain lines for pipes, JSON for programs."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from typing import TYPE_CHECKING, Final, Protocol

import click

from ktpsync.clock import local_text, utc_from_ms, utc_text
from ktpsync.language import ENGLISH, reader_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    class Advance(Protocol):
        """Called with how much more is done, and with the total once it is known."""

        def __call__(self, amount: int, total: int | None = None) -> None: ...


NO_DESTINATIONS: Final = "No destinations are configured: packets stay on this machine. Name one under [destinations.NAME] in ktpsync.toml."

_NAMES: Final = frozenset(
    {
        "backup",
        "destination",
        "label",
        "packet",
        "path",
        "recipient",
        "snapshot",
        "station key",
        "uuid",
        "who",
    }
)
"""Columns of what people and machines have named; everything else in a table is words."""


def utc_text_of(moment_ms: int | None) -> str | None:
    """Return a moment in milliseconds since 1970-01-01 UTC in RFC 3339; ``None`` where there is none."""
    return None if moment_ms is None else utc_text(utc_from_ms(moment_ms))


def local_text_of(moment_ms: int | None) -> str | None:
    """Return a moment in milliseconds since 1970-01-01 UTC for a person; ``None`` where there is none."""
    return None if moment_ms is None else local_text(utc_from_ms(moment_ms))


class Output:
    """Where a command's words go.

    Sentences are given in English and shown in the reader's language. What programs read is never translated.

    Args:
        as_json: Print one JSON document at the end, and nothing else, on standard output; on standard error one
            JSON document a line.
        config: The configuration file, which may name the reader's language.
    """

    def __init__(self, *, as_json: bool, config: Path | None = None) -> None:
        self.as_json = as_json
        self._config = config

    @functools.cached_property
    def language(self) -> str:
        """The reader's language."""
        return reader_language(self._config)

    def words(self, what: object) -> str:
        """Return a sentence, or what an error says, in the reader's language."""
        if self.language == ENGLISH:
            return str(what)
        from ktpsync.language import translated

        return translated(what, self.language)

    @property
    def for_a_person(self) -> bool:
        """Whether a person looks at standard output, on a terminal."""
        return not self.as_json and sys.stdout.isatty()

    def say(self, sentence: str, *, err: bool = False) -> None:
        """Print a sentence for a person."""
        if not self.as_json:
            self.show(self.words(sentence), err=err)

    def show(self, words: str, *, err: bool = False) -> None:
        """Print for a person what is in the reader's language already."""
        if not self.as_json:
            click.echo(words, err=err)

    def note(self, sentence: str) -> None:
        """Print a sentence for a person on standard error, where standard output is something to keep."""
        self.say(sentence, err=True)

    def warn(self, sentences: Iterable[str]) -> None:
        """Print what a person must see to, on standard error; a program finds it in the result."""
        if not self.as_json:
            self.complain(sentences)

    def complain(self, problems: Iterable[object]) -> None:
        """Print what is wrong on standard error, whoever reads the result."""
        for problem in problems:
            self._remark("ktpsync: ", problem, {})

    def remark(self, what: object, *, path: str | None = None) -> None:
        """Print a sentence on standard error, whoever reads the result; for a program as JSON.

        Args:
            what: The sentence, or an error.
            path: The file or folder that it is about.
        """
        if path is None:
            self._remark("", what, {})
        else:
            self._remark(f"{path}: ", what, {"path": path})

    def _remark(self, prefix: str, what: object, facts: Mapping[str, str]) -> None:
        if self.as_json:
            click.echo(json.dumps({"event": "remark", "message": str(what), **facts}), err=True)
        else:
            click.echo(f"{prefix}{self.words(what)}", err=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table: framed on a terminal, tab-separated lines elsewhere."""
        if self.as_json:
            return
        rows = [
            [
                cell if column in _NAMES else self.words(cell)
                for column, cell in zip(columns, row, strict=True)
            ]
            for row in rows
        ]
        title, columns = self.words(title), [self.words(column) for column in columns]
        if not self.for_a_person:
            click.echo("\t".join(columns))
            for row in rows:
                click.echo("\t".join(str(cell) for cell in row))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        # What stands in brackets is no markup: texts of others would vanish, or end the command.
        Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(table)

    def result(self, document: Mapping[str, object]) -> None:
        """Print the command's result for a program, if one asked."""
        if self.as_json:
            click.echo(json.dumps(document, indent=1, default=str))

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None, *, in_bytes: bool = False) -> Iterator[Advance]:
        """Show how far long work has come.

        Args:
            what: What is being done.
            total: How much there is, where it is known.
            in_bytes: Whether it is counted in bytes.

        Yields:
            A function to call with how much more is done.
        """
        if not self.for_a_person:
            self.show(f"{self.words(what)} ...")
            yield lambda _amount, _total=None: None
            return
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        counter = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            counter,
            TimeRemainingColumn(),
        )
        with Progress(*columns) as bar:
            task = bar.add_task(self.words(what), total=total)
            yield lambda amount, total=None: bar.update(task, advance=amount, total=total)

    def failure(self, error: BaseException, code: int) -> None:
        """Print why a command ended, on standard error; as JSON on standard output where asked."""
        if self.as_json:
            click.echo(
                json.dumps({"error": {"class": type(error).__name__, "message": str(error), "exit": code}})
            )
        else:
            click.echo(f"ktpsync: {self.words(error)}", err=True)
        sys.stdout.flush()
