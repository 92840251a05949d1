"""One order of a customer: what each rule and promotion gave it, all its refunds, and what the ledger holds for it."""

from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.ledger import EntryKind
from core.domain.orders.basket import Basket, amount_text
from core.domain.orders.earning import Entitlement
from core.domain.orders.facts import Refund
from core.domain.program import Program
from core.reading.accounts import HistoryEntry, load_history
from core.reading.orders import RecordedOrder, TakenBack, load_recorded_orders
from workers.cli.errors import NoOrderError
from workers.cli.explaining import headline, told_texts
from workers.cli.order_outcomes import PartOutcome, earned_with, promotion_outcomes, rule_outcomes
from workers.cli.output import LIMIT_MAX, count_text, print_json, printable, say, say_below, time_text
from workers.cli.rule_sentences import kept_texts, money_text
from workers.cli.standing import UNTIL_THEN, Found, Standing, available_text, ends_text

_LINES_MAX = 50


class _Told(NamedTuple):
    """One order with everything that explains it."""

    recorded: RecordedOrder
    standing: Standing  #: of its account
    program: Program  #: the version that was frozen with it
    at_first: Entitlement
    now: Entitlement
    rules: list[PartOutcome]
    promotions: list[PartOutcome]
    refunds: list[str]
    entries: list[HistoryEntry]


def explain_order(
    connection: Connection, found: Found, customer_id: str, program_id: str | None, order_id: str, *, as_json: bool
) -> None:
    """Print the orders of this id, one for each program and source that has one; NoOrderError if there is none."""
    standings = {standing.account.account_id: standing for standing in found.standings}
    orders = load_recorded_orders(connection, standings, order_id, found.as_of)
    if not orders:
        where = "" if program_id is None else f" in program {program_id}"
        raise NoOrderError(order_id=printable(order_id, is_line=True), customer_id=customer_id, where=where)
    told = [_tell(connection, found, standings[recorded.account_id], recorded) for recorded in orders]
    if as_json:
        documents = [_document(each) for each in told]
        print_json({"customer_id": customer_id, "order_id": order_id, "as_of": found.as_of, "orders": documents})
        return
    for place, each in enumerate(told):
        if place:
            say()
        _print(each)


def _tell(connection: Connection, found: Found, standing: Standing, recorded: RecordedOrder) -> _Told:
    program = found.registry.version(recorded.program_id, recorded.program_version).program
    refunds = [each.refund for each in recorded.taken_back]
    return _Told(
        recorded,
        standing,
        program,
        earned_with(recorded, program, ()),
        earned_with(recorded, program, refunds),
        rule_outcomes(recorded, program, ()),
        promotion_outcomes(recorded, program, ()),
        _refund_texts(recorded, program),
        load_history(
            connection,
            recorded.account_id,
            LIMIT_MAX,
            through=standing.account.sequence,
            of_order=(recorded.order.source, recorded.order.order_id),
        ),
    )


def _refund_texts(recorded: RecordedOrder, program: Program) -> list[str]:
    """What each refund changed, in the order in which they were posted."""
    known: list[list[Refund]] = list(accumulate(([each.refund] for each in recorded.taken_back), initial=[]))
    earned = [earned_with(recorded, program, refunds) for refunds in known]
    return [
        _refund_text(each, before, after, program)
        for each, before, after in zip(recorded.taken_back, earned, earned[1:], strict=False)
    ]


def _refund_text(taken: TakenBack, before: Entitlement, after: Entitlement, program: Program) -> str:
    when = time_text(taken.refund.occurred_at, program.zone)[:16]
    what = f"Refund {taken.refund.refund_id} of {_refunded_text(taken.refund, program.currency)}"
    if taken.is_cancellation:
        what = "The order was cancelled"
    text = f"{when}  {what}: it earns {after.points:,} with it, {before.points:,} before."
    text += f" {count_text(taken.points_taken, 'point')} taken"
    if taken.points_excused:
        text += f", {taken.points_excused:,} not taken a second time, as they had expired"
    if taken.points_shortfall:
        text += f", {taken.points_shortfall:,} not taken, by the program's clawback policy"
    return " ".join([f"{text}.", *kept_texts(after.why)])


def _refunded_text(refund: Refund, currency: str) -> str:
    if refund.full:
        return "everything"
    if refund.amount is not None:
        return f"{money_text(str(refund.amount), currency)} of the whole order"
    parts = []
    for part in refund.lines:
        is_money = part.amount is not None
        what = money_text(str(part.amount), currency) if is_money else f"{part.quantity} of its pieces"
        parts.append(f"line {part.line_id} ({what})")
    return ", ".join(parts)


def _line_texts(told: _Told) -> list[str]:
    """The lines of the order and what of each earns now."""
    refunds = [each.refund for each in told.recorded.taken_back]
    kept = Basket(told.recorded.order, refunds, told.program.basis).amounts
    currency, texts = told.program.currency, []
    for place, line in enumerate(told.recorded.order.lines[:_LINES_MAX]):
        name = f"Line {line.line_id}" + ("" if line.sku is None else f", {line.sku}")
        if line.kind not in told.program.basis.kinds:
            counts = f"a line of kind {line.kind} does not earn"
        elif place not in kept:
            counts = "nothing of it is kept"
        else:
            counts = f"{money_text(amount_text(kept[place]), currency)} of it count"
        texts.append(f"{name}, {line.quantity} for {money_text(str(line.amount), currency)}: {counts}.")
    if len(told.recorded.order.lines) > _LINES_MAX:
        texts.append(f"And {count_text(len(told.recorded.order.lines) - _LINES_MAX, 'more line')}.")
    return texts


def _holding_texts(told: _Told) -> list[str]:
    """What is left of the order's points."""
    recorded, standing = told.recorded, told.standing
    zone, texts = told.program.zone, []
    own = [
        lot for lot in standing.lots if recorded.sequence is not None and lot.opened_by_sequence == recorded.sequence
    ]
    for lot in own:
        is_one = lot.points_remaining == 1
        they, verb, s = ("it", "is", "s") if is_one else ("they", "are", "")
        left = f"{count_text(lot.points_remaining, 'point')} of it {verb} left in lot {lot.lot_number}"
        if lot.is_due(standing.as_of):
            ended = ends_text(lot, standing.program)
            texts.append(f"{left}; {they} ended on {ended}, and expiry will take {'it' if is_one else 'them'}.")
            continue
        waits = f"pending, available {available_text(lot, zone).removeprefix('pending until ')}"
        end = ends_text(lot, standing.program)
        until = f"{they} never end{s}" if end == "never" else f"{they} end{s} on {end}"
        if end == UNTIL_THEN:
            until = f"the time that {they} last{s} begins then"
        texts.append(f"{left}: {waits if lot.is_pending else 'available'}; {until}.")
    if recorded.sequence is None:
        texts.append("The ledger has no entry for it, as it earned nothing.")
    elif not own:
        texts.append("None of its points are left: they were taken back, expired, or paid off a deficit.")
    if not standing.is_past and told.now.points != recorded.points_entitled:
        texts.append(
            f"Worked out again it earns {told.now.points:,}, but the ledger has {recorded.points_entitled:,}:"
            " run `loyalty verify`."
        )
    return texts


def _document(told: _Told) -> dict[str, Any]:
    recorded = told.recorded
    return {
        "source": recorded.order.source,
        "program_id": recorded.program_id,
        "program_version": recorded.program_version,
        "tier": recorded.tier_id,
        "occurred_at": recorded.order.occurred_at,
        "recorded_at": recorded.recorded_at,
        "fulfilled_at": recorded.fulfilled_at,
        "cancelled_at": recorded.cancelled_at,
        "points_at_first": told.at_first.points,
        "points_now": told.now.points,
        "points_in_ledger": recorded.points_entitled,
        "lines": _line_texts(told),
        "rules": told.rules,
        "promotions": told.promotions,
        "why_at_first": told.at_first.why,
        "why_now": told.now.why,
        "refunds": told.refunds,
        "entries": [{**entry._asdict(), "sentences": told_texts(entry)} for entry in told.entries],
        "left": _holding_texts(told),
    }


def _print(told: _Told) -> None:
    recorded, program = told.recorded, told.program
    order, zone = recorded.order, program.zone
    say(
        printable(f"Order {order.order_id} of {order.source}; times in {program.time_zone}", is_line=True), style="bold"
    )
    say(
        f"  It is of {time_text(order.occurred_at, zone)[:16]}, was posted at "
        f"{time_text(recorded.recorded_at, zone)[:16]}, and earned {count_text(told.at_first.points, 'point')} "
        f"in tier {recorded.tier_id}, by version {recorded.program_version} of {program.program_id}, "
        "which was in force when it occurred."
    )
    for name, instant in (("fulfilled", recorded.fulfilled_at), ("cancelled", recorded.cancelled_at)):
        if instant is not None:
            say(f"  It was {name} at {time_text(instant, zone)[:16]}.")
    _section("Its lines", _line_texts(told))
    for title, outcomes in (("What the rules gave", told.rules), ("What the promotions gave", told.promotions)):
        if outcomes:
            say(title, style="bold")
            for outcome in outcomes:
                say(f"  {outcome.points:,}: {printable(outcome.text, is_line=True)}.")
                for line in outcome.lines:
                    say_below(printable(line, is_line=True), indent=6)
    if told.refunds:
        _section("Its refunds", told.refunds)
        say(f"  It earns {count_text(told.now.points, 'point')} now.")
    say("What the ledger holds for it", style="bold")
    for entry in told.entries:
        say(f"  {headline(entry, zone)}")
        if entry.kind is EntryKind.CLAWBACK:  # what it gave at first stands above
            for text in told_texts(entry):
                say_told(text)
    for text in _holding_texts(told):
        say(f"  {text}")


def say_told(text: str) -> None:
    """Print a sentence below its entry; what is indented, more so."""
    told = text.lstrip()
    say_below(printable(told, is_line=True), indent=6 + len(text) - len(told))


def _section(title: str, texts: list[str]) -> None:
    if texts:
        say(title, style="bold")
        for text in texts:
            say(f"  {printable(text, is_line=True)}")
