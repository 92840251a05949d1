"""What is kept of an order after its refunds: the lines that earn, with the money and the pieces that are left.

Amounts and quantities are whole numbers of a fixed small unit: what shares leave is rounded to it once, so that numbers
stay small however many refunds an order has. What is asked of an order again after each refund is kept as a sum, and a
refund changes the sums by the lines that it names alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from core.domain.orders.facts import Refund
from core.domain.orders.given_back import ALL, NONE, Share
from core.domain.orders.goods import NOTHING_GONE, Gone, Goods, Selection, Sum, less, reaches
from core.domain.orders.units import amount_text, nearest, units_of

_ZERO = Decimal(0)


class _ByLine(NamedTuple):
    """Points that a rule gives line by line."""

    selection: Selection
    give: Callable[[int], int]  #: points for an amount in units
    points: int


class Basket:
    """What is kept of the lines of one order that earn."""

    def __init__(self, goods: Goods) -> None:
        """All of it; see `after` and `plus`."""
        self.goods = goods
        self.is_whole = True  #: whether there was no refund
        self._gone: dict[int, Gone] = {}
        self.called_off: dict[int, Gone] = {}  #: what of that is gone of lines below zero
        self._change = Sum(0, 0, 0, 0)  #: below zero: what refunds of lines change of the sum of all that earn
        self._net_gone = 0  #: of all lines, in units
        self._gross_gone = 0  #: the same with tax
        self._paid_back = 0  #: of the whole order, in units
        self._net_back = 0  #: of the whole order, in units
        self._is_full = False  #: it was refunded in full
        self._left = ALL  #: the share of every line's money that refunds of the whole order leave, as a ratio
        self._factor = goods.factor  #: the share of it that is left and earns
        self._sums: dict[Selection, Sum] = {}
        self._by_line: dict[str, _ByLine] = {}
        self._line_texts: dict[int, tuple[str, list[str]]] = {}
        self._next: tuple[Refund, Basket] | None = None

    def after(self, refunds: Sequence[Refund]) -> "Basket":
        """What these refunds leave, in whatever sequence they are given."""
        basket = self
        if len(refunds) > 1:
            together = refunds[0]._replace(
                lines=tuple([part for refund in refunds for part in refund.lines]),
                paid=_sum_of([refund.paid for refund in refunds]),
                net=_sum_of([refund.net for refund in refunds]),
                full=any(refund.full for refund in refunds),
            )
            refunds = [together]
        for refund in refunds:
            basket = basket.plus(refund)
        return basket

    def plus(self, refund: Refund) -> "Basket":
        """What one more refund leaves. Of the lines only those are looked at that it names.

        A second call with the same refund returns the same basket.
        """
        if self._next is None or self._next[0] is not refund:
            self._next = refund, self._plus(refund)
        return self._next[1]

    def _plus(self, refund: Refund) -> "Basket":
        goods, more = self.goods, Basket(self.goods)
        changed: dict[int, Gone] = {}
        for part in refund.lines:
            place = goods.place_of[part.line_id]
            had = changed.get(place) or self._gone.get(place, NOTHING_GONE)
            changed[place] = goods.gone(place, had, part)
        more._gone = self._gone | changed if changed else self._gone
        below_zero = {place: gone for place, gone in changed.items() if goods.is_below_zero(place)}
        more.called_off = self.called_off | below_zero if below_zero else self.called_off
        more._net_gone = self._net_gone + sum([now.net - self._before(place).net for place, now in changed.items()])
        more._gross_gone = self._gross_gone + sum(
            [now.gross - self._before(place).gross for place, now in changed.items()]
        )
        more._paid_back = self._paid_back + (units_of(refund.paid) if refund.paid else 0)
        more._net_back = self._net_back + (units_of(refund.net) if refund.net else 0)
        more._is_full = self._is_full or refund.full
        more.is_whole = False
        more._change = less(goods, self._change, self._gone, changed)
        more._left = more._share_left()
        more._factor = (more._left[0] * goods.factor[0], more._left[1] * goods.factor[1])
        is_only_lines = more._left == ALL  # else every line is worth less than before
        more._sums = {
            selection: self._reaching_less(selection, had, more, changed)
            if selection.asks
            else less(selection, had, self._gone, changed)
            for selection, had in self._sums.items()
            if is_only_lines or not selection.asks
        }
        if is_only_lines:
            texts = self._line_texts
            more._line_texts = {place: text for place, text in texts.items() if place not in changed}
            more._by_line = {name: self._changed_points(had, more, changed) for name, had in self._by_line.items()}
        return more

    def _before(self, place: int) -> Gone:
        return self._gone.get(place, NOTHING_GONE)

    def _changed_points(self, had: _ByLine, after: "Basket", changed: Mapping[int, Gone]) -> _ByLine:
        of = [place for place in changed if place in had.selection]
        change = sum([after.points_of_line(had, place) - self.points_of_line(had, place) for place in of])
        return had._replace(points=had.points + change)

    def points_of_line(self, of: _ByLine, place: int) -> int:
        """What a rule gives for one line."""
        is_counted = not of.selection.asks or self._reaches(of.selection, place)
        return of.give(self.line_amount(place)) if is_counted else 0

    def _reaches(self, selection: Selection, place: int) -> bool:
        """Whether so much is kept of the line as is asked of each."""
        if self.goods.is_below_zero(place):
            return self._reached(selection, place)
        return reaches(selection.asks, self.line_amount(place), self.line_quantity(place))

    def _reached(self, selection: Selection, place: int) -> bool:
        """The same of a line below zero, as it was ordered: left out once it shrinks, a refund would add points."""
        numerator, denominator = self.goods.factor
        amount = nearest(self.goods.amounts[place] * numerator, denominator)
        return reaches(selection.asks, amount, self.goods.quantities[place])

    def reaching_sum(self, selection: Selection, places: Iterable[int]) -> Sum:
        """What the lines come to of which so much is kept as is asked of each."""
        amounts, quantities = self.goods.amounts, self.goods.quantities
        asks, (numerator, denominator) = selection.asks, self._factor
        kept_amount = kept_quantity = with_pieces = count = 0
        for place in places:
            gone = self._gone.get(place, NOTHING_GONE)
            amount, quantity = amounts[place] - gone.amount, quantities[place] - gone.quantity
            paid = amount if numerator == denominator else nearest(amount * numerator, denominator)
            if (
                self._reached(selection, place)
                if quantities[place] < 0
                else reaches(asks, paid, 0 if self._is_full else quantity)
            ):
                kept_amount += amount
                kept_quantity += quantity
                with_pieces += not gone.are_all_pieces
                count += not gone.is_all
        return Sum(kept_amount, kept_quantity, with_pieces, count)

    def _reaching_less(self, selection: Selection, had: Sum, after: "Basket", changed: Mapping[int, Gone]) -> Sum:
        """The same after these lines have changed."""
        of = [place for place in changed if place in selection]
        before, now = self.reaching_sum(selection, of), after.reaching_sum(selection, of)
        return Sum(*(a - b + c for a, b, c in zip(had, before, now, strict=True)))

    def as_ordered(self, ordered: "Basket") -> "Basket":
        """The whole order but for what was called off of lines below zero, which is as if it had never been.

        `ordered` is the whole order with these; it is returned where none of that was called off.
        """
        if not self.called_off:
            return ordered
        basket = Basket(self.goods)
        basket.is_whole = False
        basket._gone = basket.called_off = self.called_off
        basket._net_gone = sum([gone.net for gone in self.called_off.values()])
        basket._gross_gone = sum([gone.gross for gone in self.called_off.values()])
        basket._change = less(self.goods, basket._change, {}, self.called_off)
        return basket

    def _share_left(self) -> Share:
        """What refunds of the whole order leave of every line's money, as a ratio.

        Refunds of lines first reduce their lines; money of the whole order then reduces every line in proportion. Both
        are sums over the set of refunds, so their order cannot matter.
        """
        goods, (left, of) = self.goods, ALL
        if self._is_full:
            return NONE
        if self._net_back:
            whole = goods.net - self._net_gone
            left, of = max(0, whole - self._net_back), max(1, whole)
        if self._paid_back:
            unpaid, all_of_it = goods.cash
            cash = (goods.gross - self._gross_gone) * unpaid
            left, of = left * cash - self._paid_back * all_of_it * of, of * cash
        return (left, of) if left > 0 else NONE

    @property
    def share_back(self) -> Fraction:
        """How much is given back of all that the customer had to pay, with money or points: between 0 and 1."""
        whole, (left, of) = self.goods.gross - sum([gone.gross for gone in self.called_off.values()]), self._left
        if whole <= 0:  # nothing had to be paid: it is all of it when all pieces came back
            came_back = sum(gone.are_all_pieces for gone in self._gone.values())
            return Fraction(self._is_full or came_back == len(self.goods.order.lines))
        kept = Fraction((self.goods.gross - self._gross_gone) * left, whole * of)
        return 1 - min(max(kept, Fraction(0)), Fraction(1))

    def _sum(self, selection: Selection) -> Sum:
        found = self._sums.get(selection)
        if found is None:
            if selection.asks:
                found = self.reaching_sum(selection, selection.places)
            else:
                found = selection.sum()
                if self._gone:
                    found = less(selection, found, {}, self._gone)
            self._sums[selection] = found
        return found

    @property
    def amount(self) -> int:
        """All that earns, in units: the kept lines of the earning kinds, less the part paid with points."""
        return self._paid_share(self.goods.amount + self._change.amount)

    @property
    def converted(self) -> dict[str, str] | None:
        """The same as it was in the order's currency, with the rate, for an explanation; None in the program's own."""
        goods = self.goods
        if goods.rate is None:
            return None
        (left, of), (share, whole) = self._left, goods.share
        amount = nearest((goods.amount + self._change.amount) * left * share, of * whole)
        return {"amount": amount_text(amount), "currency": goods.order.currency, "rate": f"{goods.rate:f}"}

    @property
    def is_empty(self) -> bool:
        """Whether no piece that earns is kept, whatever became of its money."""
        return self._is_full or len(self.goods.places) + self._change.goods == 0

    def amount_of(self, selection: Selection) -> int:
        """What is kept of the earning amounts of these lines, less their share of what was paid with points; units."""
        return self._paid_share(self._sum(selection).amount)

    def _paid_share(self, amount: int) -> int:
        numerator, denominator = self._factor
        return amount if numerator == denominator else nearest(amount * numerator, denominator)

    def quantity_of(self, selection: Selection) -> int:
        """What is kept of the pieces of these lines, in units."""
        return 0 if self._is_full else self._sum(selection).quantity

    def goods_count(self, selection: Selection) -> int:
        """Of how many of these lines pieces are kept."""
        return 0 if self._is_full else self._sum(selection).goods

    def lines_count(self, selection: Selection) -> int:
        """Of how many of these lines something is kept, pieces or money."""
        return self._sum(selection).lines if self._left[0] else self.goods_count(selection)

    def places_of(self, selection: Selection) -> Iterable[int]:
        """The places of these lines of which something is kept, pieces or money."""
        if self._is_full:
            return ()
        places = selection.places
        if self._gone:
            is_money_left = self._left[0] > 0
            gone = self._gone
            places = [
                place
                for place in places
                if place not in gone or not (gone[place].is_all if is_money_left else gone[place].are_all_pieces)
            ]
        return [place for place in places if self._reaches(selection, place)] if selection.asks else places

    @cached_property
    def _line_amounts(self) -> Sequence[int]:
        """The same as `line_amount` of every line, once for all rules that are rounded by line."""
        return [self.line_amount(place) for place in range(len(self.goods.order.lines))]

    def line_amount(self, place: int) -> int:
        """What is kept of the earning amount of one line, less its share of what was paid with points; in units."""
        return self._paid_share(self.goods.amount_of(place) - self._before(place).amount)

    def line_quantity(self, place: int) -> int:
        """What is kept of the pieces of one line, in units."""
        if self._is_full:
            return 0
        return units_of(self.goods.order.lines[place].quantity) - self._before(place).quantity

    def points_by_line(self, name: str, selection: Selection, give: Callable[[int], int]) -> int:
        """What `give`, that of the rule of this name, gives for the amount of each line by itself."""
        found = self._by_line.get(name)
        if found is None:
            amounts = self._line_amounts
            points = sum([give(amounts[place]) for place in self.places_of(selection)])
            found = self._by_line[name] = _ByLine(selection, give, points)
        return found.points

    def line_text(self, place: int) -> tuple[str, list[str]]:
        """The line_id of a line, what is kept of its amount and its quantity; made once, as many rules may name it."""
        text = self._line_texts.get(place)
        if text is None:
            numbers = [amount_text(self.line_amount(place)), amount_text(self.line_quantity(place))]
            text = self._line_texts[place] = (self.goods.order.lines[place].line_id, numbers)
        return text


def _sum_of(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, _ZERO) if known else None
