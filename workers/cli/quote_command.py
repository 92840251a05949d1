"""`loyalty quote`: what an order would earn now."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.lots import Lot
from core.domain.orders.facts import Order
from core.domain.outcomes import Parked
from core.domain.program.registry import ProgramRegistry
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.fields import NAMING
from core.messages.inbound.reading import ReadEvent, read_message, read_settled
from core.messages.outbound.event_json import instant_text
from core.reading.quoting import Quote, quote
from core.store.engine import begin_reading, database_now
from core.store.programs import load_registry, require_program
from workers.bootstrap import message_limits
from workers.cli.account_sentences import after_text
from workers.cli.command_errors import NoOrderToQuoteError, OrderNotQuotedError
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
from workers.cli.wiring import opened_database

#: Stands for what the data alone do not say. No order is ever posted under these.
_SOURCE, _ID = "/quote", "quote"
_STDIN = Path("-")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("quote")(quote_order)


def quote_order(
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
    raw = _read(file)
    settings = Settings()
    with opened_database(settings) as engine, engine.begin() as connection:
        begin_reading(connection)
        registry, as_of = load_registry(connection), database_now(connection)
        if program_id is not None:
            require_program(registry, program_id)
        body = _event(raw, instant_text(as_of), customer_id, program_id, registry)
        event = read_message(body, limits=message_limits(settings)._replace(sources=None), now=as_of)[0]
        if not isinstance(event, ReadEvent):
            raise OrderNotQuotedError(reason=event.reason.value, detail=event.detail)
        message = read_settled(INBOUND[event.type], event.source, event.occurred_at, event.settled).message
        if not isinstance(message.fact, Order):
            raise NoOrderToQuoteError(file=file, found=f"an {event.type}")
        found = quote(connection, message, registry, as_of)
    if isinstance(found, Parked):
        raise OrderNotQuotedError(reason=found.reason.value, detail=found.detail)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()
    except OSError as error:
        raise NoOrderToQuoteError(file=file, found=f"nothing that can be read ({error.strerror})") from error


def _event(
    raw: bytes, now_text: str, customer_id: str | None, program_id: str | None, registry: ProgramRegistry
) -> bytes:
    """Make an event of what is given; what is no JSON object stays as it is, for reading to say what is wrong."""
    try:
        # Numbers stay as they are written: whether one may stand there is for the contract to say.
        given = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(given, dict):
        return raw
    is_event = isinstance(given.get("data"), dict) and "type" in given
    data: dict[str, Any] = given["data"] if is_event else given
    if customer_id is not None:
        data = {name: value for name, value in data.items() if name not in NAMING} | {"customer_id": customer_id}
        given = {**given, "data": data} if is_event else data
    if program_id is not None:
        data["program_id"] = program_id
    if not is_event:
        data.setdefault("order_id", _ID)
        if data.get("program_id") is None and len(registry.program_ids()) == 1:
            data["program_id"] = registry.program_ids()[0]
        given = {"id": _ID, "source": _SOURCE, "type": "order.completed", "time": now_text, "data": data}
    return json.dumps(given).encode()


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
