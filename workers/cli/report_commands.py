"""`loyalty report`: what finance asks of the books, as text, CSV, JSON or one HTML page."""

import csv
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from core.domain.accounting.liability import Liability
from core.domain.accounting.months import Month, month_at, month_of, months_between
from core.domain.calendar import YEAR_MAX, YEAR_MIN
from core.reading.finance.activity import first_month, load_activity
from core.reading.finance.owed import load_owed
from core.reading.finance.promotion import load_promotion, programs_with
from core.reading.snapshot import Snapshot
from workers.cli.activity_report import ACTIVITY, activity_report
from workers.cli.command_errors import (
    FutureInstantError,
    MonthError,
    MonthNotOverError,
    MonthOrderError,
    OneOptionError,
    PageNotWrittenError,
    UnknownPromotionError,
)
from workers.cli.liability_report import LIABILITY, liability_report
from workers.cli.output import AsJson, Row, note, print_facts, print_json, print_listing, printable, say, separated
from workers.cli.promotion_report import PROMOTION, promotion_report
from workers.cli.report_page import report_page
from workers.cli.reports import Kind, Report
from workers.cli.wiring import opened_snapshot, read_instant

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, with a line of headers.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plots to this file.")]
OfProgram = Annotated[str | None, typer.Option("--program", help="Only this program.")]
_MONTHS_OF_YEAR = 12
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})\Z")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(liability)
    group.command()(activity)
    group.command()(promotion)
    app.add_typer(group, name="report", help="What finance asks: what is owed in points, and what became of them.")


def liability(
    program_id: OfProgram = None,
    month_text: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="At the end of this month, as it was kept.")
    ] = None,
    as_of_text: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="By what was recorded before this time; now by default."),
    ] = None,
    html: Html = None,
    *,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Say what is owed in points and in money: by age, by month of expiry, by tier, and what will expire unused.

    \b
    loyalty report liability
    loyalty report liability --month 2026-10 --html october.html
    loyalty report liability --program high-street --as-of 2026-11-15T00:00:00Z --csv
    """
    _one_of({"--csv": as_csv, "--json": as_json}, {"--month": month_text, "--as-of": as_of_text})
    month = None if month_text is None else read_month(month_text, "--month")
    as_of = None if as_of_text is None else read_instant(as_of_text, "--as-of")
    with opened_snapshot(Settings()) as now:
        if as_of is not None and as_of > now.as_of:
            raise FutureInstantError(option="--as-of", text=as_of_text)
        found = [_liability(now, each, month, as_of or now.as_of) for each in _programs(now, program_id)]
    _give(LIABILITY, [liability_report(each) for each in found], html, as_csv=as_csv, as_json=as_json)


def _liability(now: Snapshot, program_id: str, day: date | None, as_of: datetime) -> Liability:
    if day is None:
        return load_owed(now.connection, now.registry, program_id, as_of)
    month = month_at(now.registry, program_id, day)
    if as_of < month.ends_at:
        raise MonthNotOverError(month=month.text, program_id=program_id)
    return load_owed(now.connection, now.registry, program_id, month)


def activity(
    program_id: OfProgram = None,
    month_text: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="Only this month; all by default.")
    ] = None,
    first_text: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM", help="From this month on; from the first by default.")
    ] = None,
    last_text: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM", help="To this month; to the present one by default.")
    ] = None,
    html: Html = None,
    *,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Say what became of points month by month: issued by which rule, redeemed, expired, clawed back, and at what cost.

    \b
    loyalty report activity
    loyalty report activity --month 2026-10
    loyalty report activity --program high-street --from 2026-01 --to 2026-06 --csv

    An entry is of the month in which it was recorded: what comes late is of the month in which it came.
    """
    _one_of(
        {"--csv": as_csv, "--json": as_json},
        {"--month": month_text, "--from": first_text},
        {"--month": month_text, "--to": last_text},
    )
    texts = {"--month": month_text, "--from": first_text, "--to": last_text}
    days = {option: None if text is None else read_month(text, option) for option, text in texts.items()}
    first, last = days["--month"] or days["--from"], days["--month"] or days["--to"]
    with opened_snapshot(Settings()) as now:
        reports = []
        for each in _programs(now, program_id):
            months = _months(now, each, first, last)
            reports.append(activity_report(load_activity(now.connection, now.registry, each, months)))
    _give(ACTIVITY, reports, html, as_csv=as_csv, as_json=as_json)


def _months(now: Snapshot, program_id: str, first: date | None, last: date | None) -> list[Month]:
    registry = now.registry
    present = month_of(registry, program_id, now.as_of).first_day
    until = last or present
    if until > present:
        raise MonthOrderError(option="--month" if first == last else "--to", month=f"{until:%Y-%m}")
    since = first or min(until, first_month(now.connection, registry, program_id) or until)
    if since > until:
        raise MonthOrderError(option="--from", month=f"{since:%Y-%m}")
    return months_between(registry, program_id, since, until)


def promotion(
    promotion_id: Annotated[str, typer.Argument(metavar="PROMOTION", help="Its id in the program file.")],
    program_id: OfProgram = None,
    html: Html = None,
    *,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Say what became of a promotion: how many orders had it, what it has cost, and how much came back with refunds.

    \b
    loyalty report promotion double-coffee
    loyalty report promotion double-coffee --program grocer --html coffee.html
    """
    _one_of({"--csv": as_csv, "--json": as_json})
    with opened_snapshot(Settings()) as now:
        connection, registry = now.connection, now.registry
        wanted = _programs(now, program_id)
        having = [each for each in programs_with(registry, promotion_id) if each in wanted]
        if not having:
            known = {
                each.promotion_id for id_ in wanted for every in registry.programs(id_) for each in every.promotions
            }
            raise UnknownPromotionError(promotion_id=promotion_id, known=", ".join(sorted(known)) or "none")
        reports = [promotion_report(load_promotion(connection, registry, each, promotion_id)) for each in having]
    _give(PROMOTION, reports, html, as_csv=as_csv, as_json=as_json)


def _one_of(*choices: dict[str, object]) -> None:
    for choice in choices:
        given = [option for option, value in choice.items() if value]
        if len(given) > 1:
            raise OneOptionError(options=" and ".join(given))


def read_month(text: str, option: str) -> date:
    """Read a month, such as 2026-11: its first day. MonthError unless it is one."""
    found = _MONTH.match(text)
    if found is None or not YEAR_MIN <= int(found[1]) <= YEAR_MAX or not 1 <= int(found[2]) <= _MONTHS_OF_YEAR:
        raise MonthError(option=option, text=printable(text, is_line=True), first=YEAR_MIN, last=YEAR_MAX)
    return date(int(found[1]), int(found[2]), 1)


def _programs(now: Snapshot, program_id: str | None) -> list[str]:
    if program_id is None:
        return now.registry.program_ids()
    now.program(program_id)
    return [program_id]


def _give(kind: Kind, reports: Sequence[Report], html: Path | None, *, as_csv: bool, as_json: bool) -> None:
    if html is not None:
        try:
            html.write_text(report_page(kind.title, reports), encoding="utf-8")
        except OSError as error:
            raise PageNotWrittenError(path=html, reason=error.strerror) from error
    if as_json:
        print_json({"programs": [report.document for report in reports]})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(kind.csv_headers)
        for report in reports:
            writer.writerows(report.csv_rows)
    else:
        _print(reports)
    if html is not None:
        note(f"The report is in {html}.")


def _print(reports: Sequence[Report]) -> None:
    if not reports:
        say("No program has been applied yet, so nothing is owed.")
    for report in separated(reports):
        say(report.headline, style="bold")
        for text in report.notes:
            say(text)
        print_facts(report.facts)
        for table in report.tables:
            if table.rows:
                say()
                say(table.caption, style="bold")
                print_listing(table.headers, [Row(cells) for cells in table.rows])
