"""Whether a refund can be one of its order: of lines that it has, of no more than was ordered, in its currency.

Each refund is judged alone, so that the arrival of others cannot change it. Shops round tax by line: what is over by
the currency's smallest unit for each line is taken as all.
"""

from decimal import Decimal

from core.domain.currencies import decimal_places, smallest_unit
from core.domain.orders.facts import OrderLine, Refund, RefundLine
from core.domain.orders.goods import Goods
from core.domain.orders.units import amount_text, units_of
from core.domain.outcomes import Parked, Reason

_CENT = Decimal("0.01")
_LEAST = units_of(Decimal("0.0001"))  #: that a message can say


class _Limits:
    """The most of each kind of money that one order, or one of its lines, can give back; in units."""

    def __init__(self, goods: Goods, net: int, gross: int, lines: int) -> None:
        self._order, self._net = goods.order, max(0, net)
        unpaid, of = goods.cash
        self._paid = max(0, gross) * unpaid // of // _LEAST * _LEAST
        # At least a cent: of dinars with three places shops round by the cent too.
        self._unit = units_of(smallest_unit(goods.order.currency))
        self._over = lines * max(self._unit, units_of(_CENT))

    def problem(self, where: str, what: str, paid: Decimal | None, net: Decimal | None) -> str | None:
        """What is wrong with money of this place in the message; `what` names that which it is given back of."""
        if net is not None and (units := units_of(net)) > self._net + self._over:
            text = self._text(f"{where}net is {net}", self._net, f"{what} cost without tax")
            other = "if this is what the customer got back, with tax and after points, write it as paid"
            return self._advice(text, other if units <= self._paid + self._over else None, self._net)
        if paid is not None and (units := units_of(paid)) > self._paid + self._over:
            how = "with tax, after points" if self._order.points_paid else "with tax"
            text = self._text(f"{where}paid is {paid}", self._paid, f"the customer paid for {what}, {how}")
            other = "if this is without tax and before points, write it as net"
            return self._advice(text, other if units <= self._net + self._over else None, self._paid)
        return None

    def _text(self, said: str, most: int, what: str) -> str:
        return f"{said}, more than the {self._money_text(most)} {self._order.currency} that {what}"

    def _advice(self, text: str, other: str | None, most: int) -> str:
        # What a shop can give back: nobody has a part of the smallest coin, which is taken as rounding.
        least = f"send at most {self._money_text(-(-most // self._unit) * self._unit)}"
        return f"{text}; {least}" if other is None else f"{text}; {other}, else {least}"

    def _money_text(self, units: int) -> str:
        """As people write money: 12.50 and not 12.5, and of yen 12."""
        whole, _, fraction = amount_text(units).partition(".")
        fraction = fraction.ljust(decimal_places(self._order.currency), "0")
        return f"{whole}.{fraction}" if fraction else whole


def refund_problem(goods: Goods, refund: Refund, first: Goods | None = None) -> Parked | None:
    """Why this refund cannot be one of this order.

    `first` is the order as it was before it was amended: no more need be given back than was sold then, since a refund
    may come after an amendment that it was made before. Of lines it can only name those that are there now.
    """
    order = goods.order
    if refund.currency is not None and refund.currency != order.currency:
        detail = (
            f"data.currency is {refund.currency}, but the order is in {order.currency}; send what was given back in"
            f" {order.currency}, in a new event"
        )
        return Parked(Reason.WRONG_CURRENCY, detail)
    for n, part in enumerate(refund.lines):
        problem = _part_problem(goods, f"data.lines[{n}].", part, first)
        if problem is not None:
            return problem
    if refund.paid is None and refund.net is None:
        return None
    text = _whole_problem(goods, refund)
    if text is None or (first is not None and _whole_problem(first, refund) is None):
        return None
    return Parked(Reason.REFUND_EXCEEDS_ORDER, f'{text}, or "full": true for everything')


def _whole_problem(goods: Goods, refund: Refund) -> str | None:
    limits = _Limits(goods, goods.net, goods.gross, len(goods.order.lines))
    return limits.problem("data.", "all lines", refund.paid, refund.net)


def _part_problem(goods: Goods, where: str, part: RefundLine, first: Goods | None) -> Parked | None:
    lines = goods.order.lines
    place = goods.place_of.get(part.line_id)
    before = None if first is None else first.place_of.get(part.line_id)
    if place is None:
        known = "its only line" if len(lines) == 1 else f"one of its {len(lines)} lines"
        detail = f"{where}line_id names no line of the order; send the line_id of {known}"
        if before is not None:
            detail = (
                f"{where}line_id names a line that the order was amended to be without; if it was given back, send the "
                "next revision with all lines that refunds name, and this is posted by itself"
            )
        return Parked(Reason.UNKNOWN_LINE, detail)
    text = _line_problem(goods, lines[place], where, part)
    if text is None or (first is not None and before is not None and _fits(first, before, part)):
        return None
    return Parked(Reason.REFUND_EXCEEDS_ORDER, text)


def _fits(goods: Goods, place: int, part: RefundLine) -> bool:
    return _line_problem(goods, goods.order.lines[place], "", part) is None


def _line_problem(goods: Goods, line: OrderLine, where: str, part: RefundLine) -> str | None:
    if line.quantity < 0:
        said = f"{where}line_id names a line below zero, which is what was given back in exchange"
        return f"{said}; to call that off, send order.cancelled with the line, or the order's next revision without it"
    if part.quantity is not None and part.quantity > line.quantity:
        said = f"{where}quantity is {part.quantity}, more than the {line.quantity} that were ordered"
        return f"{said}; send at most {line.quantity}"
    if part.paid is None and part.net is None:
        return None
    limits = _Limits(goods, units_of(line.amount), units_of(line.amount + line.tax), 1)
    return limits.problem(where, "the line", part.paid, part.net)
