"""One order of a customer: what each rule and promotion gave it, all its refunds, and what the ledger holds for it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from core.domain.ledger import AccountStatus
from core.domain.orders.facts import Refund, RefundLine
from core.domain.program import PointsPaidBasis, TaxBasis
from core.reading.open_messages import OpenMessage
from core.reading.order_outcomes import LineOutcome, OrderOutcome, RefundOutcome
from core.reading.recorded_orders import FulfilledPart
from core.reading.standing import Standings
from workers.cli.account_sentences import FROM_THEN, NEVER, available_text, good_until_text, open_message_text
from workers.cli.command_errors import NoOrderError
from workers.cli.entry_sentences import headline, sentences_of
from workers.cli.outcome_sentences import PartSentence, part_sentence
from workers.cli.output import command_text, count_text, print_json, printable, say, say_below, separated, time_text
from workers.cli.repayment_sentences import payment_text
from workers.cli.rule_sentences import basis_text, kept_texts, money_text, pieces_text

_LINES_MAX = 50


class _Sentences(NamedTuple):
    """What there is to say of one order."""

    rules: list[PartSentence]
    promotions: list[PartSentence]
    lines: list[str]
    basis: list[str]
    refunds: list[str]
    left: list[str]
    open_messages: list[str]


def print_orders(
    outcomes: Sequence[OrderOutcome],
    found: Standings,
    customer_id: str,
    program_id: str | None,
    order_id: str,
    *,
    as_json: bool,
) -> None:
    """Print the orders of this id, one for each program and source that has one; NoOrderError if there is none."""
    if not outcomes:
        where = "" if program_id is None else f" in program {program_id}"
        looked_up = command_text("dead list --order", order_id)
        shown = printable(order_id, is_line=True)
        messages = [each for standing in found.standings for each in standing.open_messages]
        known = [f"{open_message_text(each)}\n" for each in messages if each.order_id == order_id]
        if any(standing.account.status is AccountStatus.CLOSED for standing in found.standings):
            known.append("The account is closed: an order that comes is recorded, and earns nothing.\n")
        raise NoOrderError(
            order_id=shown, customer_id=customer_id, where=where, looked_up=looked_up, known="".join(known)
        )
    if as_json:
        documents = [_document(each, _sentences(each)) for each in outcomes]
        print_json({"customer_id": customer_id, "order_id": order_id, "as_of": found.as_of, "orders": documents})
        return
    for each in separated(outcomes):
        _print(each, _sentences(each))


def _sentences(order: OrderOutcome) -> _Sentences:
    return _Sentences(
        [part_sentence(outcome, order) for outcome in order.rules],
        [part_sentence(outcome, order) for outcome in order.promotions],
        _line_texts(order),
        _basis_texts(order),
        [_refund_text(refund, order) for refund in order.refunds],
        _holding_texts(order),
        [open_message_text(message) for message in _open_messages(order)],
    )


def _open_messages(order: OrderOutcome) -> list[OpenMessage]:
    """What is about this order and not in the ledger."""
    key = order.recorded.order.source, order.recorded.order.order_id
    return [each for each in order.standing.open_messages if (each.order_source, each.order_id) == key]


def _refund_text(refund: RefundOutcome, order: OrderOutcome) -> str:
    """What a refund changed."""
    (taken, before, after), program = refund, order.program
    when = time_text(taken.refund.occurred_at, program.zone)[:16]
    what = f"Refund {taken.refund.refund_id} of {_refunded_text(taken.refund, order.recorded.order.currency)}"
    if taken.is_cancellation:
        is_part = bool(taken.refund.lines)
        what = f"Cancelled{' ' + _refunded_text(taken.refund, order.program.currency) if is_part else ''}"
    text = f"{when}  {what}: the order earned {before.points:,} before it and earns {after.points:,} with it."
    text += f" {count_text(taken.points_taken, 'point')} {'was' if taken.points_taken == 1 else 'were'} taken"
    if taken.points_excused:
        text += f", {taken.points_excused:,} not taken a second time, as they had expired"
    if taken.points_shortfall:
        text += f", {taken.points_shortfall:,} not taken, by the program's clawback policy"
    return " ".join([f"{text}.", *kept_texts(after.why)])


def _part_text(part: FulfilledPart, zone: ZoneInfo) -> str:
    """What was fulfilled before the rest."""
    lines = []
    for line in part.lines[:_LINES_MAX]:
        pieces = "" if line.quantity is None else f" ({pieces_text(str(line.quantity))})"
        lines.append(f"line {printable(line.line_id, is_line=True)}{pieces}")
    if len(part.lines) > _LINES_MAX:
        lines.append(count_text(len(part.lines) - _LINES_MAX, "more line"))
    return f"Of it, {', '.join(lines)} {'was' if len(lines) == 1 else 'were'} fulfilled at {_time(part, zone)}."


def _time(part: FulfilledPart, zone: ZoneInfo) -> str:
    return time_text(part.occurred_at, zone)[:16]


def _refunded_text(refund: Refund, currency: str) -> str:
    if refund.full:
        return "everything"
    if not refund.lines:
        return f"{' and '.join(_money_texts(refund, currency))} of the whole order"
    parts = []
    for part in refund.lines:
        pieces = [] if part.quantity is None else [pieces_text(str(part.quantity))]
        parts.append(f"line {part.line_id} ({', '.join([*pieces, *_money_texts(part, currency)])})")
    return ", ".join(parts)


def _money_texts(given_back: Refund | RefundLine, currency: str) -> Iterator[str]:
    if given_back.paid is not None:
        yield f"{money_text(str(given_back.paid), currency)} as it was paid"
    if given_back.net is not None:
        yield f"{money_text(str(given_back.net), currency)} net"


def _line_texts(order: OrderOutcome) -> list[str]:
    """The lines of the order and what of each earns now."""
    currency, texts = order.program.currency, []
    ordered_in = order.recorded.order.currency
    for outcome in order.lines[:_LINES_MAX]:
        line = outcome.line
        name = f"Line {line.line_id}" + ("" if line.sku is None else f", {line.sku}")
        what = f"{name}, {line.quantity} for {money_text(str(line.amount), ordered_in)}"
        texts.append(f"{what}: {'; '.join(_counting_texts(outcome, currency))}.")
    if len(order.lines) > _LINES_MAX:
        texts.append(f"And {count_text(len(order.lines) - _LINES_MAX, 'more line')}.")
    return texts


def _counting_texts(outcome: LineOutcome, currency: str) -> Iterator[str]:
    """What counts of one line, and why the rest does not."""
    if not outcome.is_earning:
        yield f"a line of kind {outcome.line.kind} does not earn"
        return
    counted = outcome.amount
    yield "nothing of it counts" if counted is None else f"{money_text(counted, currency)} of it count"
    if outcome.returned is not None:
        yield f"{outcome.returned} of {outcome.line.quantity} came back"
    if outcome.refunded is not None:
        yield f"{money_text(outcome.refunded, currency)} were refunded"
    if outcome.paid_with_points is not None:
        yield f"{money_text(outcome.paid_with_points, currency)} were paid with points"


def _basis_texts(order: OrderOutcome) -> list[str]:
    """What was paid with points, and the tax: whether they count, which the program says."""
    facts, basis = order.recorded.order, order.program.basis
    currency, texts = facts.currency, []
    if "converted" in order.now.why:
        texts.append(f"{basis_text(order.now.why, order.program.currency)} count now.")
    if facts.points_paid:
        counts = "count like money" if basis.points_paid is PointsPaidBasis.INCLUDED else "do not count"
        texts.append(
            f"{money_text(str(facts.points_paid), currency)} of the order were paid with points{payment_text(facts)};"
            f" they {counts}."
        )
    tax = sum([line.tax for line in facts.lines], Decimal(0))
    if tax:
        counts = "counts too" if basis.tax is TaxBasis.INCLUDED else "does not count"
        texts.append(f"The tax of {money_text(str(tax), currency)} {counts}.")
    return texts


def _holding_texts(order: OrderOutcome) -> list[str]:
    """What is left of the order's points."""
    recorded, standing = order.recorded, order.standing
    zone, texts = order.program.zone, []
    for lot in order.lots:
        is_one = lot.points_remaining == 1
        they, verb, s = ("it", "is", "s") if is_one else ("they", "are", "")
        left = f"{count_text(lot.points_remaining, 'point')} of it {verb} left"
        end = good_until_text(lot, standing.program)
        if lot.is_due(standing.as_of):
            texts.append(f"{left}; {they} could be used until {end}, and expiry takes {'it' if is_one else 'them'}.")
            continue
        waits = f"pending, available {available_text(lot, zone).removeprefix('pending until ')}"
        if lot.available_at is None and recorded.fulfilled_parts:
            waits = "pending, available when the rest of the order is fulfilled"
        until = f"{they} can be used until {end}"
        if end == NEVER:
            until = f"{they} never expire{s}"
        elif end == FROM_THEN:
            until = f"how long {they} can be used is counted from then"
        texts.append(f"{left}: {waits if lot.is_pending else 'available'}; {until}.")
    if recorded.sequence is None and not order.entries:
        texts.append("The ledger has no entry for it, as it earned nothing.")
    elif not order.lots:
        texts.append("None of its points are left: they were taken back, expired, or paid off a deficit.")
    if not standing.is_past and order.now.points != recorded.points_entitled:
        texts.append(
            f"Worked out again it earns {order.now.points:,}, but the ledger has {recorded.points_entitled:,}:"
            " run `loyalty verify`."
        )
    return texts


def _document(order: OrderOutcome, sentences: _Sentences) -> dict[str, Any]:
    recorded = order.recorded
    return {
        "source": recorded.order.source,
        "program_id": recorded.program_id,
        "program_version": recorded.program_version,
        "tier": recorded.tier_id,
        "occurred_at": recorded.order.occurred_at,
        "recorded_at": recorded.recorded_at,
        "fulfilled_at": recorded.fulfilled_at,
        "fulfilled_parts": [
            {
                "occurred_at": part.occurred_at,
                "lines": [
                    {"line_id": line.line_id, **({} if line.quantity is None else {"quantity": str(line.quantity)})}
                    for line in part.lines
                ],
            }
            for part in recorded.fulfilled_parts
        ],
        "cancelled_at": recorded.cancelled_at,
        "revision": recorded.revision,
        "undone_refunds": [undone._asdict() for undone in recorded.undone],
        "points_at_first": order.at_first.points,
        "points_now": order.now.points,
        "points_in_ledger": recorded.points_entitled,
        "points_paid": None if not recorded.order.points_paid else str(recorded.order.points_paid),
        "points_authorization_id": recorded.order.points_authorization_id,
        "points_command_id": recorded.order.points_command_id,
        "points_command_source": recorded.order.points_command_source,
        "lines": sentences.lines,
        "basis": sentences.basis,
        "rules": sentences.rules,
        "promotions": sentences.promotions,
        "why_at_first": order.at_first.why,
        "why_now": order.now.why,
        "refunds": sentences.refunds,
        "entries": [
            {**entry._asdict(), "sentences": sentences_of(entry, order.program.zone)} for entry in order.entries
        ],
        "left": sentences.left,
        "open_messages": None if order.standing.is_past else _open_messages(order),
    }


def _print(explained: OrderOutcome, sentences: _Sentences) -> None:
    recorded, program = explained.recorded, explained.program
    order, zone = recorded.order, program.zone
    say(
        printable(f"Order {order.order_id} of {order.source}; times in {program.time_zone}", is_line=True), style="bold"
    )
    say(
        f"  It was placed at {time_text(order.occurred_at, zone)[:16]} and posted at "
        f"{time_text(recorded.recorded_at, zone)[:16]}. It earned {count_text(explained.at_first.points, 'point')} "
        f"in tier {recorded.tier_id}, by version {recorded.program_version} of {program.program_id}, "
        "which was in force when it was placed."
    )
    if recorded.revision:
        say(f"  It was edited; this is revision {recorded.revision} of it.")
    for part in recorded.fulfilled_parts:
        say(f"  {_part_text(part, zone)}")
    for name, instant in (("fulfilled", recorded.fulfilled_at), ("cancelled", recorded.cancelled_at)):
        if instant is not None:
            say(f"  It was {name} at {time_text(instant, zone)[:16]}.")
    print_section("Its lines", [*sentences.lines, *sentences.basis])
    for title, outcomes in (
        ("What the rules gave", sentences.rules),
        ("What the promotions gave", sentences.promotions),
    ):
        if outcomes:
            say(title, style="bold")
            for outcome in outcomes:
                say(f"  {outcome.points:,}: {printable(outcome.text, is_line=True)}.")
                for line in outcome.lines:
                    say_below(printable(line, is_line=True), indent=6)
    _print_refunds(explained, sentences)
    say("What the ledger holds for it", style="bold")
    for entry in explained.entries:
        say(f"  {headline(entry, zone)}")
        if "points_entitled_before" in entry.why:  # what it gave at first stands above
            for text in sentences_of(entry, zone):
                say_sentence(text)
    for text in sentences.left:
        say(f"  {text}")
    print_section("What is about it and not there", [text.partition(": ")[2] for text in sentences.open_messages])


def _print_refunds(explained: OrderOutcome, sentences: _Sentences) -> None:
    undone = [
        f"{time_text(each.occurred_at, explained.program.zone)[:16]}  Refund {each.refund_id} did not happen after all."
        for each in explained.recorded.undone
    ]
    print_section("Its refunds", [*sentences.refunds, *undone])
    if sentences.refunds or undone:
        say(f"  It earns {count_text(explained.now.points, 'point')} now.")


def say_sentence(text: str) -> None:
    """Print a sentence below its entry; what is indented, more so."""
    sentence = text.lstrip()
    say_below(printable(sentence, is_line=True), indent=6 + len(text) - len(sentence))


def print_section(title: str, texts: list[str]) -> None:
    """Print sentences below a title; nothing if there are none."""
    if texts:
        say(title, style="bold")
        for text in texts:
            say(f"  {printable(text, is_line=True)}")
