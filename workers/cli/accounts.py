"""`loyalty account`: what a customer has, and why; and the tier that a person puts them into."""

import typer

from config.settings import Settings
from core.domain.ledger import Account
from core.domain.program import Program
from core.reading.accounts import HistoryEntry, load_history
from workers.cli.account_options import AsOf, CustomerId, EntriesMax, ProgramId
from workers.cli.explain import explain
from workers.cli.explaining import moves_text, reference_text, why_text
from workers.cli.holding import hold_tier
from workers.cli.output import (
    AsJson,
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
from workers.cli.standing import (
    Standing,
    load_standings,
    lot_rows,
    next_tier_text,
    points_past_expiry,
    standing_document,
    tier_text,
)
from workers.cli.wiring import opened_database


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(show)
    group.command()(history)
    group.command()(explain)
    group.command("hold-tier")(hold_tier)
    app.add_typer(group, name="account", help="What a customer has, and why; and a tier that is held by hand.")


def show(customer_id: CustomerId, program_id: ProgramId = None, *, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show a customer's points: balance, pending, tier, and the lots with their expiry; now or in the past.

    \b
    loyalty account show C-1001
    loyalty account show C-1001 --program high-street --json
    loyalty account show C-1001 --as-of 2026-11-20T18:00:00+00:00

    --as-of shows what was recorded by then: what the customer could be shown. What happened before and came in later is
    not in it.
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = load_standings(connection, customer_id, program_id, as_of)
    if as_json:
        documents = [standing_document(standing) for standing in found.standings]
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for place, standing in enumerate(found.standings):
        if place:
            say()
        _print_account(customer_id, standing)


def history(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    limit: EntriesMax = 50,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """List a customer's ledger entries and why each is there: how the balance came to be what it is.

    \b
    loyalty account history C-1001
    loyalty account history C-1001 --limit 5 --json
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = load_standings(connection, customer_id, program_id, as_of)
        histories = [
            (each, load_history(connection, each.account.account_id, limit, through=each.account.sequence))
            for each in found.standings
        ]
    if as_json:
        documents = [
            {
                "account_id": standing.account.account_id,
                "program_id": standing.account.program_id,
                "entries_in_all": standing.account.sequence,
                "entries": [{**entry._asdict(), "why_text": why_text(entry)} for entry in entries],
            }
            for standing, entries in histories
        ]
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for place, (standing, entries) in enumerate(histories):
        if place:
            say()
        _print_history(customer_id, standing.account, entries, standing.program)


def _print_account(customer_id: str, standing: Standing) -> None:
    account, program, as_of, is_past, lots, messages, _ = standing
    zone = program.zone
    then = f"; as it was recorded at {time_text(as_of, zone)}" if is_past else ""
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}{then}", style="bold")
    print_facts(
        [
            ("Balance", f"{account.balance:,}{_past_expiry_text(standing)}"),
            *([("Pending", f"{account.pending:,}, not available yet")] if account.pending else []),
            *([("Deficit", f"{account.deficit:,}, which the next points pay off")] if account.deficit else []),
            ("Lifetime points", f"{account.lifetime_points:,}"),
            ("Tier", tier_text(standing)),
            *([] if is_past else [("Next tier", next_tier_text(standing))]),
            ("Entries", f"{account.sequence:,} (loyalty account explain {printable(customer_id, is_line=True)})"),
            ("Account", str(account.account_id)),
        ]
    )
    if lots:
        say()
        print_listing((">Lot", ">Points left", ">Granted", "Available", "Expires", "From"), lot_rows(standing))
    if messages:
        say()
        say("Messages about this customer's orders that are not in the ledger", style="bold")
        rows = [
            Row((str(m.inbox_id), m.type, m.order_id, m.state, m.reason or "-", time_text(m.received_at, zone)))
            for m in messages
        ]
        print_listing((">Message", "Type", "Order", "State", "Reason", "Received"), rows)


def _past_expiry_text(standing: Standing) -> str:
    points = points_past_expiry(standing.lots, standing.as_of)
    return f", of which {points:,} have expired and are taken by the next run of expiry" if points else ""


def _print_history(customer_id: str, account: Account, entries: list[HistoryEntry], program: Program) -> None:
    zone = program.zone
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}", style="bold")
    if not entries:
        say("  No entries: the customer's orders have earned nothing so far.")
        return
    with_pending = any(entry.pending_after or entry.pending_change for entry in entries)
    rows = []
    for entry in entries:
        lots = moves_text(entry, zone)
        corrected = "" if entry.corrects_sequence is None else f"corrects entry {entry.corrects_sequence}; "
        recorded = f"{corrected}recorded {time_text(entry.recorded_at, zone)}"
        cells = (
            str(entry.sequence),
            time_text(entry.occurred_at, zone),
            entry.kind.value,
            points_text(entry.points),
            f"{entry.balance_after:,}",
            *((f"{entry.pending_after:,}",) if with_pending else ()),
            reference_text(entry),
        )
        rows.append(Row(cells, (why_text(entry), f"{lots}; {recorded}" if lots else recorded)))
    pending = (">Pending",) if with_pending else ()
    print_listing((">#", "Happened", "Kind", ">Points", ">Balance", *pending, "What"), rows)
    if account.sequence > len(entries):
        say(f"The last {len(entries):,} of {count_text(account.sequence, 'entry', 'entries')}; --limit shows more.")
