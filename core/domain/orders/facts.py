"""What a shop reports: orders, their lines, and refunds. Facts, in the shop's own ids, amounts in major units.

Amounts are exact decimals, net of discounts and tax excluded, for the whole line. Plain tuples, since an order of
hundreds of lines is built for every message.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from core.domain.value.commands import CUSTOMER, Whom
from core.domain.value.payments import PaymentKey, PaymentKind

AttributeValue = str | int | bool
_NONE: Mapping[str, AttributeValue] = MappingProxyType({})


class LineKind(StrEnum):
    """What an order line is; the program says which kinds earn."""

    PRODUCT = "product"
    SHIPPING = "shipping"
    FEE = "fee"
    TIP = "tip"
    GIFT_CARD = "gift_card"


class OrderLine(NamedTuple):
    """One line of an order."""

    line_id: str
    sku: str | None
    quantity: Decimal
    amount: Decimal  #: net of discounts, tax excluded, for the whole line
    tax: Decimal  #: tax on the whole line; 0 when the shop did not say
    kind: LineKind
    categories: tuple[str, ...]


def _whom(customer_id: str | None, kind: str | None, reference: str | None) -> Whom | None:
    if kind is not None and reference is not None:
        return Whom(kind, reference)
    return None if customer_id is None else Whom(CUSTOMER, customer_id)


class Order(NamedTuple):
    """A completed order. `customer_id` is None for a guest; of a named account it is its owner, once it is posted."""

    source: str
    order_id: str
    customer_id: str | None
    currency: str
    occurred_at: datetime
    lines: tuple[OrderLine, ...]
    points_paid: Decimal  #: the part of the amount that was paid with points
    attributes: Mapping[str, AttributeValue] = _NONE  #: what else the shop says of the order, such as its channel
    customer_tags: tuple[str, ...] = ()  #: the groups that the shop counts the customer among
    rate: Decimal | None = None  #: what one unit of its currency is worth in the program's, if the shop says so
    reference_kind: str | None = None  #: by what its account is named, where that is not a customer; None: by none
    reference: str | None = None
    points_authorization_id: str | None = None  #: the authorization that its points were captured of
    points_command_id: str | None = None  #: or the redemption or debit that took them
    points_command_source: str | None = None  #: whose command that is; None: one of the order's source

    @property
    def whom(self) -> Whom | None:
        """Whose account it comes to; None for a guest."""
        return _whom(self.customer_id, self.reference_kind, self.reference)

    @property
    def order_key(self) -> tuple[str, str]:
        """Its source and id."""
        return self.source, self.order_id

    @property
    def paid_by(self) -> PaymentKey | None:
        """What took the points that paid it, if the shop says so."""
        if self.points_authorization_id is not None:
            return PaymentKey(PaymentKind.AUTHORIZATION, "", self.points_authorization_id)
        if self.points_command_id is not None:
            source = self.points_command_source or self.source
            return PaymentKey(PaymentKind.COMMAND, source, self.points_command_id)
        return None

    @property
    def total_net(self) -> Decimal:
        """All lines, whatever their kind, without tax."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def total_gross(self) -> Decimal:
        """All lines, whatever their kind, with their tax: what the customer had to pay, with money or points."""
        return sum((line.amount + line.tax for line in self.lines), Decimal(0))


class RefundLine(NamedTuple):
    """What is given back of one line: pieces, money in one of its two kinds, or pieces with the money paid for them."""

    line_id: str
    quantity: Decimal | None
    paid: Decimal | None  #: as the customer got it back: with tax, after points
    net: Decimal | None  #: in the terms of the lines: without tax, before points


class Refund(NamedTuple):
    """A refund of one order: by lines, by money of the whole order in one of its two kinds, or in full."""

    source: str
    refund_id: str
    order_id: str
    occurred_at: datetime
    full: bool
    paid: Decimal | None  #: as the customer got it back: with tax, shipping and all else, after points
    net: Decimal | None  #: in the terms of the lines: without tax, before points
    lines: tuple[RefundLine, ...]
    currency: str | None = None  #: None: the order's
    order_source: str | None = None  #: where the order was made; None: where the refund was

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class LinePart(NamedTuple):
    """Pieces of one line of an order."""

    line_id: str
    quantity: Decimal | None = None  #: None: all of the line


class Fulfilment(NamedTuple):
    """The shop has delivered the order, or some of its lines: points that were held for that become available."""

    source: str
    order_id: str
    occurred_at: datetime
    order_source: str | None = None  #: where the order was made; None: where this was reported
    lines: tuple[LinePart, ...] = ()  #: none: the whole order
    part_id: str | None = None  #: the shop's id of it; None: it is known by its time and lines

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class Cancellation(NamedTuple):
    """The order, or some of its lines, is called off: it is as if that had been refunded."""

    source: str
    order_id: str
    occurred_at: datetime
    order_source: str | None = None  #: where the order was made; None: where this was reported
    lines: tuple[LinePart, ...] = ()  #: none: the whole order
    part_id: str | None = None  #: the shop's id of it; None: it is known by its time and lines

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class AmendedOrder(NamedTuple):
    """The whole order as it is now. A line below zero is what the customer gave back in exchange."""

    source: str
    order_id: str
    occurred_at: datetime  #: of the edit
    revision: int  #: it grows with each edit
    order: Order
    order_source: str | None = None  #: where the order was made; None: where this was reported

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class OrderClaim(NamedTuple):
    """A guest's order is this customer's, or the order of another customer is."""

    source: str
    order_id: str
    customer_id: str | None  #: None: the account that it comes to is named otherwise
    previous_customer_id: str | None  #: whose it was; None: a guest's
    occurred_at: datetime
    order_source: str | None = None  #: where the order was made; None: where this was reported
    reference_kind: str | None = None  #: as in an order
    reference: str | None = None

    @property
    def whom(self) -> Whom:
        """Whose it is."""
        whom = _whom(self.customer_id, self.reference_kind, self.reference)
        assert whom is not None
        return whom

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class RefundReversion(NamedTuple):
    """A refund of this source did not happen after all."""

    source: str
    refund_id: str
    order_id: str
    occurred_at: datetime
    order_source: str | None = None  #: where the order was made; None: where the refund was

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order_source or self.source, self.order_id


class Return(NamedTuple):
    """Goods that came back without a receipt, so that nobody knows their order."""

    source: str
    return_id: str
    customer_id: str | None  #: None: its account is named otherwise; that is its owner, once it is posted
    currency: str
    occurred_at: datetime
    lines: tuple[OrderLine, ...]  #: with what was given back for them
    rate: Decimal | None = None  #: as in an order
    reference_kind: str | None = None  #: as in an order
    reference: str | None = None

    @property
    def whom(self) -> Whom:
        """Whose points are taken."""
        whom = _whom(self.customer_id, self.reference_kind, self.reference)
        assert whom is not None
        return whom

    @property
    def as_order(self) -> Order:
        """An order of the same goods, at the same instant."""
        return Order(
            self.source,
            self.return_id,
            self.customer_id,
            self.currency,
            self.occurred_at,
            self.lines,
            Decimal(0),
            rate=self.rate,
        )
