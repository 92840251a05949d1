"""`loyalty export`: what leaves for the books of others."""

import sys
from typing import Annotated

import typer

from config.settings import Settings
from core.domain.accounting.months import month_at
from core.reading.finance.journal import load_journal
from workers.cli.command_errors import JournalMonthError, OneProgramError
from workers.cli.journal_formats import JournalFormat, journal_text
from workers.cli.report_commands import read_month
from workers.cli.wiring import opened_snapshot


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_export)
    group.command()(journal)
    app.add_typer(group, name="export", help="What leaves for the books of others.")


def _export() -> None:
    """Keep `journal` a command of its own while there is no other."""


def journal(
    month_text: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="A month that is over.")],
    form: Annotated[JournalFormat, typer.Option("--format", help="Who reads it.")] = JournalFormat.BEANCOUNT,
    program_id: Annotated[
        str | None, typer.Option("--program", help="The program; needed where there are several.")
    ] = None,
    *,
    has_opening: Annotated[
        bool, typer.Option("--opening/--no-opening", help="Whether it opens its accounts with what there was before.")
    ] = True,
) -> None:
    """Print a month of a program's books as double entry: for each day and kind of entry a transaction.

    \b
    loyalty export journal --month 2026-10 > october.beancount
    loyalty export journal --month 2026-11 --no-opening > november.beancount
    loyalty export journal --month 2026-10 --format hledger --program high-street
    """
    day = read_month(month_text, "--month")
    with opened_snapshot(Settings()) as now:
        registry = now.registry
        known = registry.program_ids()
        if program_id is not None:
            now.program(program_id)
        elif len(known) != 1:
            raise OneProgramError(known=", ".join(known) or "none")
        chosen = program_id or known[0]
        month = month_at(registry, chosen, day)
        if now.as_of < month.ends_at:
            raise JournalMonthError(month=month.text, program_id=chosen)
        found = load_journal(now.connection, registry, chosen, month)
    sys.stdout.write(journal_text(found, form, has_opening=has_opening))
