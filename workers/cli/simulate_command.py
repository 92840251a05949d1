"""`loyalty program simulate`: what a changed program would have done with the recorded orders."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from core.domain.program import Program
from core.messages.program_files.program_file import load_program
from core.reading.snapshot import snapshot_of
from core.simulating.beside import compare_recorded
from core.simulating.comparing import sides
from core.simulating.recorded import RecordedMessage
from workers.cli.command_errors import EmptySpanError, PageNotWrittenError, PointValueError
from workers.cli.output import AsJson, ProgressLine, Row, count_text, note, print_json, print_listing, say, time_text
from workers.cli.simulation_figures import Simulation
from workers.cli.simulation_page import simulation_page
from workers.cli.wiring import opened_database, read_start

_ACCOUNTS_MAX = 10_000
_POINT_VALUE_MAX = 1_000_000
_SHOWN_EVERY = 1_000


def simulate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A program file (YAML); - for standard input.", show_default=False)
    ],
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="As if in force from this day or instant; always by default."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Only what happened before this day or instant; now by default."),
    ] = None,
    program_id: Annotated[
        str | None, typer.Option("--program", help="Run the orders of this program; that of the file by default.")
    ] = None,
    point_value: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help='What a point costs, such as "0.01": shows costs too.')
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report with plots to this file.")] = None,
    accounts: Annotated[int, typer.Option(min=0, max=_ACCOUNTS_MAX, help="The most affected accounts to list.")] = 10,
    *,
    as_json: AsJson = False,
) -> None:
    """Run a changed program over the recorded orders and show what would differ. Writes nothing to the database.

    Both the program in force and the changed one are run from the first order on, by the time at which it all happened.
    A day stands for its midnight in the time zone of the file.

    \b
    loyalty program simulate high-street.yaml --point-value 0.01 --html report.html
    loyalty program simulate high-street.yaml --from 2027-01-01 --json
    """
    changed = load_program(file)
    value = None if point_value is None else _value(point_value)
    start = None if since is None else read_start(since, "--from", changed.zone)
    end = None if until is None else read_start(until, "--until", changed.zone)
    simulation = _simulated(
        changed, program_id or changed.program_id, start, end, value, ProgressLine(is_quiet=as_json)
    )
    if html is not None:
        _write_page(html, simulation, accounts)
    if as_json:
        print_json(simulation.document(accounts))
    else:
        _print(simulation, accounts)
    if html is not None:
        note(f"The report is in {html}.")


def _simulated(
    changed: Program,
    program_id: str,
    since: datetime | None,
    until: datetime | None,
    point_value: Decimal | None,
    progress: ProgressLine,
) -> Simulation:
    with opened_database(Settings()) as engine:
        with engine.begin() as connection:
            now = snapshot_of(connection)
            registry, end = now.registry, until or now.as_of
        if since is not None and since >= end:
            raise EmptySpanError(since=time_text(since), until=time_text(end))
        now.program(program_id)
        versions = [version for version in registry.versions() if version.program_id == program_id]
        both = sides(versions, changed, since)
        comparison = compare_recorded(engine, program_id, both, end, lambda messages: _shown(messages, progress))
    progress.clear()
    return Simulation(registry.at(program_id, end), changed, since, end, point_value, comparison)


def _shown(messages: Iterable[RecordedMessage], progress: ProgressLine) -> Iterator[RecordedMessage]:
    for number, recorded in enumerate(messages, start=1):
        if number % _SHOWN_EVERY == 0:
            progress.show(f"{count_text(number, 'message')} simulated")
        yield recorded


def _value(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise PointValueError(text=text) from error
    if not (value.is_finite() and 0 <= value <= _POINT_VALUE_MAX):
        raise PointValueError(text=text)
    return value


def _write_page(path: Path, simulation: Simulation, accounts_max: int) -> None:
    page = simulation_page(simulation, simulation.totals, simulation.most_affected(accounts_max))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise PageNotWrittenError(path=path, reason=error.strerror) from error


def _print(simulation: Simulation, accounts_max: int) -> None:
    say(simulation.headline, style="bold")
    say()
    say(simulation.compared)
    for difference in simulation.differences:
        say(f"  {difference}")
    say()
    say(simulation.caption)
    say()
    headers = ("", ">In force", ">Simulated", ">Difference")
    print_listing(headers, [Row(figures.cells) for figures in simulation.totals])
    say()
    rows = [Row((name, f"{one:,}", f"{other:,}", f"{other - one:+,}")) for name, one, other in simulation.by_name]
    print_listing(("Rule or promotion", *headers[1:]), rows)
    say()
    say("Accounts by tier: in force in the rows, simulated in the columns.")
    print_listing(("", *(f">{tier}" for tier in simulation.tiers)), [Row(cells) for cells in simulation.matrix])
    affected = simulation.most_affected(accounts_max)
    if affected:
        say()
        rows = [
            Row(
                (
                    change.customer_id, f"{change.points_before:,}", f"{change.points_after:,}",
                    f"{change.difference:+,}", change.tier_before, change.tier_after,
                )
            )
            for change in affected
        ]  # fmt: skip
        print_listing(("Most affected", *headers[1:], "Tier in force", "Tier simulated"), rows)
