"""The help, and what is wrong with a command line, in another language than English.

Click has both in English; they are translated where it writes them, as everything else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from ktpsync.language import translated
from ktpsync.language._translate import translator

if TYPE_CHECKING:
    from collections.abc import Iterable

OF_CLICK: Final = (
    "Usage: ",
    "Options",
    "Commands",
    "default",
    "env var",
    "required",
    "Show this message and exit.",
    "Show the version and exit.",
    "Error: {message}",
    "Try '{command} {option}' for help.",
    "No such command {name}.",
    "No such option {name}.",
    "No such option {name}. (Did you mean {option}?)",
    "No such option {name}. (Did you mean one of: {options}?)",
    "Missing command.",
    "Missing argument {name}.",
    "Missing option {name}.",
    "Got unexpected extra argument ({args})",
    "Got unexpected extra arguments ({args})",
    "Option {name} requires an argument.",
    "Invalid value for {name}: {message}",
    "File {path} does not exist.",
    "Directory {path} does not exist.",
    "Path {path} does not exist.",
    "File {path} is a directory.",
    "Directory {path} is a file.",
    "File {path} is not readable.",
    "Path {path} is not readable.",
    "{value} is not one of {choices}.",
    "{value} is not a valid integer.",
    "{value} is not a valid integer range.",
    "{value} is not in the range {range}.",
)
"""Click's own words, here so that the catalogues have them."""

_FACTS: Final = re.compile(r"(.*?)(  \[.*\])?", re.DOTALL)
_FACT_WORDS: Final = re.compile(r"\b(default|env var|required)\b")
_CUT: Final = "..."


class Formatter(click.HelpFormatter):
    """Writes the help in a language.

    Args:
        language: Its code.
        width: The terminal's width.
        max_width: The help's width, at most.
    """

    def __init__(self, language: str, *, width: int | None, max_width: int | None) -> None:
        super().__init__(width=width, max_width=max_width)
        self._language = language

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how the command is typed."""
        super().write_usage(prog, args, self._words("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write what follows."""
        super().write_heading(self._words(heading))

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        super().write_text("\n\n".join(self._words(paragraph) for paragraph in paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options or commands, each with what it does."""
        super().write_dl([(name, self._row(text)) for name, text in rows], col_max, col_spacing)

    def _words(self, text: str) -> str:
        return translated(text, self._language)

    def _row(self, text: str) -> str:
        beginning = translator(self._language).beginning
        whole = beginning(" ".join(text.split()))
        if whole is not None:
            return whole
        found = _FACTS.fullmatch(text)
        assert found is not None  # every text is one with or without facts
        head, facts = found[1], found[2] or ""
        # Of a command the first sentence is shown, cut off where it is long.
        words = beginning(head.removesuffix(_CUT)) or head
        return words + _FACT_WORDS.sub(lambda fact: self._words(fact[1]), facts)


class WrongUsage(click.UsageError):
    """What is wrong with a command line, told in a language.

    Args:
        error: What click says.
        language: The language's code.
    """

    def __init__(self, error: click.UsageError, language: str) -> None:
        super().__init__(error.message, error.ctx)
        self._error = error
        self._language = language

    def format_message(self) -> str:
        """Return what is wrong."""
        sentences = getattr(self._error, "sentences", (self._error.format_message(),))
        return " ".join(translated(sentence, self._language) for sentence in sentences)

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click gives none
        """Print it, with how the command is typed."""
        if self.ctx is not None:
            click.echo(self.ctx.get_usage(), err=True)
            hint = f"Try '{self.ctx.command_path} {self.ctx.help_option_names[-1]}' for help."
            click.echo(f"{translated(hint, self._language)}\n", err=True)
        click.echo(translated(f"Error: {self.format_message()}", self._language), err=True)
