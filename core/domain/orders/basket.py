"""What is kept of an order after its refunds: the lines that earn, with the amounts and quantities that are left.

Amounts and quantities are whole numbers of a fixed small unit: what shares leave is rounded to it once, so that numbers
stay small however many refunds an order has. What is asked of an order again after each refund is kept as a sum, and a
refund changes the sums by the lines that it names alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from core.domain.orders.facts import Order, Refund, RefundLine
from core.domain.orders.units import UNITS, amount_text, nearest, to_millionth, units_of
from core.domain.program import Basis, LineConditions, Lines, PointsPaidBasis, TaxBasis

_ZERO = Decimal(0)


class Selection:
    """The lines of an order that a rule or promotion counts, as they were ordered."""

    def __init__(self, goods: "Goods", places: Sequence[int], asks: tuple[LineConditions, ...] = ()) -> None:
        """`places` are those of lines that earn; all of them as a range if all lines of the order do.

        `asks` is what must be kept of each of the lines for it to count.
        """
        self._goods, self.places, self.asks = goods, places, asks
        self._members = places if isinstance(places, range) else frozenset(places)

    def __contains__(self, place: int) -> bool:
        """Whether the line at that place is counted."""
        return place in self._members

    def sum(self) -> "_Sum":
        """What the lines come to."""
        goods, places = self._goods, self.places
        lines = goods.order.lines
        amount = goods.amount if places is goods.places else goods.amount_of(*places)
        quantity = lines[places[0]].quantity if len(places) == 1 else sum([lines[p].quantity for p in places], _ZERO)
        return _Sum(amount, units_of(quantity), len(places))


class _Sum(NamedTuple):
    """What the kept lines of a selection come to, before the shares of the whole order."""

    amount: int  #: in units
    quantity: int  #: in units
    lines: int  #: of which something is kept


class _Gone(NamedTuple):
    """What all refunds of lines together give back of one line."""

    pieces: Decimal  #: that were refunded without an amount
    money: Decimal  #: that was refunded of its amount
    is_all: bool = False
    net: int = 0  #: of its amount, in units
    amount: int = 0  #: of the amount that earns, in units
    quantity: int = 0  #: in units


_NOTHING_GONE = _Gone(_ZERO, _ZERO)


def _less(selection: "Selection | Goods", had: _Sum, before: Mapping[int, _Gone], now: Mapping[int, _Gone]) -> _Sum:
    """What is kept of the selected lines when `now` is gone of some, in the place of what was gone of them before."""
    amount, quantity, lines = had
    for place, gone in now.items():
        if place in selection:
            then = before.get(place, _NOTHING_GONE)
            amount -= gone.amount - then.amount
            quantity -= gone.quantity - then.quantity
            lines -= gone.is_all - then.is_all
    return _Sum(amount, quantity, lines)


class Goods:
    """The lines of one order that earn, as they were ordered."""

    def __init__(self, order: Order, basis: Basis, rate: Decimal | None = None) -> None:
        """`basis` says which kinds of lines earn, and whether with their tax.

        `rate` is what the order's currency is worth in the program's, where that is another one. What earns is in the
        program's; what the order and its refunds say is in the order's.
        """
        self.order, self.rate = order, rate
        lines, kinds = order.lines, basis.kinds
        places = [place for place, line in enumerate(lines) if line.kind in kinds]
        #: Of the lines that earn.
        self.places: Sequence[int] = range(len(lines)) if len(places) == len(lines) else places
        self._members = self.places if isinstance(self.places, range) else frozenset(places)
        self._has_tax = basis.tax is TaxBasis.INCLUDED
        self.amount = self.amount_of(*places)  #: what they come to, in units
        paid = order.points_paid if basis.points_paid is PointsPaidBasis.EXCLUDED else _ZERO
        #: Of the amount, in units: what was not paid with points.
        self.unpaid = self.amount if not paid else max(0, self.amount - units_of(paid))
        #: The share of every line's amount that was not paid with points, in the program's currency, as a ratio.
        self.factor = (1, 1) if self.unpaid == self.amount else (self.unpaid, self.amount)
        self._worth = (1, 1) if rate is None else rate.as_integer_ratio()
        if rate is not None:
            self.factor = self.factor[0] * self._worth[0], self.factor[1] * self._worth[1]
        self._selections: dict[str, Selection] = {}

    def __contains__(self, place: int) -> bool:
        """Whether the line at that place earns."""
        return place in self._members

    def amount_of(self, *places: int) -> int:
        """What these lines earn for, in units."""
        lines = self.order.lines
        amount = lines[places[0]].amount if len(places) == 1 else sum([lines[place].amount for place in places], _ZERO)
        if self._has_tax:
            amount += sum([lines[place].tax for place in places], _ZERO)
        return units_of(amount)

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """The places of all lines by their ids."""
        return {line.line_id: place for place, line in enumerate(self.order.lines)}

    @cached_property
    def net(self) -> int:
        """What all lines come to, those too that do not earn, without tax; in units."""
        return units_of(sum([line.amount for line in self.order.lines], _ZERO))

    @cached_property
    def all(self) -> Selection:
        """All lines that earn."""
        return Selection(self, self.places)

    def select(self, name: str, lines: Lines, places: Sequence[int] | None, *, is_paid_only: bool = False) -> Selection:
        """The lines that `lines`, those of the rule or promotion of this name, lets through.

        `places` are those of the lines that it looks for at all, where they are known. With `is_paid_only` no line
        that cost nothing counts.
        """
        if lines.is_all and places is None and not is_paid_only:
            return self.all
        found = self._selections.get(name)
        if found is None:
            places = self._find(lines, places)
            if lines.asks_price:
                places = [place for place in places if self._has_price(place, lines)]
            if is_paid_only:
                places = self._paid(places)
            found = self._selections[name] = Selection(self, places, (lines,) if lines.asks_kept else ())
        return found

    def paid(self, name: str, selection: Selection) -> Selection:
        """Those of the lines, which are of the rule or promotion of this name, that cost something."""
        name = f"{name} (paid)"
        found = self._selections.get(name)
        if found is None:
            places = self._paid(selection.places)
            is_same = len(places) == len(selection.places)
            found = self._selections[name] = selection if is_same else Selection(self, places, selection.asks)
        return found

    def _paid(self, places: Sequence[int]) -> Sequence[int]:
        lines = self.order.lines
        return [place for place in places if lines[place].amount]

    def _has_price(self, place: int, asked: LineConditions) -> bool:
        """Whether a piece of the line costs what is asked; nothing is divided, so this is exact."""
        least, most = asked.minimum_price, asked.maximum_price
        amount = self.amount_of(place) * self._worth[0] * UNITS
        quantity = units_of(self.order.lines[place].quantity) * self._worth[1]
        return (least is None or amount >= units_of(least) * quantity) and (
            most is None or amount <= units_of(most) * quantity
        )

    def _find(self, lines: Lines, places: Sequence[int] | None) -> Sequence[int]:
        ordered = self.order.lines
        if places is None:
            places = self.places
            if lines.skus or lines.categories:
                return [place for place in places if lines.includes(ordered[place])]
        elif not isinstance(self.places, range):
            places = [place for place in places if place in self]
        if lines.excludes_some:
            places = [place for place in places if not lines.excludes(ordered[place])]
        return places

    def both(self, name: str, one: Selection, other: Selection) -> Selection:
        """The lines that are in both; `name` stands for this pair."""
        found = self._selections.get(name)
        if found is None:
            found = Selection(self, [place for place in one.places if place in other], one.asks + other.asks)
            self._selections[name] = found
        return found

    def gone(self, place: int, had: _Gone, part: RefundLine) -> _Gone:
        """What is gone of a line with one more part of a refund; money counts when both money and pieces are given."""
        line = self.order.lines[place]
        pieces, money, is_all = had.pieces, had.money, had.is_all
        if part.amount is not None and line.amount:
            money += part.amount
        elif part.quantity is not None:
            pieces += part.quantity
        else:
            is_all = is_all or bool(part.amount)  # money for a line that cost none: its tax
        ordered, quantity = units_of(line.amount), units_of(line.quantity)
        # The share that is gone, as a ratio: pieces / quantity + money / amount.
        share = units_of(pieces), quantity
        if money:
            share = share[0] * ordered + units_of(money) * quantity, quantity * ordered
        if is_all or share[0] >= share[1]:
            return _Gone(pieces, money, True, ordered, self.amount_of(place), quantity)  # a field's value
        amount = nearest(self.amount_of(place) * share[0], share[1])
        net = nearest(ordered * share[0], share[1]) if self._has_tax else amount
        return _Gone(pieces, money, False, net, amount, nearest(quantity * share[0], share[1]))


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
        self._gone: dict[int, _Gone] = {}
        self._change = _Sum(0, 0, 0)  #: below zero: what refunds of lines change of the sum of all that earn
        self._net_gone = 0  #: of all lines, in units
        self._refunded = 0  #: amounts that were refunded of the whole order, in units
        self._is_full = False  #: it was refunded in full
        #: The share of every line that refunds of the whole order leave, as a ratio.
        self._left = (1, 1)
        #: The share of every line's amount that is left and was not paid with points, as a ratio.
        self._factor = goods.factor
        self._sums: dict[Selection, _Sum] = {}
        self._by_line: dict[str, _ByLine] = {}
        self._line_texts: dict[int, tuple[str, list[str]]] = {}
        self._next: tuple[Refund, Basket] | None = None

    def after(self, refunds: Sequence[Refund]) -> "Basket":
        """What these refunds leave, in whatever sequence they are given."""
        basket = self
        if len(refunds) > 1:
            lines = tuple([part for refund in refunds for part in refund.lines])
            amounts = [refund.amount for refund in refunds if refund.amount is not None]
            amount, is_full = sum(amounts, _ZERO) if amounts else None, any(refund.full for refund in refunds)
            refunds = [refunds[0]._replace(lines=lines, amount=amount, full=is_full)]
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
        changed: dict[int, _Gone] = {}
        for part in refund.lines:
            place = goods.place_of[part.line_id]
            had = changed.get(place) or self._gone.get(place, _NOTHING_GONE)
            changed[place] = goods.gone(place, had, part)
        more._gone = self._gone | changed if changed else self._gone
        more._net_gone = self._net_gone + sum([now.net - self._before(place).net for place, now in changed.items()])
        more._refunded = self._refunded + (0 if refund.amount is None else units_of(refund.amount))
        more._is_full = self._is_full or refund.full
        more.is_whole = False
        more._change = _less(goods, self._change, self._gone, changed)
        more._left, more._factor = more._shares()
        is_only_lines = more._left == (1, 1)  # else every line is worth less than before
        more._sums = {
            selection: self._reaching_less(selection, had, more, changed)
            if selection.asks
            else _less(selection, had, self._gone, changed)
            for selection, had in self._sums.items()
            if is_only_lines or not selection.asks
        }
        if is_only_lines:
            texts = self._line_texts
            more._line_texts = {place: text for place, text in texts.items() if place not in changed}
            more._by_line = {name: self._changed_points(had, more, changed) for name, had in self._by_line.items()}
        return more

    def _before(self, place: int) -> _Gone:
        return self._gone.get(place, _NOTHING_GONE)

    def _changed_points(self, had: _ByLine, after: "Basket", changed: Mapping[int, _Gone]) -> _ByLine:
        of = [place for place in changed if place in had.selection]
        change = sum([after.points_of_line(had, place) - self.points_of_line(had, place) for place in of])
        return had._replace(points=had.points + change)

    def points_of_line(self, of: _ByLine, place: int) -> int:
        """What a rule gives for one line."""
        return of.give(self.line_amount(place)) if self._reaches(of.selection, place) else 0

    def _reaches(self, selection: Selection, place: int) -> bool:
        """Whether so much is kept of the line as is asked of each."""
        for asked in selection.asks:
            least, pieces = asked.minimum_amount, asked.minimum_quantity
            if least is not None and to_millionth(self.line_amount(place)) < units_of(least):
                return False
            if pieces is not None and to_millionth(self.line_quantity(place)) < units_of(pieces):
                return False
        return True

    def reaching_sum(self, selection: Selection, places: Iterable[int]) -> _Sum:
        """What the lines come to of which so much is kept as is asked of each."""
        goods, lines = self.goods, self.goods.order.lines
        amount = quantity = count = 0
        for place in places:
            if self._reaches(selection, place):
                gone = self._before(place)
                amount += goods.amount_of(place) - gone.amount
                quantity += units_of(lines[place].quantity) - gone.quantity
                count += not gone.is_all
        return _Sum(amount, quantity, count)

    def _reaching_less(self, selection: Selection, had: _Sum, after: "Basket", changed: Mapping[int, _Gone]) -> _Sum:
        """The same after these lines have changed."""
        of = [place for place in changed if place in selection]
        before, now = self.reaching_sum(selection, of), after.reaching_sum(selection, of)
        return _Sum(*(a - b + c for a, b, c in zip(had, before, now, strict=True)))

    def _shares(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What is left of every line, and of every line's amount.

        Refunds of lines first reduce their lines; refunds of an amount of the whole order then reduce every line in
        proportion. Both are sums over the set of refunds, so their order cannot matter.
        """
        goods, left, of = self.goods, 1, 1
        if self._is_full:
            left = 0
        elif self._refunded:
            whole = goods.net - self._net_gone
            left, of = (max(0, whole - self._refunded), whole) if whole > 0 else (0, 1)
        return (left, of), (left * goods.factor[0], of * goods.factor[1])

    def _sum(self, selection: Selection) -> _Sum:
        found = self._sums.get(selection)
        if found is None:
            if selection.asks:
                found = self.reaching_sum(selection, selection.places)
            else:
                found = selection.sum()
                if self._gone:
                    found = _less(selection, found, {}, self._gone)
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
        numerator, denominator = goods.rate.as_integer_ratio()
        amount = nearest(self.amount * denominator, numerator)
        return {"amount": amount_text(amount), "currency": goods.order.currency, "rate": f"{goods.rate:f}"}

    @property
    def is_empty(self) -> bool:
        """Whether nothing that earns is kept."""
        return not self._left[0] or len(self.goods.places) + self._change.lines == 0

    def amount_of(self, selection: Selection) -> int:
        """What is kept of the earning amounts of these lines, less their share of what was paid with points; units."""
        return self._paid_share(self._sum(selection).amount)

    def _paid_share(self, amount: int) -> int:
        numerator, denominator = self._factor
        return amount if numerator == denominator else nearest(amount * numerator, denominator)

    def quantity_of(self, selection: Selection) -> int:
        """What is kept of the pieces of these lines, in units."""
        numerator, denominator = self._left
        quantity = self._sum(selection).quantity
        return quantity if numerator == denominator else nearest(quantity * numerator, denominator)

    def lines_count(self, selection: Selection) -> int:
        """Of how many of these lines something is kept."""
        return self._sum(selection).lines if self._left[0] else 0

    def places_of(self, selection: Selection) -> Iterable[int]:
        """The places of these lines of which something is kept."""
        if not self._left[0]:
            return ()
        places = selection.places
        if self._gone:
            places = [place for place in places if not self._before(place).is_all]
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
        numerator, denominator = self._left
        quantity = units_of(self.goods.order.lines[place].quantity) - self._before(place).quantity
        return quantity if numerator == denominator else nearest(quantity * numerator, denominator)

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
