"""Identity files at the command line: their passphrases are typed, and never part of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ktpsync.cli._output import Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ktpsync.age import HybridIdentity, X25519Identity


def read_identities(path: Path) -> tuple[HybridIdentity | X25519Identity, ...]:
    """Read an identity file; if it is sealed, ask for the passphrase.

    Raises:
        KeyFileError: It is missing, damaged or readable by others.
        NoMatchingIdentityError: The passphrase is another one.
    """
    from ktpsync import age

    return age.read_identities(path, passphrase=ask_for(path))


def ask_for(path: Path) -> Callable[[], str]:
    """Return a function that asks for the passphrase of an identity file."""

    def ask() -> str:
        text: str = click.prompt(_words(f"Passphrase of {path}"), hide_input=True, err=True)
        return text

    return ask


def new_passphrase(path: Path) -> str:
    """Ask for a new passphrase, twice."""
    text: str = click.prompt(
        _words(f"New passphrase for {path}"),
        hide_input=True,
        confirmation_prompt=_words("The same once more"),
        err=True,
    )
    return text


def _words(text: str) -> str:
    """Return a question in the language that the command that asks has chosen."""
    output = click.get_current_context().find_object(Output)
    return text if output is None else output.words(text)
