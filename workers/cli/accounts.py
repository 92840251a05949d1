"""`loyalty account`: what a customer has, and why."""

from datetime import datetime, tzinfo
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from config.settings import Settings
from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.program import Program
from core.domain.standing import counted_points, next_tier
from core.store.programs import ProgramRegistry, load_registry
from core.store.reports import (
    HistoryEntry,
    OpenRefund,
    database_now,
    load_accounts,
    load_history,
    load_open_lots,
    load_open_refunds,
)
from workers.cli.errors import UnknownCustomerError, UnknownProgramError
from workers.cli.explaining import moves_text, reference_text, why_text
from workers.cli.output import (
    LIMIT_MAX,
    Row,
    count_text,
    points_text,
    print_facts,
    print_json,
    print_listing,
    printable,
    say,
    time_text,
)
from workers.cli.wiring import opened_database

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The shop's own id of the customer.")]
ProgramId = Annotated[str | None, typer.Option("--program", help="Only the account in this program.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(show)
    group.command()(history)
    app.add_typer(group, name="account", help="What a customer has, and why.")


def show(customer_id: CustomerId, program_id: ProgramId = None, *, as_json: AsJson = False) -> None:
    """Show a customer's points: balance, tier, and the lots with their expiry.

    \b
    loyalty account show C-1001
    loyalty account show C-1001 --program high-street --json
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        as_of = database_now(connection)
        registry, accounts = _find(connection, customer_id, program_id)
        found = [
            (account, load_open_lots(connection, account.account_id), load_open_refunds(connection, account.account_id))
            for account in accounts
        ]
    programs = [registry.at(account.program_id, as_of).program for account in accounts]
    if as_json:
        documents = [_document(*facts, program, as_of) for facts, program in zip(found, programs, strict=True)]
        print_json({"customer_id": customer_id, "as_of": as_of, "accounts": documents})
        return
    for place, (facts, program) in enumerate(zip(found, programs, strict=True)):
        if place:
            say()
        _print_account(customer_id, *facts, program, as_of)


def history(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="The last so many entries of each account.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List a customer's ledger entries and why each is there: how the balance came to be what it is.

    \b
    loyalty account history C-1001
    loyalty account history C-1001 --limit 5 --json
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        as_of = database_now(connection)
        registry, accounts = _find(connection, customer_id, program_id)
        found = [(account, load_history(connection, account.account_id, limit)) for account in accounts]
    if as_json:
        documents = [
            {
                "account_id": account.account_id,
                "program_id": account.program_id,
                "entries_in_all": account.sequence,
                "entries": [{**entry._asdict(), "why_text": why_text(entry)} for entry in entries],
            }
            for account, entries in found
        ]
        print_json({"customer_id": customer_id, "as_of": as_of, "accounts": documents})
        return
    for place, (account, entries) in enumerate(found):
        if place:
            say()
        _print_history(customer_id, account, entries, registry.at(account.program_id, as_of).program)


def _find(connection: Connection, customer_id: str, program_id: str | None) -> tuple[ProgramRegistry, list[Account]]:
    registry = load_registry(connection)
    if program_id is not None and program_id not in registry.program_ids():
        raise UnknownProgramError(program_id=program_id, known=", ".join(registry.program_ids()) or "none")
    accounts = load_accounts(connection, customer_id, program_id)
    if not accounts:
        where = "" if program_id is None else f" in program {program_id}"
        raise UnknownCustomerError(customer_id=customer_id, where=where)
    return registry, accounts


def _document(
    account: Account, lots: list[Lot], refunds: list[OpenRefund], program: Program, as_of: datetime
) -> dict[str, Any]:
    following = next_tier(account, program, as_of)
    return {
        "account_id": account.account_id,
        "program_id": account.program_id,
        "program_name": program.name,
        "balance": account.balance,
        "pending": account.pending,
        "deficit": account.deficit,
        "points_past_expiry": _points_past_expiry(lots, as_of),
        "lifetime_points": account.lifetime_points,
        "tier": account.tier_id,
        "tier_since": account.tier_since,
        "tier_until": account.tier_until,
        "qualifying_points": counted_points(account, program, as_of),
        "next_tier": None if following is None else following.tier.tier_id,
        "points_to_next_tier": None if following is None else following.points_to_go,
        "sequence": account.sequence,
        "lots": lots,
        "open_refunds": refunds,
    }


def _print_account(
    customer_id: str, account: Account, lots: list[Lot], refunds: list[OpenRefund], program: Program, as_of: datetime
) -> None:
    zone = program.zone
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}", style="bold")
    print_facts(
        [
            ("Balance", f"{account.balance:,}{_past_expiry_text(lots, as_of)}"),
            *([("Pending", f"{account.pending:,}, not available yet")] if account.pending else []),
            *([("Deficit", f"{account.deficit:,}, which the next points pay off")] if account.deficit else []),
            ("Lifetime points", f"{account.lifetime_points:,}"),
            ("Tier", _tier_text(account, zone)),
            ("Next tier", _next_tier_text(account, program, as_of)),
            ("Entries", f"{account.sequence:,} (loyalty account history {printable(customer_id, is_line=True)})"),
            ("Account", str(account.account_id)),
        ]
    )
    if lots:
        say()
        rows = [
            Row(
                (
                    str(lot.lot_number),
                    f"{lot.points_remaining:,}",
                    f"{lot.points_granted:,}",
                    time_text(lot.available_at, zone)[:16],
                    "never" if lot.expires_at is None else time_text(lot.expires_at, zone)[:16],
                    f"entry {lot.opened_by_sequence}",
                )
            )
            for lot in lots
        ]
        print_listing((">Lot", ">Points left", ">Granted", "Available", "Expires", "From"), rows)
    if refunds:
        say()
        say("Refunds of this customer's orders that are not in the ledger", style="bold")
        rows = [
            Row((str(r.inbox_id), r.order_id, r.state, r.reason or "-", time_text(r.received_at, zone)))
            for r in refunds
        ]
        print_listing((">Message", "Order", "State", "Reason", "Received"), rows)


def _points_past_expiry(lots: list[Lot], as_of: datetime) -> int:
    return sum(lot.points_remaining for lot in lots if lot.is_due(as_of))


def _past_expiry_text(lots: list[Lot], as_of: datetime) -> str:
    points = _points_past_expiry(lots, as_of)
    return f", of which {points:,} have expired and are taken by the next run of expiry" if points else ""


def _tier_text(account: Account, zone: tzinfo) -> str:
    since = "" if account.tier_since is None else f" since {time_text(account.tier_since, zone)[:16]}"
    until = "" if account.tier_until is None else f", reviewed at {time_text(account.tier_until, zone)[:16]}"
    return f"{account.tier_id}{since}{until}"


def _next_tier_text(account: Account, program: Program, as_of: datetime) -> str:
    counted = f"{counted_points(account, program, as_of):,} qualifying points"
    following = next_tier(account, program, as_of)
    if following is None:
        return f"none above it ({counted})"
    return (
        f"{following.tier.tier_id}, {following.points_to_go:,} to go ({counted} of {following.tier.threshold_points:,})"
    )


def _print_history(customer_id: str, account: Account, entries: list[HistoryEntry], program: Program) -> None:
    zone = program.zone
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}", style="bold")
    if not entries:
        say("  No entries: the customer's orders have earned nothing so far.")
        return
    rows = []
    for entry in entries:
        lots = moves_text(entry.lots, zone)
        corrected = "" if entry.corrects_sequence is None else f"corrects entry {entry.corrects_sequence}; "
        recorded = f"{corrected}recorded {time_text(entry.recorded_at, zone)}"
        cells = (
            str(entry.sequence),
            time_text(entry.occurred_at, zone),
            entry.kind.value,
            points_text(entry.points),
            f"{entry.balance_after:,}",
            reference_text(entry),
        )
        rows.append(Row(cells, (why_text(entry), f"{lots}; {recorded}" if lots else recorded)))
    print_listing((">#", "Happened", "Kind", ">Points", ">Balance", "What"), rows)
    if account.sequence > len(entries):
        say(f"The last {len(entries):,} of {count_text(account.sequence, 'entry', 'entries')}; --limit shows more.")
