"""``ktpsync submit``: folders and tables of captured enrollments into the outbox."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import command, config_option
from ktpsync.cli._exit import Exit, exit_code
from ktpsync.errors import KtpsyncError, RecordError, ReferenceConflictError
from ktpsync.language import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ktpsync.cli._output import Output
    from ktpsync.office import Office
    from ktpsync.outbox import Submitted
    from ktpsync.records import Enrollment, Problem, Source


def _print_template(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted:
        click.echo(",".join(ktpsync.records.table_columns()))
        context.exit()


@click.command()
@click.option(
    "--template",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_template,
    help="Print the first line of a CSV file with all columns, and exit. Delete those you do not need.",
)
@click.argument("paths", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--urgent", is_flag=True, help="Deliver these before others.")
@click.option("--skip-bad", is_flag=True, help="Submit the good ones even if others have problems.")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    help="The language of the messages; see KTPSYNC_LANG.",
)
@config_option
@command
def submit(
    output: Output,
    paths: tuple[Path, ...],
    *,
    urgent: bool,
    skip_bad: bool,
    language: str | None,
    config: Path,
) -> Exit:
    """Submit each PATH: a folder with `enrollment.json`, a folder of such folders, or a CSV file.

    A CSV file has one enrollment in each row, a column for each field, named as on the page "capture form", and
    the names of files in the columns of samples. All are read and checked first; if any has problems, all problems
    are listed and none is submitted, unless --skip-bad is given. Every enrollment needs a reference of its own: with
    it, the same command can be run again and stores nobody twice.
    """
    if language:
        output.language = language
    with ktpsync.Office.open(config) as office:
        sources = [source for path in paths for source in ktpsync.records.find_sources(path)]
        with output.progress("Checking", len(sources)) as advance:
            checked = ktpsync.records.check_sources(sources, on_checked=lambda: advance(1))
        run = _Run(output)
        for one in checked:
            if one.error is not None:
                run.refuse(one.source, one.error)
            run.warn(one.source, one.warnings)
        if not run.refused or skip_bad:
            try:
                run.store(office, [one.source for one in checked if one.error is None], urgent=urgent)
            except KeyboardInterrupt:
                run.exit = Exit.INTERRUPTED
    if run.exit is Exit.INTERRUPTED:
        output.remark(f"Stopped: {len(run.stored)} of {len(sources)} stored; run the same command again.")
    elif run.refused:
        bad, of = len(run.refused), len(sources)
        if run.stored or skip_bad:
            output.remark(f"{bad} of {of} have problems; {len(run.stored)} stored.")
        else:
            output.remark(
                f"{bad} of {of} have problems; none was submitted; --skip-bad submits the good ones."
            )
    output.result(
        {
            "submitted": run.stored,
            "problems": run.refused,
            "warnings": run.warnings,
            "interrupted": run.exit is Exit.INTERRUPTED,
        }
    )
    return run.exit


class _Run:
    """What becomes of the sources.

    Args:
        output: Where words go.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self.stored: list[Mapping[str, object]] = []
        self.refused: list[Mapping[str, object]] = []
        self.warnings: list[Mapping[str, object]] = []
        self.exit = Exit.DONE

    def warn(self, source: Source, warnings: Iterable[Problem]) -> None:
        """Tell what a person may want to look at."""
        for warning in warnings:
            words = f"{self._output.words('warning')}: {self._output.words(warning)}"
            self._output.show(f"{source.name}: {words}", err=True)
            self.warnings.append({"path": source.name, "field": warning.path, "code": warning.code})

    def refuse(self, source: Source, error: KtpsyncError) -> None:
        """Tell why a source is not stored."""
        self._output.remark(error, path=source.name)
        self.refused.append({"path": source.name, "error": str(error)})
        self.exit = max(self.exit, Exit.BAD_INPUT)

    def store(self, office: Office, sources: Sequence[Source], *, urgent: bool) -> None:
        """Submit sources that were checked, until one tells that no other can be stored either.

        They are loaded again, one at a time: hundreds of enrollments do not fit into memory together.
        """
        with self._output.progress("Sealing", len(sources)) as advance:
            storing = _Storing(self, sources, advance)
            try:
                office.submit_many(storing.loaded(), urgent=urgent, on_stored=storing.settle)
            except KtpsyncError as error:
                storing.stop(error)
            if storing.stopped:
                self._output.remark(
                    f"{storing.left} not stored; correct this and run the same command again."
                )

    def tell(self, source: Source, submitted: Submitted) -> None:
        packet = submitted.packet
        words = self._output.words("stored" if submitted.created else "already stored")
        self._output.show(f"{words} {packet.packet_id}  {source.name}")
        self.warn(source, submitted.warnings)
        self.stored.append(
            {
                "path": source.name,
                "packet_id": packet.packet_id,
                "sha256": packet.sha256,
                "created": submitted.created,
            }
        )


class _Storing:
    """Sources on their way into the outbox.

    Args:
        run: What is told of each.
        sources: All of them.
        advance: Called with the number of those that are settled.
    """

    def __init__(self, run: _Run, sources: Sequence[Source], advance: Callable[[int], None]) -> None:
        self._run = run
        self._sources = sources
        self._advance = advance
        self._waiting: deque[Source] = deque()
        self.stopped = False
        self.left = len(sources)

    def loaded(self) -> Iterator[Enrollment]:
        """Yield the enrollments that can be loaded, until one cannot be stored."""
        for source in self._sources:
            if self.stopped:
                return
            try:
                enrollment = source.load()
            except RecordError as error:
                self._refuse(source, error)
            else:
                self._waiting.append(source)
                yield enrollment

    def settle(self, results: Sequence[Submitted | KtpsyncError]) -> None:
        """Tell what became of those that were loaded first."""
        for result in results:
            if isinstance(result, RecordError | ReferenceConflictError):
                self._refuse(self._waiting.popleft(), result)
            elif isinstance(result, KtpsyncError):
                self.stop(result)
                self._waiting.popleft()
            else:
                self._run.tell(self._waiting.popleft(), result)
                self._settled()

    def stop(self, error: KtpsyncError) -> None:
        """Tell why one cannot be stored, and take no more."""
        if not self.stopped:
            self._run.refuse((self._waiting or self._sources)[0], error)
            self._run.exit = exit_code(error)
        self.stopped = True

    def _refuse(self, source: Source, error: KtpsyncError) -> None:
        self._run.refuse(source, error)
        self._settled()

    def _settled(self) -> None:
        self.left -= 1
        self._advance(1)
