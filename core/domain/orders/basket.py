"""What is kept of an order after its refunds: the lines that earn, with the amounts and quantities that are left.

Amounts are exact: Decimals while nothing was refunded or paid with points, Fractions where shares come in.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from core.domain.orders.facts import Order, OrderLine, Refund, RefundLine
from core.domain.outcomes import Parked, Reason
from core.domain.program import Basis, Lines, PointsPaidBasis, TaxBasis

_ZERO = Decimal(0)
_ONE = Fraction(1)
_NONE = Fraction(0)
Exact = Decimal | Fraction


def _total(numbers: Sequence[Exact]) -> Exact:
    """The exact sum. Fractions are slow and do not add to Decimals, so Decimals are added up on their own."""
    # type() and not isinstance(), which takes ten times as long with Fraction's abstract base.
    decimals = [number for number in numbers if type(number) is Decimal]
    whole = sum(decimals, _ZERO)
    if len(decimals) == len(numbers):
        return whole
    return sum([number for number in numbers if type(number) is Fraction], Fraction(whole))


class Basket:
    """The kept lines of one order. Built for each posting, so it works out only what is asked for."""

    def __init__(self, order: Order, refunds: Sequence[Refund], basis: Basis) -> None:
        """`refunds` are all that are known of the order, in whatever sequence."""
        self._order, self._refunds, self._basis = order, refunds, basis
        kinds = basis.kinds
        self._lines = [line for line in order.lines if line.kind in kinds]
        #: The amount of the earning lines before refunds.
        self._earning = sum([line.amount for line in self._lines], _ZERO)
        if basis.tax is TaxBasis.INCLUDED:
            self._earning += sum([line.tax for line in self._lines], _ZERO)
        self._points_paid = order.points_paid if basis.points_paid is PointsPaidBasis.EXCLUDED else _ZERO
        self.amount = self._amount()
        #: Whether every line counts as it was ordered, as in most orders: then nothing is worked out line by line.
        self._is_as_ordered = (
            not refunds
            and not self._points_paid
            and len(self._lines) == len(order.lines)
            and basis.tax is TaxBasis.EXCLUDED
        )
        self._kept: tuple[dict[int, Exact], dict[int, Exact]] | None = None
        self._places: tuple[int, ...] | None = None
        self._line_texts: dict[int, tuple[str, list[str]]] = {}

    def _amount(self) -> Exact:
        """All that earns, in major units: the kept lines of the earning kinds, less the part paid with points."""
        earning = self._earning
        if not self._refunds or not earning:
            return max(_ZERO, earning - self._points_paid)
        if self._share == 0:
            return Fraction(0)
        gone, untouched, reduced = self._gone, _ZERO, Fraction(0)
        for line in self._lines:  # Fractions are slow, and most lines are not refunded
            if line.line_id in gone:
                reduced += Fraction(self._amount_of(line)) * (1 - gone[line.line_id])
            else:
                untouched += self._amount_of(line)
        return (reduced + Fraction(untouched)) * self._share * self._share_unpaid

    @property
    def is_empty(self) -> bool:
        """Whether nothing that earns is kept."""
        if not self._refunds:
            return not self._lines
        return self._share == 0 or all(self._gone.get(line.line_id, _NONE) == _ONE for line in self._lines)

    @property
    def amounts(self) -> dict[int, Exact]:
        """What is kept of the earning amount of each line, less its share of what was paid with points, by its place.

        Lines that do not earn, or of which nothing is kept, are missing.
        """
        if self._kept is None:
            self._kept = self._keep()
        return self._kept[0]

    @property
    def _quantities(self) -> dict[int, Exact]:
        """The pieces that are kept of the same lines."""
        if self._kept is None:
            self._kept = self._keep()
        return self._kept[1]

    def _keep(self) -> tuple[dict[int, Exact], dict[int, Exact]]:
        kinds = self._basis.kinds
        earning = [(place, line) for place, line in enumerate(self._order.lines) if line.kind in kinds]
        amounts: dict[int, Exact] = {place: line.amount for place, line in earning}
        if self._basis.tax is TaxBasis.INCLUDED:
            amounts = {place: line.amount + line.tax for place, line in earning}
        quantities: dict[int, Exact] = {place: line.quantity for place, line in earning}
        if not self._refunds and not self._points_paid:
            return amounts, quantities
        if self._share == 0:
            return {}, {}
        factor = self._share * self._share_unpaid
        for place, line in earning:
            if factor == 1 and line.line_id not in self._gone:
                continue  # Fractions are slow, and most lines are not refunded
            if left := (1 - self._gone.get(line.line_id, _NONE)) * self._share:
                amounts[place] = Fraction(amounts[place]) * left * self._share_unpaid
                quantities[place] = Fraction(line.quantity) * left
            else:
                del amounts[place], quantities[place]
        return amounts, quantities

    def find(self, lines: Lines, places: Sequence[int] | None = None) -> Sequence[int]:
        """The places in the order of the kept lines that `lines` lets through.

        `places` are those of the lines that it looks for at all, where they are known.
        """
        ordered = self._order.lines
        if places is None:
            places = range(len(ordered)) if self._is_as_ordered else tuple(self.amounts)
            if lines.skus or lines.categories:
                return [place for place in places if lines.includes(ordered[place])]
        elif not self._is_as_ordered:
            kept = self.amounts
            places = [place for place in places if place in kept]
        if lines.excludes_some:
            places = [place for place in places if not lines.excludes(ordered[place])]
        return places

    def amount_of(self, places: Sequence[int]) -> Exact:
        """What is kept of the earning amounts of these lines, less their share of what was paid with points."""
        if self._is_as_ordered:
            lines = self._order.lines
            if len(places) == 1:
                return lines[places[0]].amount
            return self.amount if len(places) == len(lines) else sum([lines[place].amount for place in places], _ZERO)
        kept = self.amounts
        return kept[places[0]] if len(places) == 1 else _total([kept[place] for place in places])

    def quantity_of(self, places: Sequence[int]) -> Exact:
        """What is kept of the pieces of these lines."""
        if self._is_as_ordered:
            lines = self._order.lines
            if len(places) == 1:
                return lines[places[0]].quantity
            return sum([lines[place].quantity for place in places], _ZERO)
        kept = self._quantities
        return kept[places[0]] if len(places) == 1 else _total([kept[place] for place in places])

    def line_text(self, place: int) -> tuple[str, list[str]]:
        """The line_id of a kept line, its amount and its quantity; made once, since many rules may name it."""
        text = self._line_texts.get(place)
        if text is None:
            numbers = [amount_text(self.amount_of((place,))), amount_text(self.quantity_of((place,)))]
            text = self._line_texts[place] = (self._order.lines[place].line_id, numbers)
        return text

    @cached_property
    def _share_unpaid(self) -> Fraction:
        """The share of the earning amount that was not paid with points."""
        if not self._points_paid or not self._earning:
            return _ONE
        return max(Fraction(0), 1 - Fraction(self._points_paid) / Fraction(self._earning))

    @cached_property
    def _share(self) -> Fraction:
        """The share of every line that refunds of the whole order leave.

        Refunds of lines first reduce their lines; refunds of an amount of the whole order then reduce every line in
        proportion. Both are sums over the set of refunds, so their order cannot matter.
        """
        if any(refund.full for refund in self._refunds):
            return Fraction(0)
        refunded = sum((refund.amount for refund in self._refunds if refund.amount is not None), _ZERO)
        if not refunded:
            return _ONE
        whole = sum(
            (Fraction(line.amount) * (1 - self._gone.get(line.line_id, Fraction(0))) for line in self._order.lines),
            Fraction(0),
        )
        return max(Fraction(0), 1 - Fraction(refunded) / whole) if whole else Fraction(0)

    @cached_property
    def _gone(self) -> dict[str, Fraction]:
        """The share, 0 to 1, of each refunded line that all refunds of lines together give back, by line_id."""
        if not self._refunds:
            return {}
        lines = {line.line_id: line for line in self._order.lines}
        gone: dict[str, Fraction] = {}
        for refund in self._refunds:
            for part in refund.lines:
                share = gone.get(part.line_id, Fraction(0)) + _refunded_share(lines[part.line_id], part)
                gone[part.line_id] = min(_ONE, share)
        return gone

    def _amount_of(self, line: OrderLine) -> Decimal:
        return line.amount + line.tax if self._basis.tax is TaxBasis.INCLUDED else line.amount


def _refunded_share(line: OrderLine, part: RefundLine) -> Fraction:
    """The share of the line that one refund line gives back; money counts when both money and pieces are given."""
    if part.amount is not None and line.amount:
        return Fraction(part.amount) / Fraction(line.amount)
    if part.quantity is not None:
        return Fraction(part.quantity) / Fraction(line.quantity)
    return Fraction(1 if part.amount else 0)  # money for a line that cost none: its tax


def refund_problem(order: Order, refund: Refund) -> Parked | None:
    """Why this refund cannot be one of this order, judged alone, so that other refunds' arrival cannot change it."""
    lines = {line.line_id: line for line in order.lines}
    for n, part in enumerate(refund.lines):
        line = lines.get(part.line_id)
        if line is None:
            known = "its only line" if len(lines) == 1 else f"one of its {len(lines)} lines"
            detail = f"data.lines[{n}].line_id names no line of the order; send the line_id of {known}"
            return Parked(Reason.UNKNOWN_LINE, detail)
        if part.quantity is not None and part.quantity > line.quantity:
            detail = f"data.lines[{n}].quantity is {part.quantity}, more than the {line.quantity} that were ordered"
            return Parked(Reason.REFUND_EXCEEDS_ORDER, detail)
        if part.amount is not None and part.amount > line.amount + line.tax:
            detail = f"data.lines[{n}].amount is {part.amount}, more than the line's {line.amount + line.tax}"
            return Parked(Reason.REFUND_EXCEEDS_ORDER, detail)
    if refund.amount is not None and refund.amount > order.total_gross:
        detail = f"data.amount is {refund.amount}, more than the order's {order.total_gross} {order.currency}"
        return Parked(Reason.REFUND_EXCEEDS_ORDER, detail)
    return None


def amount_text(amount: Exact) -> str:
    """An amount for people: exact when it has a finite decimal form of 4 places, else cut to 4 and marked."""
    if isinstance(amount, Decimal):
        text = str(amount)
        if "E" in text:
            return f"{amount.normalize():f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign = "-" if amount < 0 else ""
    scaled, rest = divmod(10_000 * abs(amount.numerator), amount.denominator)
    text = f"{sign}{Decimal(scaled).scaleb(-4).normalize():f}"
    return f"{text}…" if rest else text
