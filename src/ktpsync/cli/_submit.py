"""``ktpsync submit``: folders and tables of captured enrollments into the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit
from ktpsync.errors import KtpsyncError, RecordError, ReferenceConflictError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ktpsync.cli._output import Output
    from ktpsync.records import Problem, Source
    from ktpsync.records._problems import Language


@click.command()
@click.argument("paths", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--urgent", is_flag=True, help="Deliver these before others.")
@click.option("--skip-bad", is_flag=True, help="Submit the good ones even if others have problems.")
@click.option(
    "--language",
    type=click.Choice(["en", "id"]),
    default="en",
    show_default=True,
    envvar="KTPSYNC_LANGUAGE",
    show_envvar=True,
    help="The language of the problems' messages.",
)
@config_option
@command
def submit(
    output: Output,
    paths: tuple[Path, ...],
    *,
    urgent: bool,
    skip_bad: bool,
    language: Language,
    config: Path,
) -> Exit:
    """Submit each PATH: a folder with `enrollment.json`, a folder of such folders, or a CSV file.

    A CSV file has one enrollment in each row, a column for each field, named as on the page "capture form", and
    the names of files in the columns of samples. All are read and checked first; if any has problems, all problems
    are listed and none is submitted, unless --skip-bad is given. Every enrollment needs a reference of its own: with
    it, the same command can be run again and stores nobody twice.
    """
    sources = [source for path in paths for source in ktpsync.records.find_sources(path)]
    with output.progress("Checking", len(sources)) as advance:
        checked = ktpsync.records.check_sources(sources, on_checked=lambda: advance(1))
    bad: dict[str, KtpsyncError] = {one.source.name: one.error for one in checked if one.error is not None}
    good = [one.source for one in checked if one.error is None]
    for name, error in bad.items():
        click.echo(f"{name}: {_in_words(error, language)}", err=True)
    for one in checked:
        if one.warnings and not output.as_json:
            _show(one.source.name, one.warnings, language)

    stored: list[Mapping[str, object]] = []
    if not bad or skip_bad:
        refused = _store(output, good, stored, urgent=urgent, config=config)
        for name, error in refused.items():
            click.echo(f"{name}: {_in_words(error, language)}", err=True)
        bad |= refused
    if bad:
        left = (
            f"{len(stored)} stored"
            if stored or skip_bad
            else "none was submitted; --skip-bad submits the good ones"
        )
        click.echo(f"{len(bad)} of {len(sources)} have problems; {left}.", err=True)
    output.result(
        {
            "submitted": stored,
            "problems": [{"path": name, "error": _in_words(error, language)} for name, error in bad.items()],
            "warnings": [
                {"path": one.source.name, "field": found.path, "code": found.code}
                for one in checked
                for found in one.warnings
            ],
        }
    )
    return Exit.BAD_INPUT if bad else Exit.DONE


def _store(
    output: Output, sources: list[Source], stored: list[Mapping[str, object]], *, urgent: bool, config: Path
) -> dict[str, KtpsyncError]:
    """Submit sources that were checked; return those that were refused all the same.

    They are loaded again, one at a time: hundreds of enrollments do not fit into memory together.
    """
    refused: dict[str, KtpsyncError] = {}
    with ktpsync.Office.open(config) as office, output.progress("Sealing", len(sources)) as advance:
        for source in sources:
            try:
                submitted = office.submit(source.load(), urgent=urgent)
            except (RecordError, ReferenceConflictError) as error:
                refused[source.name] = error
            else:
                packet = submitted.packet
                stored.append(
                    {
                        "path": source.name,
                        "packet_id": packet.packet_id,
                        "sha256": packet.sha256,
                        "created": submitted.created,
                    }
                )
                words = "stored" if submitted.created else "already stored"
                output.say(f"{words} {packet.packet_id}  {source.name}")
            advance(1)
    return refused


def _in_words(error: KtpsyncError, language: Language) -> str:
    if isinstance(error, ValidationError) and language != "en":
        lines = [
            found.translated(language)
            for found in error.problems
            if isinstance(found, ktpsync.records.Problem)
        ]
        return "\n".join(["Ada masalah; perbaiki lalu kirim lagi:", *(f"  - {line}" for line in lines)])
    return str(error)


def _show(name: str, warnings: tuple[Problem, ...], language: Language) -> None:
    for found in warnings:
        click.echo(f"{name}: warning: {found.translated(language)}", err=True)
