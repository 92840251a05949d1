"""`loyalty lots extend`: points that last longer than their program says, by command."""

from datetime import date, datetime
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.domain.program.fields import DAYS_MAX
from core.domain.program.registry import ProgramRegistry
from core.mending.lot_extensions import Extension, ExtensionOutcome, Hand, LotFilter, NewEnd, extend_everywhere
from core.reading.snapshot import snapshot_of
from core.reading.standing import require_accounts
from workers.cli.command_errors import (
    DayError,
    UntilWhenError,
    WhichLotsError,
    WhyError,
)
from workers.cli.output import (
    AsJson,
    ProgressLine,
    Row,
    count_text,
    print_json,
    print_listing,
    printable,
    say,
    until_text,
)
from workers.cli.wiring import By, acting, opened_database, read_instant
from workers.secrets import writing_key

#: Lots that are shown one by one; all are counted.
_SHOWN_MAX = 10
_YEARS_MAX = 100


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(extend)
    app.add_typer(group, name="lots", help="Points that expire: let them last longer.")


def extend(
    *,
    program_id: Annotated[str | None, typer.Option("--program", help="Lots of this program.")] = None,
    customer_id: Annotated[str | None, typer.Option("--customer", help="Lots of this customer's accounts.")] = None,
    expiring_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Points that are of no use from this instant on.")
    ] = None,
    earned_by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Lots of the rule or promotion of that name, if it has an expiry of its own."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="DATE", help="Their last day, in the program's time zone.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=DAYS_MAX, help="How many days longer.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with each change.")] = None,
    by: By = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Do it; without it nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let points last longer: show which lots would, or with --apply let them, beside running workers.

    \b
    loyalty lots extend --program high-street --expiring-before 2027-02-01T00:00:00+00:00 --to 2027-03-31
    loyalty lots extend --customer C-1001 --days 30 --reason "the parcel was late" --apply

    Only ever later, and only what has not expired yet. --apply needs a --reason, which the table repairs keeps with who
    did it; loyalty.points.extended tells of each account. --to can be given again and changes nothing more; --days
    adds its days each time. Customers who were reminded of the old day are reminded anew.
    """
    end = _new_end(to, days)
    hand = _hand(reason, by) if is_applied else None
    instant = read_instant(expiring_before, "--expiring-before") if expiring_before is not None else None
    chosen = LotFilter(program_id, customer_id, instant, earned_by)
    if chosen == LotFilter():
        raise WhichLotsError
    settings, found, progress = Settings(), _Summary(), ProgressLine(is_quiet=as_json)
    with opened_database(settings) as engine:
        registry, as_of = _look(engine, chosen)
        if end.last_day is not None and end.last_day.year > as_of.year + _YEARS_MAX:
            raise DayError(option="--to", text=to, years_max=_YEARS_MAX)
        key = writing_key(settings)
        for outcome in extend_everywhere(engine, registry, chosen, end, as_of, settings.event_source, hand, key):
            found.take(outcome)
            progress.show(f"{count_text(found.lots, 'lot')} of {count_text(found.accounts, 'account')}")
    progress.clear()
    if as_json:
        print_json(_document(found, is_applied=is_applied))
    else:
        _say(found, registry, as_of, is_applied=is_applied)


class _Summary:
    """The count of everything, and a sample."""

    def __init__(self) -> None:
        self.accounts = 0
        self.lots = 0
        self.points = 0
        self.lasting = 0
        self.sample: list[Extension] = []

    def take(self, extended: ExtensionOutcome) -> None:
        """Count the lots of one batch of accounts."""
        self.accounts += len({each.of.account_id for each in extended.extensions})
        self.lots += len(extended.extensions)
        self.points += sum(each.of.lot.points_remaining for each in extended.extensions)
        self.lasting += extended.lasting
        self.sample += extended.extensions[: _SHOWN_MAX - len(self.sample)]


def _hand(reason: str | None, by: str | None) -> Hand:
    if reason is None or not reason.strip():
        raise WhyError
    return Hand(acting(by), reason.strip())


def _new_end(to: str | None, days: int | None) -> NewEnd:
    if (to is None) == (days is None):
        raise UntilWhenError
    if to is None:
        return NewEnd(days=days)
    try:
        return NewEnd(last_day=date.fromisoformat(to))
    except ValueError as error:
        raise DayError(option="--to", text=printable(to), years_max=_YEARS_MAX) from error


def _look(engine: Engine, chosen: LotFilter) -> tuple[ProgramRegistry, datetime]:
    """The programs and the time; UnknownProgramError and UnknownCustomerError for what is chosen and is not there."""
    with engine.begin() as connection:
        now = snapshot_of(connection)
        if chosen.program_id is not None:
            now.program(chosen.program_id)
        if chosen.customer_id is not None:
            require_accounts(connection, chosen.customer_id, chosen.program_id)
        return now.registry, now.as_of


def _document(found: _Summary, *, is_applied: bool) -> dict[str, Any]:
    return {
        "is_applied": is_applied,
        "accounts": found.accounts,
        "lots": found.lots,
        "points": found.points,
        "lots_lasting_already": found.lasting,
        "sample": [
            {
                "account_id": each.of.account_id,
                "customer_id": each.of.customer_id,
                "program_id": each.of.program_id,
                "lot_number": each.of.lot.lot_number,
                "points": each.of.lot.points_remaining,
                "expires_at": each.of.lot.expires_at,
                "new_expires_at": each.expires_at,
            }
            for each in found.sample
        ],
    }


def _say(found: _Summary, registry: ProgramRegistry, as_of: datetime, *, is_applied: bool) -> None:
    if found.sample:
        rows = []
        for each in found.sample:
            zone, expires_at = registry.at(each.of.program_id, as_of).program.zone, each.of.lot.expires_at
            assert expires_at is not None
            rows.append(
                Row(
                    (
                        each.of.customer_id,
                        each.of.program_id,
                        f"{each.of.lot.points_remaining:,}",
                        until_text(expires_at, zone),
                        until_text(each.expires_at, zone),
                    )
                )
            )
        print_listing(("Customer", "Program", ">Points", "Good until", "Extended to"), rows)
    if found.lots > len(found.sample):
        say(f"Shown are the first {len(found.sample)}.")
    if found.lasting:
        other = "other " if found.lots else ""
        say(f"{count_text(found.lasting, f'{other}lot lasts', f'{other}lots last')} that long already: unchanged.")
    what = f"{count_text(found.lots, 'lot')} of {count_text(found.accounts, 'account')}"
    what += f", {count_text(found.points, 'point')}"
    if not found.lots:
        say("Nothing to extend: no lot fits that has points left, has not expired, and expires sooner than that.")
    elif is_applied:
        say(f"Extended: {what}. The table repairs keeps what was there.")
    else:
        say(f"Would be extended: {what}. Nothing is changed; to do it: add --apply")
