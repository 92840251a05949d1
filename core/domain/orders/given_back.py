"""What refunds give back of one line, pieces and money: sums, and the share of the line's money that they come to.

Sums over the set of refunds, so that neither their sequence nor how they are split can matter.
"""

from decimal import Decimal
from typing import NamedTuple

from core.domain.orders.facts import RefundLine
from core.domain.orders.units import units_of

Share = tuple[int, int]  #: a ratio
ALL: Share = (1, 1)
NONE: Share = (0, 1)
_ZERO = Decimal(0)


class Back(NamedTuple):
    """The sums of what refunds of lines give back of one line."""

    pieces: Decimal = _ZERO  #: of whose money nothing was said
    pieces_with_money: Decimal = _ZERO
    paid_for_pieces: Decimal = _ZERO
    net_for_pieces: Decimal = _ZERO
    paid: Decimal = _ZERO  #: without pieces
    net: Decimal = _ZERO  #: without pieces

    def plus(self, part: RefundLine) -> "Back":
        """The sums with one more part of a refund."""
        pieces, paid, net = part.quantity or _ZERO, part.paid or _ZERO, part.net or _ZERO
        if part.paid is None and part.net is None:
            return self._replace(pieces=self.pieces + pieces)
        if part.quantity is None:
            return self._replace(paid=self.paid + paid, net=self.net + net)
        return self._replace(
            pieces_with_money=self.pieces_with_money + pieces,
            paid_for_pieces=self.paid_for_pieces + paid,
            net_for_pieces=self.net_for_pieces + net,
        )


class LinePrice(NamedTuple):
    """What a line cost, in units, and for how many pieces."""

    net: int  #: below zero: the line is what was given back in exchange
    gross: int
    quantity: int  #: without a sign
    cash: Share  #: the share of the order that was not paid with points

    def share_gone(self, back: Back, *, are_fees_kept_out: bool) -> Share:
        """The share of the line's money that is gone; it may be more than all.

        Of pieces that came back with less money than they cost the whole price is gone, unless the fee that the shop
        has kept earns.
        """
        pieces, paid, net = units_of(back.pieces), back.paid, back.net
        if back.pieces_with_money:
            with_money = units_of(back.pieces_with_money)
            of, whole = self.share_of(back.paid_for_pieces, back.net_for_pieces)
            if are_fees_kept_out and with_money * whole >= of * self.quantity:
                pieces += with_money
            else:
                paid, net = paid + back.paid_for_pieces, net + back.net_for_pieces
        if not (paid or net):
            return pieces, self.quantity
        of, whole = self.share_of(paid, net)
        return of * self.quantity + pieces * whole, whole * self.quantity

    def share_of(self, paid: Decimal, net: Decimal) -> Share:
        """The share that money of the two kinds is of the line; all of it where the line cost nothing of the kind.

        None of a line below zero: money that is given back would mean more points.
        """
        of, whole = NONE
        if self.net < 0:
            return NONE
        if net:
            of, whole = (units_of(net), self.net) if self.net > 0 else ALL
        if paid:
            unpaid, of_all = self.cash
            cash = self.gross * unpaid
            if cash <= 0:
                return ALL
            of, whole = of * cash + units_of(paid) * of_all * whole, whole * cash
        return of, whole
