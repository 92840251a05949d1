"""Whether a refund can be one of its order: of lines that it has, of no more than was ordered."""

from core.domain.orders.basket import Goods
from core.domain.orders.facts import OrderLine, Refund, RefundLine
from core.domain.outcomes import Parked, Reason


def refund_problem(goods: Goods, refund: Refund) -> Parked | None:
    """Why this refund cannot be one of this order, judged alone, so that other refunds' arrival cannot change it."""
    order, places = goods.order, goods.place_of
    for n, part in enumerate(refund.lines):
        place = places.get(part.line_id)
        if place is None:
            count = len(order.lines)
            known = "its only line" if count == 1 else f"one of its {count} lines"
            detail = f"data.lines[{n}].line_id names no line of the order; send the line_id of {known}"
            return Parked(Reason.UNKNOWN_LINE, detail)
        problem = _line_problem(order.lines[place], n, part)
        if problem is not None:
            return Parked(Reason.REFUND_EXCEEDS_ORDER, problem)
    if refund.amount is not None and refund.amount > order.total_gross:
        detail = f"data.amount is {refund.amount}, more than the order's {order.total_gross} {order.currency}"
        return Parked(Reason.REFUND_EXCEEDS_ORDER, detail)
    return None


def _line_problem(line: OrderLine, n: int, part: RefundLine) -> str | None:
    if part.quantity is not None and part.quantity > line.quantity:
        return f"data.lines[{n}].quantity is {part.quantity}, more than the {line.quantity} that were ordered"
    if part.amount is not None and part.amount > line.amount + line.tax:
        return f"data.lines[{n}].amount is {part.amount}, more than the line's {line.amount + line.tax}"
    return None
