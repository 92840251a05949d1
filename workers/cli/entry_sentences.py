"""Why an entry has its points, in sentences: from the calculation that the ledger keeps with it."""

from datetime import tzinfo

from core.domain.ledger import EntryKind
from core.reading.accounts import HistoryEntry, LotMove
from workers.cli.output import count_text, printable, time_text
from workers.cli.rule_sentences import (
    Calculation,
    earning_texts,
    line_texts,
    money_text,
    rule_text,
    with_counted_rules,
)


def why_text(entry: HistoryEntry) -> str:
    """One readable sentence or two: what led to the points of this entry."""
    match entry.kind:
        case EntryKind.ACCRUAL:
            text = _earning_text(entry)
        case EntryKind.CLAWBACK:
            text = f"{_before_and_after_text(entry)} {_earning_text(entry)}{_not_taken_text(entry)}"
        case EntryKind.EXPIRY:
            text = f"{_lots_text(entry)} reached the end of {_their(entry)} time."
        case EntryKind.RELEASE:
            text = _release_text(entry)
    return text + _pending_text(entry) + _deficit_text(entry)


def sentences_of(entry: HistoryEntry) -> list[str]:
    """The same for reading out, one sentence each: rule by rule, and indented the lines that a rule selects."""
    match entry.kind:
        case EntryKind.ACCRUAL:
            texts = [_basis_text(entry), *_earning_sentences(entry)]
        case EntryKind.CLAWBACK:
            texts = [_before_and_after_text(entry), _basis_text(entry), *_earning_sentences(entry)]
            texts.append(_not_taken_text(entry).strip())
        case EntryKind.EXPIRY:
            texts = [f"{_lots_text(entry)} reached the end of {_their(entry)} time."]
        case EntryKind.RELEASE:
            texts = [_release_text(entry)]
    texts += [_pending_text(entry).strip(), _deficit_text(entry).strip()]
    return [text for text in texts if text]


def headline(entry: HistoryEntry, zone: tzinfo) -> str:
    """What happened, with what it did to the balance."""
    what = {
        EntryKind.ACCRUAL: "Order {order} earned",
        EntryKind.CLAWBACK: "Refund {refund} of order {order} took back"
        if entry.refund_id is not None
        else "Order {order} was cancelled, which took back",
        EntryKind.EXPIRY: "Time took",
        EntryKind.RELEASE: "Order {order} was fulfilled, which made available"
        if entry.order_id is not None
        else "The waiting time ended, which made available",
    }[entry.kind].format(order=entry.order_id, refund=entry.refund_id)
    is_release = entry.kind is EntryKind.RELEASE
    points = abs(entry.points) if is_release else abs(entry.points + entry.pending_change)
    pending = f", {entry.pending_after:,} pending" if entry.pending_after or entry.pending_change else ""
    return printable(
        f"{entry.sequence}. {time_text(entry.occurred_at, zone)[:16]}  {what} {count_text(points, 'point')}: "
        f"balance {entry.balance_after:,}{pending}.",
        is_line=True,
    )


def reference_text(entry: HistoryEntry) -> str:
    """The order and refund of an entry, as the shop names them."""
    parts = []
    if entry.order_id is not None:
        parts.append(f"order {entry.order_id}")
    if entry.refund_id is not None:
        parts.append(f"refund {entry.refund_id}")
    return printable(", ".join(parts), is_line=True)


def moves_text(entry: HistoryEntry, zone: tzinfo) -> str:
    """Which lots got or gave how many points."""
    return ", ".join(_move_text(move, zone, is_pending=entry.pending_change > 0) for move in entry.lots)


def _move_text(move: LotMove, zone: tzinfo, *, is_pending: bool) -> str:
    if move.points < 0:
        return f"{-move.points:,} from lot {move.lot_number}"
    into = f"{move.points:,} into lot {move.lot_number}"
    if move.expires_at is not None:
        return f"{into} (expires {time_text(move.expires_at, zone)[:16]})"
    # The end of points that wait for their order to be fulfilled is not known yet.
    return f"{into} (pending)" if is_pending else f"{into} (never expires)"


def _earning_text(entry: HistoryEntry) -> str:
    earned = "; ".join(earning_texts(_counted(entry), None)) or "nothing"
    return f"{_spent_text(entry)} in tier {entry.why.get('tier', '?')}: {earned}."


def _counted(entry: HistoryEntry) -> Calculation:
    is_clawback = entry.kind is EntryKind.CLAWBACK
    points = entry.why.get("points_entitled_after", 0) if is_clawback else entry.points + entry.pending_change
    return with_counted_rules(entry.why, points)


def _spent_text(entry: HistoryEntry) -> str:
    return money_text(entry.why.get("basis_amount", "?"), entry.currency)


def _basis_text(entry: HistoryEntry) -> str:
    kept = " are kept of it and count" if entry.kind is EntryKind.CLAWBACK else " of it count"
    return f"{_spent_text(entry)}{kept}, in tier {entry.why.get('tier', '?')}."


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
    return f"The order earns {after:,} {what}, {before:,} before it."


def _not_taken_text(entry: HistoryEntry) -> str:
    excused, shortfall = entry.why.get("points_excused_as_expired"), entry.why.get("points_shortfall")
    text = ""
    if excused:
        text += f" Not taken a second time, as they have expired: {count_text(excused, 'point')}."
    if shortfall:
        text += f" Not taken, by the program's clawback policy: {count_text(shortfall, 'point')}."
    return text


def _release_text(entry: HistoryEntry) -> str:
    why = "" if entry.order_id is None else ", as their order is fulfilled"
    return f"The pending points of {_lots_text(entry)[:1].lower()}{_lots_text(entry)[1:]} became available{why}."


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
        return f" No lot covered {count_text(entry.deficit_change, 'point')} of it: the deficit grew by as much."
    return ""


def _their(entry: HistoryEntry) -> str:
    return "their" if len(entry.why.get("lots", [])) > 1 else "its"


def _lots_text(entry: HistoryEntry) -> str:
    numbers = entry.why.get("lots", [])
    if len(numbers) == 1:
        return f"Lot {numbers[0]}"
    return f"Lots {', '.join(str(number) for number in numbers[:-1])} and {numbers[-1]}" if numbers else "Lots"
