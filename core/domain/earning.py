"""What an order has earned: a function of the order, all refunds known for it, and the rules and tier frozen with it.

The ledger posts the difference between this and what it holds, so that repeats, splits and arrival order of refunds
cannot matter: n partial refunds end where one big refund ends, and where buying only the kept goods would have.

All arithmetic is exact. Sums of amounts are Decimals, whose 28 digits hold any order; shares, which refunds bring in,
are Fractions. Only rounding a rule's result leaves them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from core.domain.orders import Order, OrderLine, Refund, RefundLine
from core.domain.outcomes import Parked, Reason
from core.domain.program import Combine, PointsPaidBasis, Program, Rounding, TaxBasis

_ZERO = Decimal(0)


class Entitlement(NamedTuple):
    """Points, and the calculation that led to them."""

    points: int
    why: dict[str, Any]


def entitlement(order: Order, refunds: Sequence[Refund], program: Program, tier_id: str) -> Entitlement:
    """Points that `order` earns in `tier_id` under `program`, after `refunds`, in whatever order they are given.

    Exact arithmetic; one rounding per rule per order. Never negative, and never more with more refunds.
    """
    basis = earning_basis(order, refunds, program)
    amount, scale = basis.as_integer_ratio()
    rules: list[dict[str, Any]] = []
    granted: list[int] = []
    for rule in program.earning_rules:
        terms = rule.terms[tier_id]
        points = rounded(amount * terms.numerator, scale * terms.denominator, rule.rounding)
        rules.append({**terms.told, "points": points})
        granted.append(points)
    points = sum(granted) if program.combine is Combine.STACK else max(granted)
    return Entitlement(points, {"tier": tier_id, "basis_amount": _amount_text(basis), "rules": rules})


def earning_basis(order: Order, refunds: Sequence[Refund], program: Program) -> Decimal | Fraction:
    """The amount that earns, in major units: kept lines of the earning kinds, less the part paid with points."""
    kinds = program.basis.kinds
    earning = sum([line.amount for line in order.lines if line.kind in kinds], _ZERO)
    if program.basis.tax is TaxBasis.INCLUDED:
        earning += sum([line.tax for line in order.lines if line.kind in kinds], _ZERO)
    basis = earning
    if order.points_paid and program.basis.points_paid is PointsPaidBasis.EXCLUDED:
        basis = max(_ZERO, earning - order.points_paid)
    if refunds and earning:
        return Fraction(basis) / Fraction(earning) * _kept_after(order, refunds, program)
    return basis


def _kept_after(order: Order, refunds: Sequence[Refund], program: Program) -> Fraction:
    """Of the earning lines' amounts, what the refunds leave.

    Refunds of lines first reduce their lines; refunds of an amount of the whole order then reduce every line in
    proportion. Both are sums over the set of refunds, so their order cannot matter.
    """
    if any(refund.full for refund in refunds):
        return Fraction(0)
    gone = _gone_shares(order, refunds)
    kept = _left([line for line in order.lines if line.kind in program.basis.kinds], gone, program.basis.tax)
    refunded = sum((refund.amount for refund in refunds if refund.amount is not None), _ZERO)
    if refunded:
        whole = _left(order.lines, gone, TaxBasis.EXCLUDED)
        kept *= max(Fraction(0), 1 - Fraction(refunded) / whole) if whole else 0
    return kept


def _left(lines: Sequence[OrderLine], gone: Mapping[str, Fraction], tax: TaxBasis) -> Fraction:
    """What is left of the amounts of `lines` when the shares `gone` of them, by line_id, were given back."""
    untouched = _ZERO  # apart from the rest, since Fractions are slow and most lines are not refunded
    reduced = Fraction(0)
    for line in lines:
        amount = line.amount + line.tax if tax is TaxBasis.INCLUDED else line.amount
        if line.line_id in gone:
            reduced += Fraction(amount) * (1 - gone[line.line_id])
        else:
            untouched += amount
    return reduced + Fraction(untouched)


def _gone_shares(order: Order, refunds: Sequence[Refund]) -> dict[str, Fraction]:
    """The share, 0 to 1, of each refunded line that all refunds of lines together give back, by line_id."""
    lines = {line.line_id: line for line in order.lines}
    gone: dict[str, Fraction] = {}
    for refund in refunds:
        for part in refund.lines:
            share = gone.get(part.line_id, Fraction(0)) + _refunded_share(lines[part.line_id], part)
            gone[part.line_id] = min(Fraction(1), share)
    return gone


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
            detail = (
                f"data.lines[{n}].line_id names no line of the order; send the line_id of one of its {len(lines)} lines"
            )
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


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """An exact ratio (>= 0) as whole points."""
    whole, rest = divmod(numerator, denominator)
    match rounding:
        case Rounding.FLOOR:
            goes_up = False
        case Rounding.CEIL:
            goes_up = rest > 0
        case Rounding.HALF_UP:
            goes_up = 2 * rest >= denominator
        case Rounding.HALF_EVEN:
            goes_up = 2 * rest + whole % 2 > denominator
    return whole + goes_up


def _amount_text(amount: Decimal | Fraction) -> str:
    """An amount for people: exact when it has a finite decimal form of 4 places, else cut to 4 and marked."""
    if isinstance(amount, Decimal):
        return f"{amount.normalize():f}"
    scaled, rest = divmod(10_000 * amount.numerator, amount.denominator)
    text = f"{Decimal(scaled).scaleb(-4).normalize():f}"
    return f"{text}…" if rest else text
