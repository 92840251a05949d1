"""`loyalty import`: accounts of another system, and orders of earlier years, from files."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from sqlalchemy import Engine
from uuid6 import uuid7

from config.settings import Settings
from core.errors import UnknownProgramError
from core.importing import account_rows, order_rows
from core.importing.account_rows import SOURCE_PREFIX, AccountRows
from core.importing.files import BadRow, ImportFile, Layout
from core.importing.order_rows import OrderRows
from core.importing.plans import Plan
from core.importing.run import Importer, Step, who_began
from core.reading.snapshot import snapshot_of
from workers.bootstrap import message_limits
from workers.child_processes import begin_beside
from workers.cli.bad_rows import BadRowsFile
from workers.cli.command_errors import ImportNameError
from workers.cli.output import AsJson, count_text, note, print_json, say, say_below
from workers.cli.wiring import By, acting, opened_database
from workers.process_logs import set_up_logging
from workers.secrets import writing_key

_SHOWN_MAX = 20
_PROCESSES_MAX = 4  #: that post beside this one, each with a session of its own
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")

DataFile = Annotated[
    typer.FileBinaryRead, typer.Argument(metavar="FILE", help="A file of CSV or JSON lines; - for standard input.")
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Names the import for ever; the file's name by default.")
]
Program = Annotated[str | None, typer.Option("--program", help="The program of rows that name none.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would become of it; nothing is changed.")]
BadRows = Annotated[
    Path | None, typer.Option("--bad-rows", metavar="FILE", help="Write bad rows here, each with its problem.")
]
Source = Annotated[
    str, typer.Option("--source", metavar="SOURCE", help="The source under which the shop's later messages come.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Accounts of another system, and orders of earlier years.")
    group.command()(accounts)
    group.command()(orders)
    app.add_typer(group, name="import")


class _Asked(NamedTuple):
    """What is imported, and how."""

    file: BinaryIO
    path: str
    name: str
    noun: str
    layout: Layout
    is_dry_run: bool
    bad_rows: Path | None
    as_json: bool


def accounts(
    file: DataFile,
    *,
    name: Name = None,
    program_id: Program = None,
    by: By = None,
    is_dry_run: DryRun = False,
    bad_rows: BadRows = None,
    as_json: AsJson = False,
) -> None:
    """Open accounts with the points, dates, cards and tiers that they had in another system.

    \b
    loyalty import accounts crm.csv --dry-run
    loyalty import accounts crm.csv --bad-rows crm-bad.csv

    Each row becomes ordinary commands of the source /import/NAME. The same file again changes nothing; after an
    interruption it goes on where it was. Bad rows stop nothing: exit code 1. Columns and samples: docs/import.md.
    """
    asked = _Asked(
        file, file.name, _name(name, file.name), "account", account_rows.LAYOUT, is_dry_run, bad_rows, as_json
    )
    settings = Settings()
    set_up_logging(settings)
    source = SOURCE_PREFIX + asked.name
    if by is not None and "@" in by:
        raise typer.BadParameter("it is kept and shown: write a name, and no e-mail address", param_hint="--by")
    who = acting(by).partition("@")[0]
    with opened_database(settings) as engine:
        with engine.begin() as connection:
            found = snapshot_of(connection)
            # Who gives a command is a part of it: whoever goes on with an import repeats the words of who began it.
            given_by = who_began(connection, source) or who
        _check_program(program_id, found.registry.program_ids())
        rows = AccountRows(asked.name, found.registry, found.as_of, by=given_by, program_id=program_id)
        _run(asked, _importer(engine, settings, source, who), rows.plans)


def orders(
    file: DataFile,
    *,
    source: Source,
    name: Name = None,
    program_id: Program = None,
    is_dry_run: DryRun = False,
    bad_rows: BadRows = None,
    as_json: AsJson = False,
) -> None:
    """Post orders of earlier years, each by the rules of its day.

    \b
    loyalty import orders orders-2024.csv --source /shops/high-street --dry-run
    loyalty import orders orders-2024.csv --source /shops/high-street

    Each order becomes the message that its shop would have sent then. The same file again changes nothing; after an
    interruption it goes on where it was. Bad rows stop nothing: exit code 1. Columns and samples: docs/import.md.
    """
    asked = _Asked(file, file.name, _name(name, file.name), "order", order_rows.LAYOUT, is_dry_run, bad_rows, as_json)
    settings = Settings()
    set_up_logging(settings)
    with opened_database(settings) as engine:
        with engine.begin() as connection:
            found = snapshot_of(connection)
        _check_program(program_id, found.registry.program_ids())
        rows = OrderRows(asked.name, source, found.registry, found.as_of, program_id=program_id)
        _run(asked, _importer(engine, settings, source, acting(None)), rows.plans)


def _name(given: str | None, path: str) -> str:
    name = Path(path).stem if given is None else given
    if given is None and path in {"-", "<stdin>"}:
        raise ImportNameError(name="standard input", reason="has none")
    if not _NAME.fullmatch(name):
        raise ImportNameError(name=name, reason="is not 1 to 40 of A-Z, a-z, 0-9, '.', '_' and '-'")
    return name


def _check_program(program_id: str | None, known: list[str]) -> None:
    if program_id is not None and program_id not in known:
        raise UnknownProgramError(program_id=program_id, known=", ".join(known) or "none")


def _importer(engine: Engine, settings: Settings, source: str, by: str) -> Importer:
    return Importer(
        engine,
        source=source,
        by=by,
        event_source=settings.event_source,
        shards=settings.shards,
        limits=message_limits(settings.model_copy(update={"sources_file": None})),
        new_id=uuid7,
        chain_key=writing_key(settings),
        processes=min(_PROCESSES_MAX, len(os.sched_getaffinity(0))),
        begin=begin_beside,
    )


class _Totals:
    """What has become of all records so far."""

    def __init__(self) -> None:
        self.imported = self.known = self.messages = self.points = self.holds = self.bad = 0
        self.shown: list[BadRow] = []

    def add(self, step: Step) -> None:
        self.imported += step.imported
        self.known += step.known
        self.messages += step.messages
        self.points += step.points
        self.holds += step.holds
        self.bad += len(step.bad)
        self.shown += step.bad[: max(_SHOWN_MAX - len(self.shown), 0)]


_Plans = Callable[..., Iterator[Plan | BadRow]]


def _run(asked: _Asked, importer: Importer, plans: _Plans) -> None:
    source = ImportFile(asked.file, asked.path, asked.layout)
    totals = _Totals()
    bad_file: AbstractContextManager[BadRowsFile | None] = nullcontext()
    if asked.bad_rows is not None:
        bad_file = BadRowsFile(asked.bad_rows, source)
    try:
        with bad_file as written, _progress() as progress:
            task = progress.add_task(f"{asked.noun}s", total=_size(asked.file))
            steps = importer.run(plans(source.records(), is_csv=source.is_csv), is_dry_run=asked.is_dry_run)
            for step in steps:
                totals.add(step)
                if written is not None:
                    written.write(step.bad)
                done = totals.imported + totals.known
                progress.update(task, completed=source.bytes_read, description=f"{count_text(done, asked.noun)}")
    except BaseException:
        if totals.imported and not asked.is_dry_run:
            imported = count_text(totals.imported, asked.noun)
            note(f"loyalty: {imported} were imported before this. The same command again goes on there.")
        raise
    if not (totals.imported or totals.known or totals.bad):
        note("loyalty: the file has no rows below the names of its columns.")
    _tell(asked, totals)
    if totals.bad:
        raise typer.Exit(1)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _size(file: BinaryIO) -> int | None:
    try:
        return Path(file.name).stat().st_size if file.seekable() else None
    except OSError:
        return None


def _tell(asked: _Asked, totals: _Totals) -> None:
    if asked.as_json:
        rows = [{"line": bad.line, "column": bad.column, "problem": bad.problem} for bad in totals.shown]
        counts = {name: getattr(totals, name) for name in ("imported", "known", "messages", "points", "holds", "bad")}
        print_json({"name": asked.name, "is_dry_run": asked.is_dry_run, **counts, "bad_rows": rows})
        return
    verb = "would be imported" if asked.is_dry_run else "imported"
    gave = f" with {totals.points:,} points" if totals.imported else ""
    say(
        f"{count_text(totals.imported, asked.noun)} {verb}{gave}, {totals.known:,} were there already, "
        f"{count_text(totals.bad, 'bad row')}.",
        style="bold",
    )
    if totals.holds:
        say(f"{count_text(totals.holds, 'tier')}{' would be' if asked.is_dry_run else ''} held.")
    for bad in totals.shown:
        say(f"Line {bad.line}" + (f", column {bad.column}:" if bad.column else ":"))
        say_below(bad.problem)
    if totals.bad > len(totals.shown):
        advice = "" if asked.bad_rows else "; --bad-rows FILE writes all of them"
        say(f"And {totals.bad - len(totals.shown):,} more{advice}.")
    if totals.bad and asked.bad_rows is not None:
        say(f"They are in {asked.bad_rows}: mend them there, and import that file under --name {asked.name}.")
    if not asked.is_dry_run and not totals.imported and not totals.bad:
        say("Nothing is changed.")
    if asked.is_dry_run:
        say("Nothing is changed. To do it: leave out --dry-run")
