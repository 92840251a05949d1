"""Points that paid an order: what the order names as having taken them, and what of them has come back since."""

from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

_NOTHING = Fraction(0)


class PaymentKind(StrEnum):
    """What took the points that paid an order."""

    AUTHORIZATION = "authorization"  #: what was captured of it
    COMMAND = "command"  #: a redemption or a debit


class PaymentKey(NamedTuple):
    """What an order names as having paid it; it names one order at most."""

    kind: PaymentKind
    source: str  #: of the command; '': an authorization's id is unique among all sources
    payment_id: str


class Payment(NamedTuple):
    """What has come back of points that paid an order, as a function of the order, its refunds and what was taken."""

    kind: PaymentKind
    source: str
    payment_id: str
    #: The order that names it now; None: an edit of the order has taken its name out.
    order_source: str | None = None
    order_id: str | None = None
    program_id: str | None = None
    share: Fraction = _NOTHING  #: how much is given back of all that the customer had to pay for the order
    points_due: int = 0  #: how many should have come back, with all that is known so far
    points_excused: int = 0  #: came back, were to be taken again, and had expired by then
    points_shortfall: int = 0  #: came back, were to be taken again, and were not there

    @property
    def key(self) -> PaymentKey:
        """What names it for ever."""
        return PaymentKey(self.kind, self.source, self.payment_id)

    @property
    def points_back(self) -> int:
        """How many have come back and were not taken again."""
        return self.points_due + self.points_excused + self.points_shortfall

    @property
    def order(self) -> tuple[str, str, str] | None:
        """The source, id and program of the order that names it now."""
        if self.order_source is None or self.order_id is None or self.program_id is None:
            return None
        return self.order_source, self.order_id, self.program_id
