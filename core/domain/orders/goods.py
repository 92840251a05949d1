"""The lines of an order that earn, as they were ordered, and what refunds of lines take of each.

Pieces and money are two things. What came back is counted in pieces, what was paid back in money, and neither is worked
out from the other, but for pieces of whose money nothing is said: theirs is paid back with them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from core.domain.orders.facts import Order, RefundLine
from core.domain.orders.given_back import ALL, Back, LinePrice, Share
from core.domain.orders.units import UNITS, nearest, to_millionth, units_of
from core.domain.program import Basis, KeptFeesBasis, LineConditions, Lines, PointsPaidBasis, TaxBasis

_ZERO = Decimal(0)


class Asked(NamedTuple):
    """What must be kept of a line for it to count, in units; 0: nothing."""

    amount: int
    quantity: int


def reaches(asks: Sequence[Asked], amount: int, quantity: int) -> bool:
    """Whether so much is kept of a line, in units; of one below zero, as it was ordered, which is asked alike."""
    amount, quantity = abs(amount), abs(quantity)
    for least, pieces in asks:
        if (amount < least and to_millionth(amount) < least) or (quantity < pieces and to_millionth(quantity) < pieces):
            return False
    return True


class Selection:
    """The lines of an order that a rule or promotion counts, as they were ordered."""

    def __init__(self, goods: "Goods", places: Sequence[int], asks: tuple[Asked, ...] = ()) -> None:
        """`places` are those of lines that earn; all of them as a range if all lines of the order do.

        `asks` is what must be kept of each of the lines for it to count.
        """
        self._goods, self.places, self.asks = goods, places, asks
        self._members = places if isinstance(places, range) else frozenset(places)

    def __contains__(self, place: int) -> bool:
        """Whether the line at that place is counted."""
        return place in self._members

    def sum(self) -> "Sum":
        """What the lines come to."""
        goods, places = self._goods, self.places
        lines = goods.order.lines
        amount = goods.amount if places is goods.places else goods.amount_of(*places)
        quantity = lines[places[0]].quantity if len(places) == 1 else sum([lines[p].quantity for p in places], _ZERO)
        return Sum(amount, units_of(quantity), len(places), len(places))


class Sum(NamedTuple):
    """What the kept lines of a selection come to, before the shares of the whole order."""

    amount: int  #: in units
    quantity: int  #: in units
    goods: int  #: how many lines have pieces that are kept
    lines: int  #: of how many lines something is kept, pieces or money


class Gone(NamedTuple):
    """What all refunds of lines together take of one line, in units."""

    back: Back
    net: int = 0  #: of its amount
    gross: int = 0  #: of its amount with tax
    amount: int = 0  #: of what earns of it: one of the two
    quantity: int = 0
    are_all_pieces: bool = False
    is_all: bool = False  #: the pieces, and the money too


NOTHING_GONE = Gone(Back())


def less(selection: "Selection | Goods", had: Sum, before: Mapping[int, Gone], now: Mapping[int, Gone]) -> Sum:
    """What is kept of the selected lines when `now` is gone of some, in the place of what was gone of them before."""
    amount, quantity, goods, lines = had
    for place, gone in now.items():
        if place in selection:
            then = before.get(place, NOTHING_GONE)
            amount -= gone.amount - then.amount
            quantity -= gone.quantity - then.quantity
            goods -= gone.are_all_pieces - then.are_all_pieces
            lines -= gone.is_all - then.is_all
    return Sum(amount, quantity, goods, lines)


class Goods:
    """The lines of one order that earn, as they were ordered."""

    def __init__(self, order: Order, basis: Basis, rate: Decimal | None = None) -> None:
        """`basis` says which kinds of lines earn, and whether with their tax.

        `rate` is what the order's currency is worth in the program's, where that is another one. What earns is in the
        program's; what the order and its refunds say is in the order's.
        """
        self.order, self.rate = order, rate
        lines, kinds = order.lines, basis.kinds
        #: Of the lines that earn.
        self.places: Sequence[int] = range(len(lines))
        if not {line.kind for line in lines}.issubset(kinds):
            self.places = [place for place, line in enumerate(lines) if line.kind in kinds]
        self._members = self.places if isinstance(self.places, range) else frozenset(self.places)
        self._has_tax = basis.tax is TaxBasis.INCLUDED
        self.amount = self.amount_of(*self.places)  #: what they come to, in units
        #: The share of every line, with its tax, that was not paid with points, as a ratio: they paid for all alike.
        self.cash = self._cash() if order.points_paid else ALL
        #: The share of every line's amount that earns, as a ratio.
        self.share = self.cash if basis.points_paid is PointsPaidBasis.EXCLUDED else ALL
        self._worth = ALL if rate is None else rate.as_integer_ratio()
        #: The same, times what a unit of the order's currency is worth in the program's.
        self.factor = self.share
        if rate is not None:
            self.factor = self.share[0] * self._worth[0], self.share[1] * self._worth[1]
        self._are_fees_kept_out = basis.kept_fees is KeptFeesBasis.EXCLUDED
        self._selections: dict[str, Selection] = {}

    def __contains__(self, place: int) -> bool:
        """Whether the line at that place earns."""
        return place in self._members

    def is_below_zero(self, place: int) -> bool:
        """Whether the line is what was given back in exchange."""
        return self.order.lines[place].quantity < 0

    def _cash(self) -> Share:
        return max(0, self.gross - units_of(self.order.points_paid)), self.gross

    def amount_of(self, *places: int) -> int:
        """What these lines earn for, in units."""
        lines = self.order.lines
        chosen = lines if len(places) == len(lines) else [lines[place] for place in places]
        amount = chosen[0].amount if len(chosen) == 1 else sum([line.amount for line in chosen], _ZERO)
        if self._has_tax:
            amount += sum([line.tax for line in chosen], _ZERO)
        return units_of(amount)

    @cached_property
    def amounts(self) -> Sequence[int]:
        """What each of all lines earns for, in units."""
        return [self.amount_of(place) for place in range(len(self.order.lines))]

    @cached_property
    def quantities(self) -> Sequence[int]:
        """The pieces of each of all lines, in units."""
        return [units_of(line.quantity) for line in self.order.lines]

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """The places of all lines by their ids."""
        return {line.line_id: place for place, line in enumerate(self.order.lines)}

    @cached_property
    def net(self) -> int:
        """What all lines come to, those too that do not earn, without tax; in units."""
        return units_of(self.order.total_net)

    @cached_property
    def gross(self) -> int:
        """The same with tax."""
        return units_of(self.order.total_gross)

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
                places = self._with_price(places, lines)
            if is_paid_only:
                places = self._paid(places)
            least = Asked(units_of(lines.minimum_amount or _ZERO), units_of(lines.minimum_quantity or _ZERO))
            found = self._selections[name] = Selection(self, places, (least,) if lines.asks_kept else ())
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

    def _with_price(self, places: Sequence[int], asked: LineConditions) -> Sequence[int]:
        """Those of the lines of which a piece costs what is asked; nothing is divided, so this is exact."""
        amounts, quantities, (worth, of) = self.amounts, self.quantities, self._worth
        worth *= UNITS
        least = None if asked.minimum_price is None else units_of(asked.minimum_price) * of
        most = None if asked.maximum_price is None else units_of(asked.maximum_price) * of
        return [
            place
            for place in places
            if (least is None or abs(amounts[place]) * worth >= least * abs(quantities[place]))
            and (most is None or abs(amounts[place]) * worth <= most * abs(quantities[place]))
        ]

    def average_price(self, places: Sequence[int], called_off: Mapping[int, Gone]) -> int:
        """What a piece of these lines cost on average, as ordered, in units; 0 where there are no pieces.

        `called_off` is what is gone of lines below zero, which then count as if they had never been.
        """
        amount, quantity = self._ordered(places, called_off)
        return nearest(amount, quantity) if quantity > 0 else 0

    def _ordered(self, places: Sequence[int], called_off: Mapping[int, Gone]) -> tuple[int, int]:
        """A ratio that is the price of a piece of these lines."""
        lines = self.order.lines
        amount = self.amount_of(*places)
        quantity = units_of(sum([lines[place].quantity for place in places], _ZERO))
        for place in called_off.keys() & set(places) if called_off else ():
            amount -= called_off[place].amount
            quantity -= called_off[place].quantity
        amount, quantity = amount * self._worth[0] * UNITS, quantity * self._worth[1]
        return (amount, quantity) if quantity >= 0 else (-amount, -quantity)  # given back in exchange

    def has_average_price(
        self, places: Sequence[int], least: Decimal | None, most: Decimal | None, called_off: Mapping[int, Gone]
    ) -> bool:
        """Whether a piece of these lines costs what is asked; nothing is divided, so this is exact."""
        amount, quantity = self._ordered(places, called_off)
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

    def gone(self, place: int, had: Gone, part: RefundLine) -> Gone:
        """What is gone of a line with one more part of a refund."""
        line, back, ordered = self.order.lines[place], had.back.plus(part), self.amount_of(place)
        net, quantity = units_of(line.amount), units_of(line.quantity)
        gross = net + units_of(line.tax) if line.tax else net
        # Refunds count pieces without a sign, also those of a line below zero.
        ordered_pieces = abs(quantity)
        pieces = min(ordered_pieces, units_of(back.pieces + back.pieces_with_money))
        are_all_pieces = pieces == ordered_pieces
        if quantity < 0:
            pieces = -pieces
        price = LinePrice(net, gross, ordered_pieces, self.cash)
        of, whole = price.share_gone(back, are_fees_kept_out=self._are_fees_kept_out)
        if of >= whole:
            return Gone(back, net, gross, ordered, pieces, are_all_pieces, are_all_pieces)
        net_gone = nearest(net * of, whole)
        gross_gone = nearest(gross * of, whole) if line.tax else net_gone
        amount = gross_gone if self._has_tax else net_gone
        return Gone(back, net_gone, gross_gone, amount, pieces, are_all_pieces, are_all_pieces and amount >= ordered)
