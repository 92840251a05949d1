"""`loyalty quote`: what an order would earn now."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.lots import Lot
from core.reading.quoted_orders import NotAnOrderError, quote_order
from core.reading.quoting import Quote
from workers.bootstrap import message_limits
from workers.cli.account_sentences import after_text
from workers.cli.command_errors import NoOrderToQuoteError
from workers.cli.output import (
    AsJson,
    Row,
    count_text,
    print_facts,
    print_json,
    print_listing,
    say,
    time_text,
    until_text,
)
from workers.cli.rule_sentences import basis_text, promotion_text, rule_text, with_counted_rules
from workers.cli.wiring import opened_snapshot

_STDIN = Path("-")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("quote")(quote)


def quote(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The data of an order.completed event, or the event; - for stdin.")
    ],
    customer_id: Annotated[
        str | None, typer.Option("--customer", help="For this customer; else for the one that the order names.")
    ] = None,
    program_id: Annotated[str | None, typer.Option("--program", help="In this program; else as posting would.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what an order would earn if it were posted now. Writes nothing.

    The customer's tier, limits and first order count, and what is left of budgets. An order that names no customer is
    quoted for a new one. Without a time it is an order of now.

    \b
    loyalty quote order.json
    loyalty quote order.json --customer C-1001 --json
    """
    raw, settings = _read(file), Settings()
    with opened_snapshot(settings) as now:
        try:
            found = quote_order(
                now, raw, customer_id=customer_id, program_id=program_id, limits=message_limits(settings)
            )
        except NotAnOrderError as error:
            raise NoOrderToQuoteError(file=file, found=f"an {error.data['found']}") from error
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()
    except OSError as error:
        raise NoOrderToQuoteError(file=file, found=f"nothing that can be read ({error.strerror})") from error


def _rules(found: Quote) -> list[tuple[dict[str, Any], str]]:
    """What each earning rule that counts gave, with its sentence."""
    why = with_counted_rules(found.why, found.points)
    whole = str(why.get("basis_amount", "?"))
    return [(part, rule_text(part, found.program.currency, whole)) for part in why.get("rules", ())]


def _promotions(found: Quote) -> list[tuple[dict[str, Any], str]]:
    return [(part, promotion_text(part)) for part in found.why.get("promotions", ())]


def _document(found: Quote) -> dict[str, Any]:
    return {
        "program_id": found.program.program_id,
        "program_version": found.version,
        "customer_id": found.account_before.customer_id or None,
        "is_new_customer": found.is_new_customer,
        "needs_account": found.needs_account,
        "is_posted_already": found.is_posted_already,
        "points": found.points,
        "converted": found.why.get("converted"),
        "points_paid_off": found.points_paid_off,
        "tier": found.tier_id,
        "tier_after": found.account_after.tier_id,
        "rules": [{**part, "why_text": text} for part, text in _rules(found)],
        "promotions": [{**part, "why_text": text} for part, text in _promotions(found)],
        "lots": [
            {
                "points": lot.points_granted,
                "is_pending": lot.is_pending,
                "available_at": lot.available_at,
                "expires_at": lot.expires_at,
            }
            for lot in found.lots
        ],
        "balance_after": found.account_after.balance,
        "pending_after": found.account_after.pending,
    }


def _print(found: Quote) -> None:
    before, after = found.account_before, found.account_after
    who = "a new customer" if found.is_new_customer else f"customer {before.customer_id}"
    say(f"The order would earn {count_text(found.points, 'point')} for {who}.", style="bold")
    if found.is_posted_already:
        say(
            "An order of this id is posted already: the same sent again changes nothing, other content is parked as"
            " order_conflict. This is what another order like it would earn."
        )
    if found.needs_account:
        say("Posted now it would earn nothing: the customer has no account, and only a command opens one here.")
    facts = [
        ("Program", f"{found.program.program_id}, version {found.version}"),
        ("Tier that it earns in", found.tier_id),
    ]
    facts.append(("Tier after it", after.tier_id))
    if "converted" in found.why:
        facts.append(("What counts", basis_text(found.why, found.program.currency)))
    facts += [("Points", _lot_text(lot, found)) for lot in found.lots]
    if found.points_paid_off:
        facts.append(("Pays off", f"{count_text(found.points_paid_off, 'point')} of the deficit"))
    facts.append(("Balance after it", f"{after.balance:,}" + (f", pending {after.pending:,}" if after.pending else "")))
    print_facts(facts)
    rows = [Row((part["rule_id"], f"{part['points']:,}"), (text,)) for part, text in _rules(found)]
    rows += [Row((part["promotion_id"], f"{part['points']:,}"), (text,)) for part, text in _promotions(found)]
    if rows:
        say()
        print_listing(("Rule or promotion", ">Points"), rows)


def _lot_text(lot: Lot, found: Quote) -> str:
    zone = found.program.zone
    if not lot.is_pending:
        text = "at once"
    elif lot.available_at is None:
        text = f"{after_text(found.program.availability)}the order is fulfilled"
    else:
        text = f"from {time_text(lot.available_at, zone)[:16]}"
    if lot.expires_at is not None:
        return f"{lot.points_granted:,} {text}, until {until_text(lot.expires_at, zone)}"
    is_open = lot.is_pending and lot.available_at is None
    return f"{lot.points_granted:,} {text}" + ("" if is_open else ", for good")
