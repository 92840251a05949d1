"""What rules and promotions ask of all their lines together, and which of them leave out pieces that cost nothing."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from core.domain.program.earning_rules import AnyRule, CategoryRule, ItemRule
from core.domain.program.fields import FreePieces
from core.domain.program.promotions import AdditionPromotion, AnyPromotion, MultiplierPromotion


class Minimum(NamedTuple):
    """The least that must be kept of the lines of a rule or promotion."""

    amount: Decimal | None
    quantity: Decimal | None
    is_paid_only: bool  #: pieces that cost nothing do not count


def minimums_of(parts: Iterable[AnyRule | AnyPromotion], free_pieces: FreePieces) -> dict[str, Minimum]:
    """The minimums of those that ask for any, by their names; `free_pieces` is what counts where they say nothing."""
    return {
        _name(part): Minimum(part.when.minimum_amount, part.when.minimum_quantity, not _has_free(part, free_pieces))
        for part in parts
        if part.when.minimum_amount is not None or part.when.minimum_quantity is not None
    }


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
