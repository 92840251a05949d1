"""Why an entry has its points, in a sentence: from the calculation that the ledger keeps with it."""

from datetime import tzinfo
from typing import Any

from core.domain.ledger import EntryKind
from core.store.reports import HistoryEntry, LotMove
from workers.cli.output import count_text, printable, time_text

_ROUNDINGS = {
    "floor": "rounded down",
    "ceil": "rounded up",
    "half_up": "rounded, halves up",
    "half_even": "rounded, halves to the even number",
}


def why_text(entry: HistoryEntry) -> str:
    """One readable sentence or two: what led to the points of this entry."""
    match entry.kind:
        case EntryKind.ACCRUAL:
            text = _earning_text(entry.why, entry.currency)
        case EntryKind.CLAWBACK:
            text = _clawback_text(entry.why, entry.currency)
        case EntryKind.EXPIRY:
            text = f"{_lots_text(entry.why.get('lots', []))} reached the end of its time."
            text = text.replace("its time", "their time") if len(entry.why.get("lots", [])) > 1 else text
    if entry.deficit_change < 0:
        text += f" Of it, {count_text(-entry.deficit_change, 'point')} paid off the deficit."
    elif entry.deficit_change > 0:
        text += f" No lot covered {count_text(entry.deficit_change, 'point')} of it: the deficit grew by as much."
    return text


def reference_text(entry: HistoryEntry) -> str:
    """The order and refund of an entry, as the shop names them."""
    parts = []
    if entry.order_id is not None:
        parts.append(f"order {entry.order_id}")
    if entry.refund_id is not None:
        parts.append(f"refund {entry.refund_id}")
    return printable(", ".join(parts), is_line=True)


def moves_text(moves: tuple[LotMove, ...], zone: tzinfo) -> str:
    """Which lots got or gave how many points."""
    return ", ".join(_move_text(move, zone) for move in moves)


def _move_text(move: LotMove, zone: tzinfo) -> str:
    if move.points < 0:
        return f"{-move.points:,} from lot {move.lot_number}"
    end = "never expires" if move.expires_at is None else f"expires {time_text(move.expires_at, zone)[:16]}"
    return f"{move.points:,} into lot {move.lot_number} ({end})"


def _earning_text(why: dict[str, Any], currency: str | None) -> str:
    rules = why.get("rules", [])
    spent = f"{why.get('basis_amount', '?')} {currency or ''}".strip()
    each = [
        f"{rule['points_per']} per {rule['per_amount']} gives {rule['points']:,} (rule {rule['rule_id']}, "
        f"{_ROUNDINGS.get(rule['rounding'], rule['rounding'])})"
        for rule in rules
    ]
    return f"{spent} in tier {why.get('tier', '?')}: {'; '.join(each)}."


def _clawback_text(why: dict[str, Any], currency: str | None) -> str:
    before, after = why.get("points_entitled_before", 0), why.get("points_entitled_after", 0)
    text = f"The order earns {after:,} with this refund, {before:,} before it. {_earning_text(why, currency)}"
    excused, shortfall = why.get("points_excused_as_expired"), why.get("points_shortfall")
    if excused:
        text += f" Not taken a second time, as they have expired: {count_text(excused, 'point')}."
    if shortfall:
        text += f" Not taken, by the program's clawback policy: {count_text(shortfall, 'point')}."
    return text


def _lots_text(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"Lot {numbers[0]}"
    return f"Lots {', '.join(str(number) for number in numbers[:-1])} and {numbers[-1]}"
