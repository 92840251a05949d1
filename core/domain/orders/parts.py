"""Parts of an order, which are cancelled or fulfilled apart from the rest: by lines and pieces, without money."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from core.domain.orders.facts import LinePart, Order, Refund, RefundLine
from core.domain.outcomes import Parked, Reason

_DIGEST_CHARACTERS = 32


def part_key(part_id: str | None, occurred_at: datetime, lines: Sequence[LinePart]) -> str:
    """What tells a part from others of its order: its id if it has one, else its time and lines; '' the whole order."""
    if not lines:
        return ""
    if part_id is not None:
        return key_of_id(part_id)
    told = "\n".join(f"{line_id}\t{'' if quantity is None else f'{quantity:f}'}" for line_id, quantity in sorted(lines))
    return f"at {occurred_at.isoformat()} {sha256(told.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"


def key_of_id(part_id: str) -> str:
    """What tells a part with an id of its own from others of its order."""
    return f"id {part_id}"


def part_problem(now: Order, first: Order, lines: Iterable[LinePart], noun: str) -> Parked | None:
    """Why no such part can be of this order; judged alone, so that the arrival of others cannot matter.

    The order is as it is `now`, and was as `first`: a part may come after an amendment that it was made before. `noun`
    is what it is: cancellation or fulfilment.
    """
    ordered = {line.line_id: abs(line.quantity) for line in now.lines}
    before = {line.line_id: line.quantity for line in first.lines}
    for place, part in enumerate(lines):
        most = max((each[part.line_id] for each in (ordered, before) if part.line_id in each), default=None)
        if most is None:
            known = "its only line" if len(ordered) == 1 else f"one of its {len(ordered)} lines"
            detail = (
                f"data.lines[{place}].line_id names no line of the order; send the {noun} in a new event with the "
                f"line_id of {known}"
            )
            return Parked(Reason.UNKNOWN_LINE, detail)
        if part.quantity is not None and part.quantity > most:
            detail = (
                f"data.lines[{place}].quantity is {part.quantity}, more than the {most} that were ordered; send the "
                f"{noun} in a new event with at most as many, or without quantity for all of the line"
            )
            return Parked(Reason.REFUND_EXCEEDS_ORDER, detail)
    return None


def given_back(whole: Refund, order: Order, lines: Iterable[LinePart]) -> Refund:
    """The refund of these parts, with the money of their pieces; `whole` is one of all of the order.

    Pieces of a line below zero are counted without the sign.
    """
    ordered = {line.line_id: abs(line.quantity) for line in order.lines}
    parts = [
        RefundLine(part.line_id, ordered[part.line_id] if part.quantity is None else part.quantity, None, None)
        for part in lines
        if part.line_id in ordered
    ]
    return whole._replace(full=False, lines=tuple(parts))
