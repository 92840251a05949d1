"""Why an entry has its points, in sentences: from the calculation that the ledger keeps with it."""

from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

from core.domain.ledger import EntryKind
from core.domain.merges import MergeRole
from core.reading.accounts import HistoryEntry
from workers.cli.command_sentences import command_text
from workers.cli.output import count_text, printable, time_text, until_text
from workers.cli.repayment_sentences import repayment_headline, repayment_text, void_headline, void_text
from workers.cli.rule_sentences import (
    Calculation,
    basis_text,
    earning_texts,
    line_texts,
    money_text,
    rule_text,
    with_counted_rules,
)

_CLAWED_BACK = "No others were left for what is taken back next, and the program's clawback takes reserved points then."


def why_text(entry: HistoryEntry, zone: ZoneInfo) -> str:
    """One readable sentence or two: what led to the points of this entry."""
    match entry.kind:
        case EntryKind.ACCRUAL if "points_entitled_before" in entry.why:
            text = f"{_before_and_after_text(entry)} {_earning_text(entry)}"
        case EntryKind.ACCRUAL:
            text = _earning_text(entry)
        case EntryKind.CLAWBACK if entry.return_id is not None:
            text = f"{_returned_text(entry)} {_earning_text(entry)}{_not_taken_text(entry)}"
        case EntryKind.CLAWBACK:
            text = f"{_before_and_after_text(entry)} {_earning_text(entry)}{_not_taken_text(entry)}"
        case EntryKind.EXPIRY:
            text = _expiry_text(entry, zone)
        case EntryKind.RELEASE:
            text = _release_text(entry)
        case EntryKind.VOID if "clawed_back" in entry.why:
            text = _CLAWED_BACK
        case EntryKind.REPAYMENT if "repayment" in entry.why:
            text = repayment_text(entry)
        case EntryKind.VOID if "cancelled_order" in entry.why:
            text = void_text(entry)
        case _:
            text = command_text(entry)
    return text + _acting_text(entry) + _pending_text(entry) + _deficit_text(entry)


def _acting_text(entry: HistoryEntry) -> str:
    who = entry.acting_customer_id
    return "" if who is None else f" It was customer {printable(who)} who did that, a member of the account."


def sentences_of(entry: HistoryEntry, zone: ZoneInfo) -> list[str]:
    """The same for reading out, one sentence each: rule by rule, and indented the lines that a rule selects."""
    match entry.kind:
        case EntryKind.ACCRUAL if "points_entitled_before" in entry.why:
            texts = [_before_and_after_text(entry), _basis_text(entry), *_earning_sentences(entry)]
        case EntryKind.ACCRUAL:
            texts = [_basis_text(entry), *_earning_sentences(entry)]
        case EntryKind.CLAWBACK if entry.return_id is not None:
            texts = [_returned_text(entry), *_earning_sentences(entry), _not_taken_text(entry).strip()]
        case EntryKind.CLAWBACK:
            texts = [_before_and_after_text(entry), _basis_text(entry), *_earning_sentences(entry)]
            texts.append(_not_taken_text(entry).strip())
        case EntryKind.EXPIRY:
            texts = [_expiry_text(entry, zone)]
        case EntryKind.RELEASE:
            texts = [_release_text(entry)]
        case EntryKind.VOID if "clawed_back" in entry.why:
            texts = [_CLAWED_BACK]
        case EntryKind.REPAYMENT if "repayment" in entry.why:
            texts = [repayment_text(entry)]
        case EntryKind.VOID if "cancelled_order" in entry.why:
            texts = [void_text(entry)]
        case _:
            texts = [command_text(entry)]
    texts += [_acting_text(entry).strip(), _pending_text(entry).strip(), _deficit_text(entry).strip()]
    return [text for text in texts if text]


def headline(entry: HistoryEntry, zone: ZoneInfo) -> str:
    """What happened, with what it did to the balance."""
    what = {
        EntryKind.ACCRUAL: _accrual_headline(entry),
        EntryKind.CLAWBACK: _clawback_headline(entry),
        EntryKind.EXPIRY: "Expiry took",
        EntryKind.RELEASE: _released_text(entry),
        EntryKind.CREDIT: "A command gave",
        EntryKind.DEBIT: "Closing the account took" if "forfeited" in entry.why else "A command took",
        EntryKind.ADJUSTMENT: "A correction took" if entry.points < 0 else "A correction gave",
        EntryKind.TRANSFER: "A transfer took" if entry.points < 0 else "A transfer brought",
        EntryKind.MERGE: _merge_headline(entry),
        EntryKind.CONVERSION: "A conversion took" if entry.points < 0 else "A conversion gave",
        EntryKind.REVERSAL: "A reversal took" if entry.points + entry.pending_change < 0 else "A reversal gave back",
        **_held_headlines(entry),
        EntryKind.REDEMPTION: "The customer redeemed",
        EntryKind.REPAYMENT: repayment_headline(entry) if entry.kind is EntryKind.REPAYMENT else "",
    }[entry.kind].format(
        order=entry.order_id,
        refund=entry.refund_id,
        back=entry.return_id,
        revision=entry.why.get("revision"),
        held=entry.why.get("clawed_back", {}).get("authorization_id"),
    )
    is_release = entry.kind is EntryKind.RELEASE
    points = abs(entry.points) if is_release else abs(entry.points + entry.pending_change or entry.reserved_change)
    if is_release and not points:
        points = sum(move.points for move in entry.lots if move.points > 0)
    pending = f", {entry.pending_after:,} pending" if entry.pending_after or entry.pending_change else ""
    reserved = f", {entry.reserved_after:,} reserved" if entry.reserved_after or entry.reserved_change else ""
    return printable(
        f"{entry.sequence}. {time_text(entry.occurred_at, zone)[:16]}  {what} {count_text(points, 'point')}: "
        f"balance {entry.balance_after:,}{pending}{reserved}.",
        is_line=True,
    )


def _held_headlines(entry: HistoryEntry) -> dict[EntryKind, str]:
    """What happened to points that are held: by an authorization, or by an issued reward."""
    reward = {**entry.why.get("command", {}), **entry.why.get("deadline", {})}.get("reward_id")
    if reward is not None:
        ended = "was taken back" if entry.command_id else "expired"
        return {
            EntryKind.AUTHORIZATION: f"Reward {reward} was issued, which reserved",
            EntryKind.CAPTURE: f"Reward {reward} was redeemed for",
            EntryKind.VOID: f"Reward {reward} {ended}, which gave back",
        }
    return {
        EntryKind.AUTHORIZATION: "A command reserved",
        EntryKind.CAPTURE: "A command captured",
        EntryKind.VOID: void_headline(entry),
    }


_MERGE_HEADLINES = {
    MergeRole.MERGED: "The account was merged into another one, which took",
    MergeRole.SURVIVOR: "Another account was merged into this one, which brought",
    MergeRole.PARTED: "The merge of another account was undone, which took",
    MergeRole.RESTORED: "The merge into another account was undone, which gave back",
}


def _merge_headline(entry: HistoryEntry) -> str:
    return _MERGE_HEADLINES[MergeRole(entry.why["merge"])] if entry.kind is EntryKind.MERGE else ""


def _accrual_headline(entry: HistoryEntry) -> str:
    if "revision" in entry.why:
        return "Order {order} was edited (revision {revision}), which gave"
    if "claimed" in entry.why:
        return "Order {order} came to this customer and earned"
    if entry.refund_id is not None:
        return "Refund {refund} of order {order} did not happen after all, which gave back"
    return "Order {order} earned"


def _clawback_headline(entry: HistoryEntry) -> str:
    if "revision" in entry.why:
        return "Order {order} was edited (revision {revision}), which took back"
    if "claimed" in entry.why:
        return "Order {order} went to another customer, which took back"
    if entry.return_id is not None:
        return "Goods came back without a receipt (return {back}), which took"
    if entry.refund_id is not None:
        return "Refund {refund} of order {order} took back"
    return f"{_cancelled_text(entry)}, which took back"


def _cancelled_text(entry: HistoryEntry) -> str:
    if "cancelled_lines" not in entry.why:
        return "Order {order} was cancelled"
    return f"{count_text(entry.why['cancelled_lines'], 'line')} of order {{order}} {_was(entry)} cancelled"


def _was(entry: HistoryEntry) -> str:
    return "was" if entry.why["cancelled_lines"] == 1 else "were"


def _released_text(entry: HistoryEntry) -> str:
    if entry.order_id is None:
        return "The waiting time ended, which made available"
    if "points_waiting" not in entry.why:
        return "Order {order} was fulfilled, which made available"
    if entry.points < 0:
        return "What is fulfilled of order {order} earns less now, so there wait again"
    if not entry.points:
        return "A part of order {order} was fulfilled, which makes available some days later"
    return "A part of order {order} was fulfilled, which made available"


def reference_text(entry: HistoryEntry) -> str:
    """The order and refund of an entry, as the shop names them."""
    parts = []
    if entry.order_id is not None:
        parts.append(f"order {entry.order_id}")
    if entry.refund_id is not None:
        parts.append(f"refund {entry.refund_id}")
    if entry.return_id is not None:
        parts.append(f"return {entry.return_id}")
    return printable(", ".join(parts), is_line=True)


def moves_text(entry: HistoryEntry, zone: ZoneInfo) -> str:
    """Until when the points can be used that were given, or could be that were taken."""
    points: Counter[tuple[bool, datetime | None]] = Counter()
    moves = [move for move in entry.lots if move.points > 0 or "points_waiting" not in entry.why]
    for move in moves:
        points[move.points < 0, move.expires_at] += abs(move.points)
    return ", ".join(
        _move_text(count, end, zone, is_taken=is_taken, is_pending=entry.pending_change > 0)
        for (is_taken, end), count in points.items()
    )


def _move_text(points: int, end: datetime | None, zone: ZoneInfo, *, is_taken: bool, is_pending: bool) -> str:
    if end is not None:
        until = f"good until {until_text(end, zone)}"
    else:
        # The end of points that wait for their order to be fulfilled is not known yet.
        until = "pending" if is_pending else "that never expire"
    return f"{points:,} of those {until}" if is_taken else f"{points:,} {until}"


def _earning_text(entry: HistoryEntry) -> str:
    earned = "; ".join(earning_texts(_counted(entry), None)) or "nothing"
    return f"{_spent_text(entry)} in tier {entry.why.get('tier', '?')}: {earned}."


def _counted(entry: HistoryEntry) -> Calculation:
    is_clawback = entry.kind is EntryKind.CLAWBACK
    after = "points_due" if entry.return_id is not None else "points_entitled_after"
    points = entry.why.get(after, 0) if is_clawback else entry.points + entry.pending_change
    return with_counted_rules(entry.why, points)


def _spent_text(entry: HistoryEntry) -> str:
    return basis_text(entry.why, entry.currency)


def _basis_text(entry: HistoryEntry) -> str:
    kept = " are kept of it and count" if entry.kind is EntryKind.CLAWBACK else " of it count"
    converted = entry.why.get("converted")
    currency = entry.currency if converted is None else converted["currency"]
    paid = "" if entry.points_paid is None else f" {money_text(entry.points_paid, currency)} were paid with points."
    return f"{_spent_text(entry)}{kept}, in tier {entry.why.get('tier', '?')}.{paid}"


def _earning_sentences(entry: HistoryEntry) -> list[str]:
    why = _counted(entry)
    rules = why.get("rules", [])
    whole = str(entry.why.get("basis_amount", "?"))
    texts: list[str] = []
    for rule in rules:
        texts.append(_sentence(rule_text(rule, entry.currency, whole)))
        texts += [f"    {line}." for line in line_texts(rule, entry.currency)]
    others = earning_texts({**why, "rules": []}, entry.currency)
    return texts + [_sentence(text) for text in others]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _before_and_after_text(entry: HistoryEntry) -> str:
    before, after = entry.why.get("points_entitled_before", 0), entry.why.get("points_entitled_after", 0)
    what = "with this refund" if entry.refund_id is not None else "now that it is cancelled"
    if entry.kind is EntryKind.ACCRUAL:
        what = "without this refund"
    if "cancelled_lines" in entry.why:
        what = "without what is cancelled"
    if "revision" in entry.why:
        what = "as it is now"
    if "claimed" in entry.why:
        return f"The order earned {before:,} here."
    return f"The order earns {after:,} {what}, {before:,} before it."


def _returned_text(entry: HistoryEntry) -> str:
    due = count_text(entry.why.get("points_due", 0), "point")
    return f"Bought that day, the goods that came back would have earned {due}."


def _not_taken_text(entry: HistoryEntry) -> str:
    excused, shortfall = entry.why.get("points_excused_as_expired"), entry.why.get("points_shortfall")
    text = ""
    if excused:
        text += f" Not taken a second time, as they have expired: {count_text(excused, 'point')}."
    if shortfall:
        text += f" Not taken, by the program's clawback policy: {count_text(shortfall, 'point')}."
    return text


def _expiry_text(entry: HistoryEntry, zone: ZoneInfo) -> str:
    they = "It" if entry.points + entry.pending_change == -1 else "They"
    return f"{they} could be used until {until_text(entry.occurred_at, zone)}."


def _release_text(entry: HistoryEntry) -> str:
    if "points_waiting" in entry.why:
        available, waiting = entry.why["points_available"], entry.why["points_waiting"]
        verb = "waits" if waiting == 1 else "wait"
        return f"What is fulfilled of it earns {count_text(available, 'point')}; {waiting:,} {verb} for the rest."
    return f"Pending until {'then' if entry.order_id is None else 'their order was fulfilled'}."


def _pending_text(entry: HistoryEntry) -> str:
    if entry.kind is EntryKind.RELEASE or not entry.pending_change:
        return ""
    if entry.pending_change > 0:
        return f" Not available yet, but pending: {count_text(entry.pending_change, 'point')}."
    return f" Taken from what was pending: {count_text(-entry.pending_change, 'point')}."


def _deficit_text(entry: HistoryEntry) -> str:
    if entry.deficit_change < 0:
        return f" Of it, {count_text(-entry.deficit_change, 'point')} paid off the deficit."
    if entry.deficit_change > 0:
        return f" There were no points left for {entry.deficit_change:,} of it: the deficit grew by as much."
    return ""
