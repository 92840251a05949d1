"""What rules and promotions ask of all their lines together, and which of them leave out pieces that cost nothing."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from core.domain.program.earning_rules import AnyRule, CategoryRule, ItemRule
from core.domain.program.fields import FreePieces
from core.domain.program.promotions import AdditionPromotion, AnyPromotion, MultiplierPromotion


class Minimum(NamedTuple):
    """The least that must be kept of the lines of a rule or promotion, and what a piece of them costs on average."""

    amount: Decimal | None
    quantity: Decimal | None
    price: Decimal | None
    price_at_most: Decimal | None
    is_paid_only: bool  #: pieces that cost nothing do not count


def minimums_of(parts: Iterable[AnyRule | AnyPromotion], free_pieces: FreePieces) -> dict[str, Minimum]:
    """The minimums of those that ask for any, by their names; `free_pieces` is what counts where they say nothing."""
    found = {}
    for part in parts:
        when = part.when
        asked = when.minimum_amount, when.minimum_quantity, when.minimum_price, when.maximum_price
        if any(each is not None for each in asked):
            found[_name(part)] = Minimum(*asked, not _has_free(part, free_pieces))
    return found


def paid_only_of(parts: Iterable[AnyRule | AnyPromotion], free_pieces: FreePieces) -> frozenset[str]:
    """The names of those that count pieces line by line, and none that cost nothing."""
    return frozenset(
        _name(part)
        for part in parts
        if (isinstance(part, ItemRule | CategoryRule) or part.lines.minimum_quantity is not None)
        and not _has_free(part, free_pieces)
    )


def _has_free(part: AnyRule | AnyPromotion, free_pieces: FreePieces) -> bool:
    own = part.free_pieces if isinstance(part, ItemRule | CategoryRule) else None
    return (own or free_pieces) is FreePieces.INCLUDED


def _name(part: AnyRule | AnyPromotion) -> str:
    return part.promotion_id if isinstance(part, MultiplierPromotion | AdditionPromotion) else part.rule_id
