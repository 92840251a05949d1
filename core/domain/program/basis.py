"""Which part of an order earns."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from core.domain.orders.facts import LineKind
from core.domain.program.fields import FreePieces, Part, refuse, repeated


class TaxBasis(StrEnum):
    """Whether tax earns points."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


class PointsPaidBasis(StrEnum):
    """Whether the part of an order that was paid with points earns points."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


class KeptFeesBasis(StrEnum):
    """Whether what a shop keeps of the price of goods that came back earns points."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


class Basis(Part):
    """Which part of an order earns points."""

    kinds: Annotated[tuple[LineKind, ...], Field(min_length=1)] = (LineKind.PRODUCT,)
    """Line kinds that earn."""
    tax: TaxBasis = TaxBasis.EXCLUDED
    """Whether the lines' tax earns."""
    points_paid: PointsPaidBasis = PointsPaidBasis.EXCLUDED
    """Whether the part paid with points earns."""
    free_pieces: FreePieces = FreePieces.EXCLUDED
    """Whether pieces that cost nothing count where pieces are counted."""
    kept_fees: KeptFeesBasis = KeptFeesBasis.EXCLUDED
    """Whether what the shop keeps of the price of goods that came back earns."""

    @field_validator("kinds")
    @classmethod
    def _kinds_once(cls, kinds: tuple[LineKind, ...]) -> tuple[LineKind, ...]:
        refuse(repeated([kind.value for kind in kinds], key=None))
        return kinds
